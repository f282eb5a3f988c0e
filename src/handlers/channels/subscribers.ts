/**
 * Subscribers. A subscriber is live, and gets each message with the fan-out, or it catches up from the kept messages, as fast as
 * its socket takes them. Replay, resuming, and recovering from a full socket are the same: catching up.
 */

import { presenceNeed, subscribeNeeds } from '../../access/needs.ts';
import { flushFanout, join, leave, newGroup } from '../../core/fanout.ts';
import { canSend, scheduleFlush, sendBytes, sendMessage } from '../../core/send.ts';
import { outputSlice, presenceMemory, subscriptionMemory } from '../../protocol/limits.ts';
import { workUnits } from '../../protocol/workUnits.ts';
import type { Need } from '../../records/identity.ts';
import type { Connection, Group, Producer } from '../../records/records.ts';
import { dropIfUnused, findOrCreate } from './channel.ts';
import { aheadOfAll } from './names.ts';
import { enterPresence, leavePresence, unwatchPresence, viewOf, watchPresence } from './presence.ts';
import type {
  Channel,
  ChannelEncoder,
  ChannelMessage,
  Channels,
  EncodedMessage,
  PresenceView,
  Subscriber,
  Subscription,
  Waiter,
} from './records.ts';

/** Where a subscription starts: behind a cursor (`after`), with the last messages (`last`), or now. */
export interface Start {
  readonly after?: number | undefined;
  readonly last?: number | undefined;
}

/** The position of a subscription that starts so. */
export function positionAt(channels: Channels, channel: Channel, start: Start): Position {
  const cursor = cursorOf(channels, channel, start);
  return { channel, cursor, toldSeq: toldSeqOf(channel, start) };
}

function toldSeqOf({ forgottenSeq }: Channel, { after }: Start): number {
  // Without a cursor, nothing can be missing.
  if (after === undefined) return forgottenSeq;
  return after === aheadOfAll ? lostStart : beforeAll;
}

function cursorOf(channels: Channels, channel: Channel, { after, last }: Start): number {
  if (after !== undefined) return Math.min(after, channels.lastSeq);
  if (last === undefined || last === 0) return channels.lastSeq;
  let left = last;
  const { messages, first } = channel;
  for (let at = messages.length - 1; at >= first; at--) {
    if (messages[at]!.isKept && --left === 0) return messages[at]!.seq - 1;
  }
  // Fewer are kept: all of them.
  return 0;
}

/** A subscriber without subscriptions; `endSubscriber` must follow when its connection is gone. */
export function newSubscriber(
  channels: Channels,
  connection: Connection,
  encoder: ChannelEncoder,
): Subscriber {
  const subscriptions = new Map<string, Subscription>();
  const memory = subscriptionMemory;
  const subscriber: Subscriber = { connection, encoder, subscriptions, isLive: true, memory };
  channels.subscribers.set(connection, subscriber);
  return subscriber;
}

/**
 * Subscribes to a channel; does nothing if the subscriber has done so before. Kept messages behind the start, or a gap, follow
 * before any newer message, as soon as the socket takes them.
 * @param name valid: see names.ts
 * @param watchesPresence whether it receives the users, or only their count if its rights do not allow more
 */
export function subscribe(
  channels: Channels,
  subscriber: Subscriber,
  name: string,
  start: Start,
  watchesPresence = false,
): void {
  if (subscriber.subscriptions.has(name)) return;
  // Pending messages were published before the subscription.
  flushFanout(channels.server);
  const channel = findOrCreate(channels, name);
  const { cursor, toldSeq } = positionAt(channels, channel, start);
  const { connection } = subscriber;
  const user = connection.identity?.user;
  const view = watchesPresence ? viewOf(channels, connection, name, true) : undefined;
  const subscription: Subscription = { channel, subscriber, user, view, cursor, toldSeq };
  subscriber.subscriptions.set(name, subscription);
  channel.subscriptions.add(subscription);
  subscriber.memory += memoryOf(subscription);
  enterPresence(channels, channel, user);
  workUnits.spent += 2;
  if (subscriber.isLive && cursor >= channel.lastSeq && toldSeq !== lostStart) {
    joinLive(channels, subscription);
    watchPresence(channels, subscription);
    return;
  }
  if (subscriber.isLive) {
    leaveLive(channels, subscriber, channels.lastSeq);
    subscription.cursor = cursor;
    subscription.toldSeq = toldSeq;
  }
  watchPresence(channels, subscription);
  startCatchUp(channels, subscriber);
}

/** Bytes of one subscription, or of a waiting poll in one channel, with the channel, which may exist only for it. */
export function memoryOf({
  user,
  view,
}: {
  user: string | undefined;
  view?: PresenceView | undefined;
}): number {
  return subscriptionMemory + (user === undefined && view === undefined ? 0 : presenceMemory);
}

/** A subscription knows of nothing that is missing. */
const beforeAll = -2;

/** The log has lost the start of a subscription: always a gap. */
const lostStart = -3;

/** The subscriber has everything up to now: from here on it gets each message with the fan-out. */
function goLive(channels: Channels, subscriber: Subscriber): void {
  subscriber.isLive = true;
  for (const subscription of subscriber.subscriptions.values()) {
    joinLive(channels, subscription);
    watchPresence(channels, subscription);
  }
}

function joinLive(channels: Channels, { channel, subscriber: { encoder, connection } }: Subscription): void {
  const group = channel.live.get(encoder) ?? newSubscriberGroup(channels);
  channel.live.set(encoder, group);
  join(group, connection);
}

/** Subscribers that receive the same bytes. Those whose sockets are full leave the fan-out. */
export function newSubscriberGroup(channels: Channels): Group {
  return newGroup((member, since) => fallBehind(channels, member, since));
}

/** A live subscriber whose socket is full leaves the fan-out, and catches up when it has read. @param cursor its position */
function fallBehind(channels: Channels, connection: Connection, cursor: number): void {
  const subscriber = channels.subscribers.get(connection);
  if (subscriber === undefined) return;
  leaveLive(channels, subscriber, cursor);
  startCatchUp(channels, subscriber);
}

/** Takes the subscriber out of the fan-out. @param cursor what it has of all channels */
function leaveLive(channels: Channels, subscriber: Subscriber, cursor: number): void {
  if (!subscriber.isLive) return;
  subscriber.isLive = false;
  for (const subscription of subscriber.subscriptions.values()) {
    subscription.cursor = cursor;
    subscription.toldSeq = cursor;
    leaveGroup(subscription);
    unwatchPresence(channels, subscription);
  }
}

function leaveGroup({ channel, subscriber: { encoder, connection } }: Subscription): void {
  const group = channel.live.get(encoder);
  if (group === undefined) return;
  leave(group, connection);
  if (group.members.size === 0) channel.live.delete(encoder);
}

/** @returns whether there was such a subscription */
export function unsubscribe(channels: Channels, subscriber: Subscriber, name: string): boolean {
  const subscription = subscriber.subscriptions.get(name);
  if (subscription === undefined) return false;
  if (subscriber.isLive) leaveGroup(subscription);
  subscriber.subscriptions.delete(name);
  const { channel, user } = subscription;
  unwatchPresence(channels, subscription);
  channel.subscriptions.delete(subscription);
  subscriber.memory -= memoryOf(subscription);
  leavePresence(channels, channel, user);
  dropIfUnused(channels, channel);
  return true;
}

/** The rights that a subscriber uses now. */
export function neededBy({ subscribers }: Channels, connection: Connection): readonly Need[] {
  const needs: Need[] = [];
  for (const [name, { view }] of subscribers.get(connection)?.subscriptions ?? []) {
    needs.push(...subscribeNeeds(name));
    if (view === 'names') needs.push(presenceNeed(name, true));
  }
  return needs;
}

/** The connection is gone. */
export function endSubscriber(channels: Channels, subscriber: Subscriber): void {
  channels.subscribers.delete(subscriber.connection);
  if (subscriber.connection.producer instanceof CatchUp) subscriber.connection.producer = undefined;
  for (const name of [...subscriber.subscriptions.keys()]) unsubscribe(channels, subscriber, name);
  subscriber.isLive = false;
}

/** The subscriber has to catch up: it gets no newer message before. */
function startCatchUp(channels: Channels, subscriber: Subscriber): void {
  const { connection } = subscriber;
  if (connection.producer === undefined) connection.producer = new CatchUp(channels, subscriber);
  scheduleFlush(connection);
}

/** Looking for the next message in one channel takes as long as writing so many bytes. */
const lookupCost = 64;

/** Sends a subscriber what it has missed, slice by slice. */
class CatchUp implements Producer {
  private readonly channels: Channels;
  private readonly subscriber: Subscriber;

  constructor(channels: Channels, subscriber: Subscriber) {
    this.channels = channels;
    this.subscriber = subscriber;
  }

  produce(connection: Connection): boolean {
    const { channels, subscriber } = this;
    const { encoder, subscriptions } = subscriber;
    if (canSend(connection)) {
      const missing = gapsOf(subscriptions.values());
      if (missing.length > 0) sendEncoded(connection, encoder.gap(missing));
      for (let spent = 0; spent < outputSlice; ) {
        const next = takeNext(subscriptions.values());
        if (next === undefined) {
          connection.producer = undefined;
          if (encoder.caughtUp !== undefined) sendEncoded(connection, encoder.caughtUp(channels));
          goLive(channels, subscriber);
          return false;
        }
        const encoded = encoder.message(channels, next);
        sendEncoded(connection, encoded);
        spent += encoded.bytes.length + lookupCost * subscriptions.size;
      }
      return true;
    }
    connection.producer = undefined;
    return false;
  }

  held(): number {
    return 0;
  }
}

function sendEncoded(connection: Connection, { isText, bytes }: EncodedMessage): void {
  if (connection.endpoint === undefined) sendBytes(connection, bytes);
  else sendMessage(connection, isText, bytes, 0, bytes.length);
}

/** Where reading has got to in a channel: a subscription, or the position of a long poll. */
export type Position = Pick<Subscription, 'channel' | 'cursor' | 'toldSeq'>;

/** The names of channels with missing messages that were not reported yet. From here on they count as reported. */
export function gapsOf(positions: Iterable<Position>): string[] {
  const names: string[] = [];
  for (const position of positions) {
    const { channel, cursor, toldSeq } = position;
    if (toldSeq !== lostStart && Math.max(cursor, toldSeq) >= channel.forgottenSeq) continue;
    position.toldSeq = channel.forgottenSeq;
    names.push(channel.name);
  }
  return names;
}

/** The oldest message behind the positions, which the position of its channel moves to; undefined if there is none. */
export function takeNext(positions: Iterable<Position>): ChannelMessage | undefined {
  let next: ChannelMessage | undefined;
  let its: Position | undefined;
  for (const position of positions) {
    const found = firstAfter(position.channel, position.cursor);
    if (found === undefined || (next !== undefined && next.seq < found.seq)) continue;
    next = found;
    its = position;
  }
  if (next !== undefined) its!.cursor = next.seq;
  return next;
}

/** The first kept message with a higher number. */
function firstAfter({ messages, first, lastSeq }: Channel, seq: number): ChannelMessage | undefined {
  if (seq >= lastSeq) return undefined;
  let from = first;
  for (let to = messages.length; from < to; ) {
    const middle = (from + to) >>> 1;
    if (messages[middle]!.seq <= seq) from = middle + 1;
    else to = middle;
  }
  while (from < messages.length && !messages[from]!.isKept) from++;
  return messages[from];
}

/** Calls `wake` once, when one of the channels gets a message. */
export function waitForMessage(channels: Channels, waiter: Waiter): void {
  for (const channel of waiter.channels) {
    channel.waiters.add(waiter);
    enterPresence(channels, channel, waiter.user);
  }
}

export function stopWaiting(channels: Channels, waiter: Waiter): void {
  channels.due.delete(waiter);
  for (const channel of waiter.channels) {
    if (!channel.waiters.delete(waiter)) continue;
    leavePresence(channels, channel, waiter.user);
    dropIfUnused(channels, channel);
  }
}
