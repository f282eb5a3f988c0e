/** Commands about channels: which there are, what they keep, and forgetting it. */

import { idOf } from '../handlers/channels/names.ts';
import { forgetChannel, subscribersOf } from '../handlers/channels/publish.ts';
import type { Channel, ChannelMessage, Channels } from '../handlers/channels/records.ts';
import { dropExpired } from '../handlers/channels/retention.ts';
import { count } from '../options/values.ts';
import { ProtocolError } from '../protocol/codes.ts';
import { workUnits } from '../protocol/workUnits.ts';
import { type Command, logsChanges } from './command.ts';
import { channelName, yes } from './values.ts';

function describe(channels: Channels, channel: Channel): Record<string, unknown> {
  const { name, subscriptions, waiters, room, count: kept, lastSeq } = channel;
  workUnits.spent += subscribersOf(channel) >>> 4;
  const counts = { websocket: 0, eventsource: 0, poll: waiters.size };
  for (const { subscriber } of subscriptions) counts[subscriber.encoder.transport]++;
  return { name, ...counts, room: room?.users.size ?? 0, kept, last: idOf(channels, lastSeq) };
}

const channelsCommand: Command = {
  name: 'channels',
  isReadOnly: true,
  parameters: {},
  help: 'list the channels',
  details:
    'A channel exists while it has subscribers or kept messages. websocket, eventsource, poll: its subscribers by transport. room: the users in the chat room of this name. kept: the number of messages that new subscribers can get. last: the id of the newest message.',
  columns: {
    name: { width: 20 },
    websocket: { width: -9 },
    eventsource: { width: -11 },
    poll: { width: -4 },
    room: { width: -4 },
    kept: { width: -5 },
    last: { width: 0 },
  },
  *run({ channels }) {
    dropExpired(channels, Date.now());
    for (const channel of channels.byName.values()) yield describe(channels, channel);
  },
};

/** The fields of a message, as in the log. */
function rowOf(channels: Channels, { seq, time, from, event, kind, data }: ChannelMessage) {
  const content =
    kind === 'bytes'
      ? { base64: data.toString('base64') }
      : kind === 'json'
        ? { data: data.toString().replace(/[\t\r\n]/g, ' ') }
        : { text: data.toString() };
  return { id: idOf(channels, seq), time: new Date(time).toISOString(), from, event, ...content };
}

type Row = Readonly<Record<string, unknown>>;

function* keptRows(channels: Channels, name: string, most: number): Generator<Row> {
  dropExpired(channels, Date.now());
  const { messages = [], first = 0 } = channels.byName.get(name) ?? {};
  const kept = messages.slice(first).filter(({ isKept }) => isKept);
  // Rows are read in batches: what is forgotten in between is left out.
  for (const message of most >= kept.length ? kept : kept.slice(kept.length - most))
    if (message.isKept) yield rowOf(channels, message);
}

const history: Command = {
  name: 'history',
  isReadOnly: true,
  parameters: {
    channel: { kind: channelName, oldName: 'room' },
    count: { kind: count, optional: true },
  },
  help: 'show the messages a channel keeps',
  details:
    'Subscribers can get these messages, and users who enter the room of this name do; see --history. With N, only the newest N. A message has its text, its JSON as data, or its bytes as base64.',
  columns: {
    id: { width: 14 },
    time: { width: 24 },
    from: { width: 12 },
    event: { width: 10 },
    text: { width: 0 },
    data: { width: 0, isJson: true },
    base64: { width: 0 },
  },
  run({ channels }, { channel, count: newest = Number.POSITIVE_INFINITY }) {
    return keptRows(channels, channel as string, newest as number);
  },
};

const forget: Command = {
  name: 'forget',
  parameters: { channel: { kind: channelName }, purge: { kind: yes, isOption: true } },
  help: 'forget the messages a channel keeps',
  details:
    'Nobody gets these messages any more, also after a restart. With --purge the log on disk is rewritten without them, which takes the longer the larger it is. forgotten: the number of messages that were kept.',
  logs: logsChanges,
  run({ channels }, { channel, purge = false }) {
    const forgotten = forgetChannel(channels, channel as string, purge as boolean);
    if (typeof forgotten === 'string') throw new ProtocolError(500, forgotten);
    return { forgotten };
  },
};

export const channelCommands: readonly Command[] = [channelsCommand, history, forget];
