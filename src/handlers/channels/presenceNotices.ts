/** The notices of presence: at the end of a turn, a channel's watchers receive who joined and who left. */

import { join, publishToGroup, wholeMessage } from '../../core/fanout.ts';
import { maxLeavingUsers } from '../../protocol/limits.ts';
import type { Group } from '../../records/records.ts';
import { dropIfUnused } from './channel.ts';
import { idOf } from './names.ts';
import { anonymousOf, presenceState, scheduleDepartures } from './presence.ts';
import type {
  Channel,
  ChannelEncoder,
  ChannelPresence,
  Channels,
  PresenceView,
  Subscription,
} from './records.ts';
import { newSubscriberGroup } from './subscribers.ts';

/** A stage at the end of the turn: removes users whose grace time is over, and sends the changes to the watchers. */
export function announcePresence(channels: Channels): void {
  const { changed } = channels.presences;
  removeDeparted(channels);
  scheduleDepartures(channels);
  for (const presence of changed) {
    // Deleted first: if a watcher falls behind during the announcement, that is another change.
    changed.delete(presence);
    announce(channels, presence);
  }
}

function removeDeparted({ presences, server }: Channels): void {
  const { changed, leaving } = presences;
  const leftBefore = server.now - server.configuration.presenceGrace;
  for (const user of leaving) {
    const { name, presence, leftAt } = user;
    if (leftAt > leftBefore && leaving.size <= maxLeavingUsers) break;
    leaving.delete(user);
    presence.users.delete(name);
    if (!presence.joined.delete(name)) presence.left.add(name);
    changed.add(presence);
  }
}

function announce(channels: Channels, presence: ChannelPresence): void {
  const { channel, joined, left, newcomers, watchers } = presence;
  const anonymous = anonymousOf(channel);
  const hasChanged = joined.size > 0 || left.size > 0;
  const isCountNews = anonymous !== presence.anonymous;
  const id = idOf(channels, channels.lastSeq);
  for (const [encoder, group] of watchers.names) {
    for (const user of left) sendChange(channels, group, encoder, id, { channel: channel.name, left: user });
    for (const user of joined)
      sendChange(channels, group, encoder, id, { channel: channel.name, joined: user });
    if (isCountNews) sendState(channels, group, encoder, channel, 'count');
  }
  if (hasChanged || isCountNews)
    for (const [encoder, group] of watchers.count) sendState(channels, group, encoder, channel, 'count');
  joined.clear();
  left.clear();
  presence.anonymous = anonymous;
  welcome(channels, presence, newcomers);
  newcomers.clear();
  if (presence.users.size > 0 || watchers.names.size > 0 || watchers.count.size > 0) return;
  channel.presence = undefined;
  dropIfUnused(channels, channel);
}

/** Sends the users to newcomers, and adds the live ones to the watchers. A subscriber that catches up is welcomed again when it is live. */
function welcome(channels: Channels, presence: ChannelPresence, newcomers: ReadonlySet<Subscription>): void {
  const groups: Record<PresenceView, Map<ChannelEncoder, Group>> = { names: new Map(), count: new Map() };
  for (const { subscriber, view } of newcomers) {
    const { connection, encoder, isLive } = subscriber;
    const its = groups[view!];
    const group = its.get(encoder) ?? newSubscriberGroup(channels);
    its.set(encoder, group);
    join(group, connection);
    if (!isLive) continue;
    const watching = presence.watchers[view!];
    const watchers = watching.get(encoder) ?? newSubscriberGroup(channels);
    watching.set(encoder, watchers);
    join(watchers, connection);
  }
  for (const view of ['names', 'count'] as const)
    for (const [encoder, group] of groups[view]) sendState(channels, group, encoder, presence.channel, view);
}

function sendState(
  channels: Channels,
  group: Group,
  encoder: ChannelEncoder,
  channel: Channel,
  view: PresenceView,
): void {
  const state = { channel: channel.name, presence: presenceState(channel, view) };
  sendChange(channels, group, encoder, undefined, state);
}

/** @param id the cursor that goes with the change */
function sendChange(
  channels: Channels,
  group: Group,
  encoder: ChannelEncoder,
  id: string | undefined,
  change: object,
): void {
  if (encoder.presence === undefined || group.members.size === 0) return;
  const { isText, bytes } = encoder.presence(id, change);
  publishToGroup(group, wholeMessage(isText, bytes), { since: channels.lastSeq });
}
