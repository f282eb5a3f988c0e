/** One channel: it is created by its first subscriber or message, and dropped after the last one. */

import { maxForgottenChannels } from '../../protocol/limits.ts';
import type { Channel, Channels } from './records.ts';

/** @param name valid: see names.ts. Call `dropIfUnused` later if the channel may stay without subscribers and messages. */
export function findOrCreate(channels: Channels, name: string): Channel {
  const found = channels.byName.get(name);
  if (found !== undefined) return found;
  const forgottenSeq = channels.forgotten.get(name) ?? channels.forgottenFloor;
  const channel: Channel = {
    name,
    messages: [],
    first: 0,
    count: 0,
    bytes: 0,
    lastSeq: forgottenSeq,
    forgottenSeq,
    keys: new Map(),
    live: new Map(),
    subscriptions: new Set(),
    waiters: new Set(),
    listeners: new Set(),
    presence: undefined,
    room: undefined,
  };
  channels.forgotten.delete(name);
  channels.unborn.delete(name);
  channels.byName.set(name, channel);
  return channel;
}

/**
 * @returns why `--max-channels` does not allow all of these channels, a sentence; undefined if it does. Existing ones are always
 *   allowed.
 */
export function channelsFull(
  { byName, unborn, server }: Channels,
  names: readonly string[],
): string | undefined {
  const { maxChannels } = server.configuration;
  const count = byName.size + unborn.size;
  if (maxChannels === 0 || count + names.length <= maxChannels) return undefined;
  const created = names.filter(name => !byName.has(name) && !unborn.has(name)).length;
  if (created === 0 || count + created <= maxChannels) return undefined;
  return `there are ${count} channels already, and no more are allowed (--max-channels); try again later`;
}

/** A channel exists while it has subscribers, waiting polls, users, or messages. */
export function dropIfUnused(channels: Channels, channel: Channel): void {
  const { name, count, subscriptions, waiters, listeners, room, presence, forgottenSeq } = channel;
  if (count > 0 || subscriptions.size > 0 || waiters.size > 0) return;
  if (listeners.size > 0 || room !== undefined || presence !== undefined) return;
  if (channels.byName.get(name) !== channel) return;
  channels.byName.delete(name);
  const { forgotten } = channels;
  if (forgottenSeq <= channels.forgottenFloor) return;
  forgotten.set(name, forgottenSeq);
  if (forgotten.size <= maxForgottenChannels) return;
  const [oldest] = forgotten.entries();
  // From here on a channel that the map does not have may have forgotten that much.
  channels.forgottenFloor = Math.max(channels.forgottenFloor, oldest![1]);
  forgotten.delete(oldest![0]);
}
