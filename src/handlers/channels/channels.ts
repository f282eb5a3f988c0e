/** The channels of a server, as they begin: empty, or with what the log has. */

import { randomBytes } from 'node:crypto';
import type { Configuration } from '../../options/configuration.ts';
import { maxHistoryMessages } from '../../protocol/limits.ts';
import type { Server } from '../../records/records.ts';
import type { LoadedLog } from '../../storage/log/records.ts';
import { dropIfUnused, findOrCreate } from './channel.ts';
import type { Channels, Retention } from './records.ts';
import { forgetMessages, keepMessage, setRetention, trimToMemory } from './retention.ts';

/** Opens the configured channels. */
export function openChannels(server: Server): Channels {
  const channels = newChannels(server, retentionOf(server.configuration), undefined);
  const { memory, reloadables } = server;
  const trimOthers = memory.trimHistories;
  memory.trimHistories = most => {
    trimToMemory(channels, Math.max(0, channels.keptMemory - (memory.histories - most)));
    if (memory.histories > most) trimOthers(most);
  };
  reloadables.push({
    async prepare(next) {
      return () => {
        setRetention(channels, retentionOf(next), Date.now());
        return [];
      };
    },
  });
  return channels;
}

function retentionOf({ history, historyAge, historyMemory }: Configuration): Retention {
  const messages = Math.min(history.messages, maxHistoryMessages);
  return { messages, bytes: history.bytes, age: historyAge, memory: historyMemory };
}

/** @param loaded what start-up read of the log; undefined: nothing is stored */
export function newChannels(server: Server, retention: Retention, loaded: LoadedLog | undefined): Channels {
  const channels: Channels = {
    server,
    log: loaded?.log,
    epoch: loaded?.log.epoch ?? newEpoch(),
    lastSeq: loaded?.lastSeq ?? 0,
    byName: new Map(),
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
    queue: [],
    pendingKeys: new Map(),
    isUnwritable: false,
    memory: server.memory,
    publisherOf: () => undefined,
    scheduleCommit() {},
  };
  for (const record of loaded?.records ?? []) {
    const channel = findOrCreate(channels, record.channel);
    if ('isForget' in record) {
      // It stands for messages that start-up did not keep.
      channel.lastSeq = Math.max(channel.lastSeq, record.seq);
      forgetMessages(channels, channel, record.seq);
    } else keepMessage(channels, channel, { ...record, isKept: true });
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
