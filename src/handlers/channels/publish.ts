/**
 * Publishing. The end of a turn writes all messages of the turn to the log together, and then delivers them, so no client
 * receives a message that the log does not have.
 */

import { stopTimeAfterReading } from '../../core/fairness.ts';
import { publishToGroup, wholeMessage } from '../../core/fanout.ts';
import { log } from '../../log/log.ts';
import { exactClock } from '../../process/clock.ts';
import { connectionBudget, fileCost, maxPublication } from '../../protocol/limits.ts';
import { workUnits } from '../../protocol/workUnits.ts';
import { diskErrorReason } from '../../storage/disk.ts';
import type { LogRecord } from '../../storage/log/records.ts';
import { channelsFull, findOrCreate } from './channel.ts';
import { idOf } from './names.ts';
import type {
  Channel,
  ChannelMessage,
  Channels,
  OnPublished,
  Publication,
  Published,
  QueuedPublication,
} from './records.ts';
import { forgetMessages, keepMessage, keyOf } from './retention.ts';
import { stopWaiting } from './subscribers.ts';

/**
 * Publishes a message when the turn ends. A repeated idempotency key gets the answer of the first message, as long as that is
 * kept.
 * @param onPublished called at the end of the turn, or at once for a repeated key
 */
export function publish(channels: Channels, publication: Publication, onPublished: OnPublished): void {
  const { channel: name, data, key } = publication;
  if (data.length > maxPublication)
    return onPublished(`not published, because a message of a channel has at most ${maxPublication} bytes`);
  const channel = channels.byName.get(name);
  if (key !== undefined) {
    const earlier = channel?.keys.get(keyOf(publication));
    if (earlier !== undefined) return onPublished(earlier);
    const pending = channels.pendingKeys.get(pendingKeyOf(publication));
    if (pending !== undefined) {
      pending.repeats ??= [];
      pending.repeats.push(onPublished);
      return;
    }
  }
  if (channel === undefined) {
    const full = channelsFull(channels, [name]);
    if (full !== undefined) return onPublished(full);
    if (channels.retention.messages > 0) channels.unborn.add(name);
  }
  const queued: QueuedPublication = { publication, time: Date.now(), onPublished, repeats: undefined };
  if (key !== undefined) channels.pendingKeys.set(pendingKeyOf(publication), queued);
  // The publisher pays for the fan-out at the end of the turn. Consecutive messages of a channel share one, but each waiting poll
  // collects each of them.
  const sharesFanout = channels.queue.at(-1)?.publication.channel === name;
  channels.queue.push(queued);
  workUnits.spent += 1 + (data.length >>> 8);
  if (channel !== undefined)
    workUnits.spent += sharesFanout ? channel.waiters.size >>> 2 : subscribersOf(channel);
  channels.scheduleCommit();
}

const pendingKeyOf = (publication: Publication) => `${publication.channel}\0${keyOf(publication)}`;

/** Subscribers of all transports, waiting polls, and users of the room. */
export function subscribersOf({ subscriptions, waiters, room }: Channel): number {
  return subscriptions.size + waiters.size + (room?.users.size ?? 0);
}

/** The answer to the publisher of a message. Chat users get none, so a busy room need not format an id for each message. */
export function answerTo(channels: Channels, { seq, subscribers = 0 }: ChannelMessage): Published {
  return { id: idOf(channels, seq), subscribers };
}

/**
 * Stores and delivers the queue: a stage at the end of the turn, or earlier if the order demands it. The whole queue is delivered
 * at once, because one that outlived the turn could grow faster than it is delivered; the budgets of reading bound it. A message
 * that a module publishes in answer waits for the next turn, so a module that answers itself cannot keep a turn from ending.
 */
export function commitPublications(channels: Channels): void {
  const batch = channels.queue;
  if (batch.length > 0) {
    channels.queue = [];
    commit(channels, batch);
  }
  if (channels.due.size > 0) wakeWaiters(channels);
}

/** Polls answered between two looks at the clock. Each takes 40 µs, or more with many channels. */
const wakesAtOnce = 8;

/** Answers the polls that have messages. When the stage's time is up, the rest are the first of the next turn. */
function wakeWaiters(channels: Channels): void {
  const { due, server } = channels;
  const stopAt = due.size > wakesAtOnce ? stopTimeAfterReading(server) : 0;
  let count = 0;
  for (const waiter of due) {
    if (count > 0 && count % wakesAtOnce === 0 && exactClock() > stopAt) return channels.scheduleCommit();
    stopWaiting(channels, waiter);
    waiter.wake();
    count++;
  }
}

function commit(channels: Channels, batch: readonly QueuedPublication[]): void {
  const messages = batch.map(queued => numbered(channels, queued));
  if (channels.pendingKeys.size > 0)
    for (const { publication } of batch)
      if (publication.key !== undefined) channels.pendingKeys.delete(pendingKeyOf(publication));
  const why = store(channels, messages);
  if (why !== undefined) {
    channels.unborn.clear();
    for (const queued of batch) answerAll(queued, `not published, ${why}`);
    return;
  }
  for (let from = 0; from < messages.length; ) {
    const { channel } = messages[from]!;
    let to = from + 1;
    while (to < messages.length && messages[to]!.channel === channel) to++;
    sendToSubscribers(channels, messages.slice(from, to), batch.slice(from, to));
    for (; from < to; from++) deliver(channels, messages[from]!);
  }
  batch.forEach((queued, at) => {
    answerAll(queued, messages[at]!);
  });
}

function answerAll({ onPublished, repeats }: QueuedPublication, outcome: ChannelMessage | string): void {
  onPublished(outcome);
  if (repeats !== undefined) for (const answer of repeats) answer(outcome);
}

/** The message with its number. Written out, because spreading the properties takes many times as long. */
function numbered(channels: Channels, { publication, time }: QueuedPublication): ChannelMessage {
  const { kind, data, from, uid, event, ttl, key, publisher, author } = publication;
  const channel = channels.byName.get(publication.channel);
  channels.lastSeq++;
  return {
    seq: channels.lastSeq,
    time,
    channel: channel?.name ?? publication.channel,
    kind,
    // Posts in rooms stay in the pool: a copy of each would take an eighth more time.
    data: author === undefined ? ownBytes(data) : data,
    from,
    uid,
    event,
    key,
    publisher,
    expiresAt: ttl === undefined ? undefined : time + ttl,
    subscribers: channel === undefined ? 0 : subscribersOf(channel),
    isKept: true,
  };
}

/** `Buffer.from` puts short data into a shared pool; a kept message would keep all of that pool in memory. */
function ownBytes(data: Buffer): Buffer {
  if (data.length === data.buffer.byteLength) return data;
  const own = Buffer.allocUnsafeSlow(data.length);
  own.set(data);
  return own;
}

/**
 * Charges a write to the log. The end of a turn writes once, whatever clients do; but each change of rooms first stores what was
 * published before. A sync takes as long as the budget of a connection, or longer.
 */
function chargeWrite({ log, server }: Channels): void {
  if (log === undefined) return;
  workUnits.spent += server.configuration.fsync === 'always' ? connectionBudget : fileCost;
}

/**
 * Appends to the log. If that fails, the numbers are free again: a cursor must not be ahead of what a restart finds in the log.
 * @returns why it failed, the end of a sentence
 */
function store(channels: Channels, records: readonly LogRecord[]): string | undefined {
  chargeWrite(channels);
  try {
    channels.log?.append(records);
    channels.log?.sync();
  } catch (error) {
    // Once, not for every message until writing works again.
    if (!channels.isUnwritable) log('error', 'messages not written', { error: (error as Error).message });
    channels.isUnwritable = true;
    channels.lastSeq -= records.length;
    return `because it could not be stored: ${diskErrorReason(error)}`;
  }
  if (channels.isUnwritable) log('info', 'messages written again');
  channels.isUnwritable = false;
  return undefined;
}

/**
 * Sends consecutive messages of one channel to its live subscribers and its room, group by group: each group's messages are then
 * one range of bytes. A connection is in one group.
 */
function sendToSubscribers(
  channels: Channels,
  messages: readonly ChannelMessage[],
  batch: readonly QueuedPublication[],
): void {
  const { live, room } = findOrCreate(channels, messages[0]!.channel);
  for (const [encoder, group] of live) {
    for (const message of messages) {
      const { isText, bytes } = encoder.message(channels, message);
      publishToGroup(group, wholeMessage(isText, bytes), { since: message.seq - 1 });
    }
  }
  room?.deliver(
    messages,
    batch.map(({ publication }) => publication.author),
  );
}

/** Delivers to the listeners and the polls, and keeps the message. */
function deliver(channels: Channels, message: ChannelMessage): void {
  let channel = findOrCreate(channels, message.channel);
  if (channel.listeners.size > 0) {
    callListeners(channel, message);
    // A listener may have ended its subscription, and with it the channel.
    channel = findOrCreate(channels, message.channel);
  }
  for (const waiter of channel.waiters) {
    waiter.take(message);
    channels.due.add(waiter);
  }
  keepMessage(channels, channel, message);
}

/** A listener that is added meanwhile begins with the next message; one that is removed meanwhile is not called. */
function callListeners({ listeners }: Channel, message: ChannelMessage): void {
  for (const listener of [...listeners]) if (listeners.has(listener)) listener(message);
}

/**
 * Forgets the channel's messages, in memory and for every later start.
 * @param isPurged whether the log is rewritten without them
 * @returns the number of messages forgotten, or a sentence
 */
export function forgetChannel(channels: Channels, name: string, isPurged: boolean): number | string {
  commitPublications(channels);
  const channel = channels.byName.get(name);
  const count = channel?.count ?? 0;
  channels.lastSeq++;
  const seq = channels.lastSeq;
  const newest = channel?.lastSeq ?? channels.forgotten.get(name) ?? channels.forgottenFloor;
  const why = store(channels, [{ seq, time: Date.now(), channel: name, isForget: true, newest }]);
  if (why !== undefined) return `not forgotten, ${why}`;
  if (channel !== undefined) forgetMessages(channels, channel, seq);
  if (!isPurged) return count;
  channels.log?.purge(name, seq).then(
    () => log('info', 'channel purged', { channel: name }),
    (error: Error) => log('error', 'channel not purged', { channel: name, error: error.message }),
  );
  return count;
}
