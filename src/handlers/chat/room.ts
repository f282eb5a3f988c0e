/**
 * Rooms and their users, and sending to them. A room is a channel with users: its history and its messages are the channel's.
 * Each user has an encoder, so that users of packets and of lines share a room.
 */

import { isUtf8 } from 'node:buffer';

import { publishNeed } from '../../access/needs.ts';
import { join, membersOf, newGroup, sendToAll } from '../../core/fanout.ts';
import { scheduleTurn } from '../../core/poll.ts';
import { sendMessage } from '../../core/send.ts';
import { maxNameBytes, maxNameLength, maxPacketBlob } from '../../protocol/limits.ts';
import type { Message } from '../../protocol/websocket/message.ts';
import type { Need } from '../../records/identity.ts';
import type { Connection, Group, Handler, Server } from '../../records/records.ts';
import { findOrCreate } from '../channels/channel.ts';
import type { Channel, ChannelMessage, ChannelRoom, Channels } from '../channels/records.ts';
import { keptMessages } from '../channels/retention.ts';
import type { Name } from './names.ts';

/** Encodes messages for users. A message and its bytes are valid until the next call of any encoder. */
export interface ChatEncoder {
  /** Whether users get their own messages back, as a confirmation. */
  readonly echoesSender: boolean;
  /** The answer to a request. @param request the request's uid */
  ok(request: number): Message;
  error(request: number, why: string): Message;
  joined(user: User): Message;
  left(user: User): Message;
  message(user: User, text: Uint8Array): Message;
  /**
   * A message of the history, or of the server.
   * @param line `nick: text`
   * @param time milliseconds since the epoch; 0 for a message of no channel
   */
  history(line: Buffer, time: number): Message;
}

export interface User {
  readonly uid: number;
  readonly nick: Name;
  readonly connection: Connection;
  readonly encoder: ChatEncoder;
  room: Room | undefined;
}

/** The nick of the server. Users cannot have it. */
export const serverNick = 'server';

export interface Room extends ChannelRoom {
  readonly name: Name;
  /** Its name is the room's key. */
  readonly channel: Channel;
  /** The rights that a user needs to speak in it. */
  readonly speakNeeds: readonly Need[];
  /** In the order of arrival; never empty between two calls. */
  readonly users: Set<User>;
  /** The users' connections by encoder: a fan-out encodes once for each group. */
  readonly groups: Map<ChatEncoder, Group>;
  /** Users who have entered since the last notice. They are in no group yet. */
  readonly arrivals: Set<User>;
  /** Users who have left since the last notice. */
  departures: User[];
}

export interface Chat {
  readonly server: Server;
  readonly channels: Channels;
  /** By name key. */
  readonly users: Map<string, User>;
  /** Rooms with users, by name key. */
  readonly rooms: Map<string, Room>;
  /** Whether `--rooms` makes the channel with this name a room. */
  isRoom: (key: string) => boolean;
  nextUid: number;
  /** The handler whose `turnEnds` sends the roster changes. */
  handler: Handler | undefined;
  /** Rooms with roster changes that are not sent yet. */
  readonly roomsToNotify: Set<Room>;
}

/** Schedules the roster changes for the end of this turn, or of the next. */
export function scheduleTurnEnd({ server, handler }: Chat): void {
  if (handler !== undefined) handler.isIdle = false;
  scheduleTurn(server);
}

/** A room for its first user. */
export function newRoom({ channels, rooms }: Chat, name: Name): Room {
  const channel = findOrCreate(channels, name.key);
  const room: Room = {
    name,
    channel,
    speakNeeds: [publishNeed(name.key, true)],
    users: new Set(),
    groups: new Map(),
    arrivals: new Set(),
    departures: [],
    deliver: (messages, authors) => deliver(room, messages, authors as readonly (User | undefined)[]),
  };
  channel.room = room;
  rooms.set(name.key, room);
  return room;
}

/**
 * Sends messages to the users, group by group: each group's messages are then one range of bytes. A message without an author was
 * published from outside the room: users see it as said by the server.
 */
function deliver(
  room: Room,
  messages: readonly ChannelMessage[],
  authors: readonly (User | undefined)[],
): void {
  sendRosterChanges(room);
  for (const [encoder, group] of room.groups) {
    const members = membersOf(group);
    messages.forEach((message, at) => {
      const author = authors[at];
      const encoded =
        author === undefined
          ? encoder.history(lineOf(message), message.time)
          : encoder.message(author, message.data);
      // An author whose encoder does not echo gets no copy.
      const isSkipped = author?.encoder === encoder && !encoder.echoesSender;
      sendToMembers(members, encoded, isSkipped ? author.connection : undefined);
    });
  }
}

const lineScratch = Buffer.allocUnsafe(maxNameBytes + 2 + maxPacketBlob);

/** The message as `nick: text`, as far as users can receive it. Valid until the next call. */
function lineOf(message: ChannelMessage): Buffer {
  // The log may have been edited: keep the limits that clients rely on.
  const nick = (message.from ?? serverNick).slice(0, maxNameLength);
  const data = textOf(message);
  const start = lineScratch.write(`${nick}: `);
  lineScratch.set(data, start);
  return lineScratch.subarray(0, start + data.length);
}

/** The message as text. A channel accepts any data, so for data that users cannot receive, the text describes it. */
export function textOf({ kind, data }: Pick<ChannelMessage, 'kind' | 'data'>): Buffer {
  const isBinary = kind === 'bytes' && !isUtf8(data);
  if (!isBinary && data.length <= maxPacketBlob) return data;
  return Buffer.from(`[${isBinary ? 'binary' : 'long'} message of ${data.length} bytes]`);
}

/** Sends an encoded message to one user, or to a connection without a user yet. */
export function sendToUser({ connection }: { connection: Connection }, message: Message): void {
  const { isText, bytes, start, end } = message;
  sendMessage(connection, isText, bytes, start, end);
}

/**
 * Sends arrivals and departures since the last notice: at the end of the turn, or before anything else is sent to the room. If
 * 500 users enter a room of 1,500 in the same turn, that costs 2,000 deliveries instead of a million.
 */
export function sendRosterChanges(room: Room): void {
  const { arrivals, departures, groups, users, channel } = room;
  if (arrivals.size === 0 && departures.length === 0) return;
  room.departures = [];
  for (const [encoder, group] of groups) {
    const members = membersOf(group);
    // In sequence, so that each member's output queue gets all of them as one range.
    for (const user of departures) sendToMembers(members, encoder.left(user));
    for (const user of arrivals) sendToMembers(members, encoder.joined(user));
  }
  // A newcomer gets the roster, which includes itself and the other newcomers, and then the history.
  for (const [encoder, newcomers] of connectionsByEncoder(arrivals)) {
    for (const user of users) sendToMembers(newcomers, encoder.joined(user));
    for (const message of keptMessages(channel))
      sendToMembers(newcomers, encoder.history(lineOf(message), message.time));
  }
  for (const { encoder, connection } of arrivals) {
    const group = groups.get(encoder) ?? newGroup();
    groups.set(encoder, group);
    join(group, connection);
  }
  arrivals.clear();
}

function connectionsByEncoder(users: Iterable<User>): Map<ChatEncoder, Connection[]> {
  const byEncoder = new Map<ChatEncoder, Connection[]>();
  for (const { encoder, connection } of users) {
    const connections = byEncoder.get(encoder);
    if (connections === undefined) byEncoder.set(encoder, [connection]);
    else connections.push(connection);
  }
  return byEncoder;
}

function sendToMembers(members: readonly Connection[], message: Message, except?: Connection): void {
  if (members.length > 0) sendToAll(members, except, message);
}
