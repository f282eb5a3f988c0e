/** The channels of a server, as they begin: empty, or with what the log has. */

import { randomBytes } from 'node:crypto';
import { log } from '../../log/log.ts';
import type { Configuration } from '../../options/configuration.ts';
import { copyText } from '../../options/text.ts';
import { maxHistoryBytes, maxHistoryMessages } from '../../protocol/limits.ts';
import type { Server } from '../../records/records.ts';
import { openMessageLog } from '../../storage/log/openLog.ts';
import type { LoadedLog } from '../../storage/log/records.ts';
import { dropIfUnused, findOrCreate } from './channel.ts';
import { newPresences, restartDepartures } from './presence.ts';
import { commitPublications } from './publish.ts';
import type { Channels, Retention } from './records.ts';
import { forgetMessages, keepMessage, setRetention, trimToMemory } from './retention.ts';

/** Opens the configured channels, with the log in `--data` if it is set. @throws Error, a sentence */
export async function openChannels(server: Server): Promise<Channels> {
  const { data: directory, fsync, historyRotate: rotateAt, historyKeep: keep } = server.configuration;
  const bounds = retentionOf(server.configuration);
  const loaded =
    directory === '' ? undefined : await openMessageLog({ directory, fsync, rotateAt, keep, bounds });
  const channels = newChannels(server, bounds, loaded);
  const { memory, reloadables } = server;
  memory.trimHistories = most => {
    trimToMemory(channels, most);
    log('warn', 'histories shortened to free memory', { bytes: channels.keptMemory });
  };
  reloadables.push({
    async prepare(next) {
      return () => {
        setRetention(channels, retentionOf(next), Date.now());
        restartDepartures(channels);
        return [];
      };
    },
  });
  return channels;
}

/** Publishes the queue, writes everything to disk, and releases the folder. @throws Error, a sentence, if that fails */
export function closeChannels(channels: Channels): void {
  clearTimeout(channels.expiryTimer);
  clearTimeout(channels.presences.timer);
  commitPublications(channels);
  channels.log?.close();
}

function retentionOf({ history, historyAge, historyMemory }: Configuration): Retention {
  const messages = Math.min(history.messages, maxHistoryMessages);
  return {
    messages,
    bytes: Math.min(history.bytes, maxHistoryBytes),
    age: historyAge,
    memory: historyMemory,
  };
}

/** @param loaded what start-up read of the log; undefined: nothing is stored */
export function newChannels(server: Server, retention: Retention, loaded: LoadedLog | undefined): Channels {
  const channels: Channels = {
    server,
    log: loaded?.log,
    epoch: loaded?.log.epoch ?? newEpoch(),
    lastSeq: loaded?.lastSeq ?? 0,
    byName: new Map(),
    unborn: new Set(),
    retention,
    order: [],
    oldest: 0,
    expiring: 0,
    expiryTimer: undefined,
    forgotten: new Map(),
    forgottenFloor: loaded?.unreadSeq ?? 0,
    kept: 0,
    keptMemory: 0,
    subscribers: new Map(),
    presences: newPresences(),
    queue: [],
    due: new Set(),
    pendingKeys: new Map(),
    isUnwritable: false,
    memory: server.memory,
    publisherOf: () => undefined,
    entry: undefined,
    scheduleCommit() {},
  };
  // A copy: the name in a record is a part of its line.
  const channelOf = (name: string) => channels.byName.get(name) ?? findOrCreate(channels, copyText(name));
  for (const record of loaded?.records ?? []) {
    const channel = channelOf(record.channel);
    if ('isForget' in record) {
      // It stands for messages that start-up did not keep.
      channel.lastSeq = Math.max(channel.lastSeq, record.seq);
      forgetMessages(channels, channel, record.seq);
    } else keepMessage(channels, channel, { ...record, channel: channel.name, isKept: true });
  }
  for (const [name, seq] of loaded?.expired ?? []) {
    const channel = channelOf(name);
    channel.lastSeq = Math.max(channel.lastSeq, seq);
    channel.forgottenSeq = Math.max(channel.forgottenSeq, seq);
  }
  for (const channel of channels.byName.values()) dropIfUnused(channels, channel);
  return channels;
}

/** Sequences of different epochs are never compared: 40 random bits tell them apart. */
function newEpoch(): string {
  return BigInt(`0x${randomBytes(5).toString('hex')}`)
    .toString(36)
    .padStart(8, '0');
}
