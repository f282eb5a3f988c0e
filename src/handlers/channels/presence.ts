/**
 * Presence: which users are subscribed to a channel, over all transports. Two tabs of a user are one user. A user stays for
 * `--presence-grace` after the last subscriber, which hides a page change. Subscribers without a user only count.
 *
 * Subscribers that ask for it receive the users, and then each change:
 *
 *     {"channel":"x","presence":{"count":3,"users":["17","18"]}}
 *     {"id":"E-14","channel":"x","joined":"19"}      {"id":"E-15","channel":"x","left":"17"}
 *
 * The id is that of the newest message: a client that resumes after it misses nothing. Changes are not kept. The end of a turn
 * sends all changes of the turn together, so a crowd that arrives at once costs one fan-out.
 */

import { presenceNeed } from '../../access/needs.ts';
import { leave } from '../../core/fanout.ts';
import { maxLeavingUsers, maxPresenceNames } from '../../protocol/limits.ts';
import { workUnits } from '../../protocol/workUnits.ts';
import type { Connection } from '../../records/records.ts';
import type { Channel, ChannelPresence, Channels, Presences, PresenceView, Subscription } from './records.ts';

export function newPresences(): Presences {
  return { changed: new Set(), leaving: new Set(), timer: undefined };
}

function presenceOf(channel: Channel): ChannelPresence {
  channel.presence ??= {
    channel,
    users: new Map(),
    sources: 0,
    watchers: { names: new Map(), count: new Map() },
    newcomers: new Set(),
    joined: new Set(),
    left: new Set(),
    anonymous: anonymousOf(channel),
  };
  return channel.presence;
}

/** Subscribers and waiting polls without a user. */
export function anonymousOf({ subscriptions, waiters, presence }: Channel): number {
  return subscriptions.size + waiters.size - (presence?.sources ?? 0);
}

/** The number of users and of subscribers without one. */
function presentCount(channel: Channel): number {
  return (channel.presence?.users.size ?? 0) + anonymousOf(channel);
}

/** The names where the rights of the client allow it, otherwise the count alone. */
export function viewOf(
  { entry }: Channels,
  connection: Connection,
  name: string,
  isSubscriber: boolean,
): PresenceView {
  return entry?.allows(connection, presenceNeed(name, isSubscriber)) === true ? 'names' : 'count';
}

/** The channel's users and their count, as far as the view shows them. A long list is cut; the count is not. */
export function presenceState(channel: Channel | undefined, view: PresenceView): object {
  const count = channel === undefined ? 0 : presentCount(channel);
  if (view === 'count') return { count };
  const users: string[] = [];
  for (const user of channel?.presence?.users.keys() ?? []) {
    if (users.length === maxPresenceNames) break;
    users.push(user);
  }
  return { count, users };
}

/** The channel has a new subscriber or poll. @param user undefined if it has no user */
export function enterPresence(channels: Channels, channel: Channel, user: string | undefined): void {
  if (user === undefined) return noteChange(channels, channel.presence);
  const presence = presenceOf(channel);
  const found = presence.users.get(user);
  presence.sources++;
  if (found !== undefined) {
    found.sources++;
    channels.presences.leaving.delete(found);
    return;
  }
  presence.users.set(user, { name: user, presence, sources: 1, leftAt: 0 });
  if (!presence.left.delete(user)) presence.joined.add(user);
  noteChange(channels, presence);
}

/** The channel has lost a subscriber or poll of this user. */
export function leavePresence(channels: Channels, channel: Channel, user: string | undefined): void {
  const { presence } = channel;
  const found = user === undefined ? undefined : presence?.users.get(user);
  if (user === undefined || presence === undefined || found === undefined)
    return noteChange(channels, presence);
  presence.sources--;
  found.sources--;
  if (found.sources > 0) return;
  const { leaving } = channels.presences;
  found.leftAt = channels.server.now;
  leaving.add(found);
  if (leaving.size > maxLeavingUsers) channels.scheduleCommit();
  else scheduleDepartures(channels);
}

/** A poll of this user was answered at once: the grace time begins anew. */
export function visitPresence(channels: Channels, channel: Channel, user: string): void {
  enterPresence(channels, channel, user);
  leavePresence(channels, channel, user);
}

/** The end of the turn sends the changes to the watchers. The first change of a turn is charged with the fan-out. */
function noteChange(channels: Channels, presence: ChannelPresence | undefined): void {
  const { changed } = channels.presences;
  if (presence === undefined || changed.has(presence)) return;
  changed.add(presence);
  const { names, count } = presence.watchers;
  for (const { members } of [...names.values(), ...count.values()]) workUnits.spent += members.size;
  channels.scheduleCommit();
}

/** Sets the timer to the end of the first user's grace time. */
export function scheduleDepartures(channels: Channels): void {
  const { presences, server } = channels;
  if (presences.timer !== undefined) return;
  const [first] = presences.leaving;
  if (first === undefined) return;
  presences.timer = setTimeout(
    () => {
      presences.timer = undefined;
      channels.scheduleCommit();
    },
    Math.max(0, first.leftAt + server.configuration.presenceGrace - server.now),
  ).unref();
}

/** Applies a new grace time to all users, also to those who are leaving. */
export function restartDepartures(channels: Channels): void {
  const { presences } = channels;
  clearTimeout(presences.timer);
  presences.timer = undefined;
  scheduleDepartures(channels);
}

/** The users who are leaving have left, without their grace time. */
export function endGraceTimes(channels: Channels): void {
  for (const user of channels.presences.leaving) user.leftAt = Number.NEGATIVE_INFINITY;
  channels.scheduleCommit();
}

/** Sends the subscriber the users at the end of this turn; from then on, a live one receives the changes. */
export function watchPresence(channels: Channels, subscription: Subscription): void {
  if (subscription.view === undefined) return;
  const presence = presenceOf(subscription.channel);
  presence.newcomers.add(subscription);
  workUnits.spent += Math.min(presence.users.size, maxPresenceNames) >>> 3;
  noteChange(channels, presence);
}

/** Sends no more changes to the subscriber, which is catching up, or gone. */
export function unwatchPresence(channels: Channels, subscription: Subscription): void {
  const { channel, subscriber, view } = subscription;
  const { presence } = channel;
  if (view === undefined || presence === undefined) return;
  presence.newcomers.delete(subscription);
  noteChange(channels, presence);
  const { connection, encoder } = subscriber;
  const groups = presence.watchers[view];
  const group = groups.get(encoder);
  if (group === undefined) return;
  leave(group, connection);
  if (group.members.size === 0) groups.delete(encoder);
}
