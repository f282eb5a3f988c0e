/**
 * Rooms and their users, and sending to them. Each user has an encoder, so that users of packets and of lines share a room.
 */

import { type Group, join, membersOf, newGroup, sendToAll, wholeMessage } from '../../core/fanout.ts';
import { scheduleTurn } from '../../core/poll.ts';
import { sendMessage } from '../../core/send.ts';
import type { Connection, Handler, MemoryUse, Server } from '../../records/records.ts';
import type { StoredMessage } from '../../storage/message.ts';
import type { RoomFile, Store } from '../../storage/records.ts';
import { type History, type HistoryBound, historyEntries, newHistory } from './history.ts';
import type { Name } from './names.ts';

/** Encodes what users are sent. The bytes are valid until the next call of any encoder. */
export interface ChatEncoder {
  /** Whether users get their own messages back, as a confirmation. */
  readonly echoesSender: boolean;
  /** The answer to a request. @param request the request's uid */
  ok(request: number): Uint8Array;
  error(request: number, why: string): Uint8Array;
  joined(user: User): Uint8Array;
  left(user: User): Uint8Array;
  message(user: User, text: Uint8Array): Uint8Array;
  /**
   * A message of the history, or of the server.
   * @param line `nick: text`
   * @param time milliseconds since the epoch; 0 for a message that is in no history
   */
  history(line: Buffer, time: number): Uint8Array;
}

export interface User {
  readonly uid: number;
  readonly nick: Name;
  readonly connection: Connection;
  readonly encoder: ChatEncoder;
  room: Room | undefined;
}

/** The author of a post: a user, with the uid of the request, or the server, for an operator's command. */
export type Author =
  | { readonly user: User; readonly request: number }
  | { readonly user: undefined; onRejected(why: string): void };

/** The nick of the server. Users cannot have it. */
export const serverNick = 'server';

/** A post that will be written to disk and then delivered. */
interface QueuedPost {
  readonly author: Author;
  /** Milliseconds since the epoch. */
  readonly time: number;
  readonly text: Buffer;
}

export interface Room {
  readonly name: Name;
  /** In the order of arrival. */
  readonly users: Set<User>;
  /** The users' connections by encoder: a fan-out encodes once for each group. */
  readonly groups: Map<ChatEncoder, Group>;
  /** Users who have entered since the last notice. They are in no group yet. */
  readonly arrivals: Set<User>;
  /** Users who have left since the last notice. */
  departures: User[];
  readonly history: History;
  file: RoomFile | undefined;
  queuedPosts: QueuedPost[];
  /** The last write failed. */
  isUnwritable: boolean;
}

/** The loading of a room's history, in steps. */
export interface HistoryLoad {
  readonly room: Room;
  readonly steps: Generator<void, readonly StoredMessage[]>;
  state: 'loading' | 'done' | 'failed';
  /** Why it failed, a sentence for the users who wait. */
  failure: string;
  /** `performance.now()` of the latest request for the room. */
  requestedAt: number;
  readonly onSettled: (() => void)[];
}

export interface Chat {
  readonly server: Server;
  /** By name key, as the other maps. */
  readonly users: Map<string, User>;
  readonly rooms: Map<string, Room>;
  /** Empty rooms with a history in memory, the longest empty first. */
  readonly emptyRooms: Map<string, Room>;
  /** Rooms whose history is being loaded. */
  readonly loading: Map<string, HistoryLoad>;
  historyBound: HistoryBound;
  readonly store: Store | undefined;
  nextUid: number;
  /** The handler whose `turnEnds` does what the chat has queued. */
  handler: Handler | undefined;
  /** Rooms with queued posts. */
  readonly roomsToWrite: Set<Room>;
  /** Rooms with roster changes that are not sent yet. */
  readonly roomsToNotify: Set<Room>;
  /** The server's memory totals, which include the histories. */
  readonly memory: MemoryUse;
}

/** Has the turn's end, or that of the next turn, do what the chat has queued. */
export function scheduleTurnEnd({ server, handler }: Chat): void {
  if (handler !== undefined) handler.isIdle = false;
  scheduleTurn(server);
}

export function newRoom(chat: Chat, name: Name): Room {
  return {
    name,
    users: new Set(),
    groups: new Map(),
    arrivals: new Set(),
    departures: [],
    history: newHistory(chat.historyBound, chat.memory),
    file: undefined,
    queuedPosts: [],
    isUnwritable: false,
  };
}

/** Sends encoded bytes to one user, or to a connection that has none yet. */
export function sendToUser(user: { connection: Connection }, bytes: Uint8Array): void {
  sendMessage(user.connection, false, bytes, 0, bytes.length);
}

/** Fan-out to a room: encodes once for each encoder. @param author gets no copy if its encoder does not echo */
export function sendToRoom(room: Room, encode: (encoder: ChatEncoder) => Uint8Array, author?: User): void {
  sendRosterChanges(room);
  for (const [encoder, group] of room.groups) {
    const members = membersOf(group);
    if (members.length === 0) continue;
    const bytes = encode(encoder);
    const except = encoder === author?.encoder && !encoder.echoesSender ? author.connection : undefined;
    sendToAll(members, except, wholeMessage(false, bytes));
  }
}

/**
 * Sends arrivals and departures since the last notice: at the end of the turn, or before anything else is sent to the room. If
 * 500 users enter a room of 1,500 in the same turn, that costs 2,000 deliveries instead of a million.
 */
export function sendRosterChanges(room: Room): void {
  const { arrivals, departures, groups, users, history } = room;
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
    for (const { line, time } of historyEntries(history))
      sendToMembers(newcomers, encoder.history(line, time));
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

function sendToMembers(members: readonly Connection[], bytes: Uint8Array): void {
  if (members.length > 0) sendToAll(members, undefined, wholeMessage(false, bytes));
}
