/** What channels keep: the newest messages, by count, bytes and age for each channel, and by memory for all together. */

import { channelMemory, messageMemory } from '../../storage/log/load.ts';
import { dropIfUnused } from './channel.ts';
import type { Channel, ChannelMessage, Channels } from './records.ts';

const memoryOf = ({ data, key, publisher, from, event }: ChannelMessage): number =>
  messageMemory +
  data.length +
  2 * ((key?.length ?? 0) + (publisher?.length ?? 0) + (from?.length ?? 0) + (event?.length ?? 0));

/** Keeps a delivered message, and drops those that are beyond the bounds. */
export function keepMessage(channels: Channels, channel: Channel, message: ChannelMessage): void {
  const { retention, order } = channels;
  channel.lastSeq = Math.max(channel.lastSeq, message.seq);
  if (channel.count === 0) countMemory(channels, channelMemory);
  channel.messages.push(message);
  channel.count++;
  channel.bytes += message.data.length;
  channels.kept++;
  countMemory(channels, memoryOf(message));
  order.push(message);
  if (message.expiresAt !== undefined) channels.expiring++;
  if (message.key !== undefined) channel.keys.set(keyOf(message), message);
  while (channel.count > retention.messages || channel.bytes > retention.bytes) dropOldest(channels, channel);
  trimToMemory(channels, retention.memory);
  scheduleExpiry(channels);
}

/** How often messages that are too old are looked for, in milliseconds: each time, all messages are looked at. */
const expiryInterval = 1000;

/** A message may be delivered for a second after its time: a timer drops messages, not each reader. */
function scheduleExpiry(channels: Channels): void {
  const mayExpire = channels.expiring > 0 || (channels.retention.age > 0 && channels.kept > 0);
  if (channels.expiryTimer !== undefined || !mayExpire) return;
  channels.expiryTimer = setTimeout(() => {
    channels.expiryTimer = undefined;
    dropExpired(channels, Date.now());
    scheduleExpiry(channels);
  }, expiryInterval).unref();
}

/** The kept messages, oldest first. */
export function* keptMessages({ messages, first }: Channel): Generator<ChannelMessage> {
  for (let at = first; at < messages.length; at++) if (messages[at]!.isKept) yield messages[at]!;
}

function countMemory(channels: Channels, bytes: number): void {
  channels.keptMemory += bytes;
  channels.memory.histories += bytes;
}

/** The key of a message in `channel.keys`: keys of different publishers differ. */
export function keyOf({
  publisher = '',
  key = '',
}: {
  publisher?: string | undefined;
  key?: string | undefined;
}): string {
  return `${publisher}\0${key}`;
}

/** Drops the oldest messages of all channels until they have at most so many bytes. */
export function trimToMemory(channels: Channels, most: number): void {
  for (let at = channels.oldest; channels.keptMemory > most && at < channels.order.length; at++) {
    const message = channels.order[at]!;
    if (message.isKept) drop(channels, channels.byName.get(message.channel)!, message);
  }
  skipDropped(channels);
}

/** Drops messages that are too old, or whose time to live is over. @param now milliseconds since the epoch */
export function dropExpired(channels: Channels, now: number): void {
  const { order, retention, byName } = channels;
  const oldestTime = retention.age === 0 ? Number.NEGATIVE_INFINITY : now - retention.age;
  for (let at = channels.oldest; at < order.length; at++) {
    const message = order[at]!;
    const isOver = message.time < oldestTime || (message.expiresAt ?? Number.POSITIVE_INFINITY) <= now;
    if (isOver && message.isKept) drop(channels, byName.get(message.channel)!, message);
    // Later messages are newer. After one of the future they need not be: the clock was set back.
    if (message.time >= oldestTime && message.time <= now && channels.expiring === 0) break;
  }
  skipDropped(channels);
}

/** Applies new bounds. */
export function setRetention(channels: Channels, retention: Channels['retention'], now: number): void {
  channels.retention = retention;
  for (const channel of channels.byName.values()) {
    while (channel.count > retention.messages || channel.bytes > retention.bytes)
      dropOldest(channels, channel);
  }
  trimToMemory(channels, retention.memory);
  dropExpired(channels, now);
  scheduleExpiry(channels);
}

/** Drops the channel's messages up to a number, and remembers that anything up to it may be missing. */
export function forgetMessages(channels: Channels, channel: Channel, seq: number): void {
  const upTo = channel.messages.filter(message => message.isKept && message.seq <= seq);
  for (const message of upTo) drop(channels, channel, message);
  if (channel.forgottenSeq < Math.min(seq, channel.lastSeq))
    channel.forgottenSeq = Math.min(seq, channel.lastSeq);
  skipDropped(channels);
}

function dropOldest(channels: Channels, channel: Channel): void {
  for (let at = channel.first; at < channel.messages.length; at++) {
    const message = channel.messages[at]!;
    if (message.isKept) return drop(channels, channel, message);
  }
}

function drop(channels: Channels, channel: Channel, message: ChannelMessage): void {
  message.isKept = false;
  channel.count--;
  channel.bytes -= message.data.length;
  countMemory(channels, -memoryOf(message));
  if (message.expiresAt !== undefined) channels.expiring--;
  if (message.key !== undefined && channel.keys.get(keyOf(message)) === message)
    channel.keys.delete(keyOf(message));
  channel.forgottenSeq = Math.max(channel.forgottenSeq, message.seq);
  channels.kept--;
  const { messages } = channel;
  while (channel.first < messages.length && !messages[channel.first]!.isKept)
    messages[channel.first++] = nothing;
  // Compacts when half of the list is dropped: on average each message moves a few times.
  if (messages.length > 2 * channel.count + 16) {
    channel.messages = messages.filter(isKept);
    channel.first = 0;
  }
  if (channel.count > 0) return;
  countMemory(channels, -channelMemory);
  dropIfUnused(channels, channel);
}

const isKept = (message: ChannelMessage) => message.isKept;

/** Stands for a dropped message at the beginning of a list, whose memory is free. */
const nothing: ChannelMessage = {
  seq: 0,
  time: 0,
  channel: '',
  kind: 'text',
  data: Buffer.alloc(0),
  isKept: false,
};

function skipDropped(channels: Channels): void {
  const { order } = channels;
  while (channels.oldest < order.length && !order[channels.oldest]!.isKept)
    order[channels.oldest++] = nothing;
  if (order.length > 2 * channels.kept + 1024) {
    channels.order = order.filter(isKept);
    channels.oldest = 0;
  }
}
