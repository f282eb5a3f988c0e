/**
 * Rooms and the people in them. Who speaks how is not known here: each user has a voice, which says things in packets or
 * in lines.
 */
import type { Connection } from '../../core/connection.ts';
import { type Group, join, membersOf, newGroup } from '../../core/group.ts';
import type { MemoryUse } from '../../core/memory.ts';
import { sendMessage, sendToAll } from '../../core/send.ts';
import type { Server } from '../../core/server.ts';
import type { StoredMessage } from '../../storage/message.ts';
import type { RoomFile } from '../../storage/room.ts';
import type { Store } from '../../storage/store.ts';
import { type History, type HistoryBound, newHistory, remembered } from './history.ts';
import type { Name } from './names.ts';

/** How a user is told things. The bytes are good until the next call of any voice. */
export interface Voice {
  /** Whether users hear what they say themselves, as a confirmation. */
  readonly hearsItself: boolean;
  /** A request was granted, or refused and why. `request` is what the request was known by. */
  granted(request: number): Uint8Array;
  refused(request: number, why: string): Uint8Array;
  came(user: User): Uint8Array;
  left(user: User): Uint8Array;
  said(user: User, text: Uint8Array): Uint8Array;
  /**
   * A message of the room's past, or of the server's.
   * @param line `nick: text`
   * @param time when it was said, in milliseconds since the epoch; 0 for a message that no history keeps
   */
  logged(line: Buffer, time: number): Uint8Array;
}

export interface User {
  readonly uid: number;
  readonly nick: Name;
  readonly connection: Connection;
  readonly voice: Voice;
  room: Room | undefined;
}

/** Who says something: a user, with the number of its request; or the server, for an operator's command. */
export type Speaker =
  | { readonly user: User; readonly request: number }
  | { readonly user: undefined; refused(why: string): void };

/** What the server is called when it says something. Nobody else can be. */
export const serverNick = 'server';

/** A message on its way: to be written to disk first, then to be told. */
interface Waiting {
  readonly speaker: Speaker;
  /** Milliseconds since the epoch. */
  readonly time: number;
  readonly text: Buffer;
}

export interface Room {
  readonly name: Name;
  /** In the order they came. */
  readonly users: Set<User>;
  /** The same people's connections, by voice: those with the same one are sent the same bytes. */
  readonly groups: Map<Voice, Group>;
  /** Users that entered and have not been told of the others, nor the others of them. They are in no group yet. */
  readonly arriving: Set<User>;
  /** Users that left since the last notice to the others. */
  departed: User[];
  readonly history: History;
  file: RoomFile | undefined;
  waiting: Waiting[];
  /** The disk would not have the last that was said. */
  isUnwritable: boolean;
}

/** The reading of a room's past, in slices. */
export interface Reading {
  readonly room: Room;
  readonly slices: Generator<void, readonly StoredMessage[]>;
  state: 'reading' | 'done' | 'failed';
  /** Why it failed, for those who wait. */
  failure: string;
  /** When someone last asked for it, as `performance.now()` counts. */
  wantedAt: number;
  /** Called at its end. */
  readonly whenOver: (() => void)[];
}

export interface Chat {
  readonly server: Server;
  /** By the key of their names. */
  readonly users: Map<string, User>;
  readonly rooms: Map<string, Room>;
  /** Empty rooms with a history, in the order they were left. */
  readonly emptyRooms: Map<string, Room>;
  /** Rooms that someone wants to enter or to look at, whose past is being read. */
  readonly beingRead: Map<string, Reading>;
  historyBound: HistoryBound;
  readonly store: Store | undefined;
  nextUid: number;
  /** Rooms in which something waits to be written. */
  readonly unwritten: Set<Room>;
  /** Rooms that someone entered or left, and in which that has not been told. */
  readonly changed: Set<Room>;
  /** Counts what rooms remember. */
  readonly memory: MemoryUse;
}

/** An empty room. */
export function newRoom(chat: Chat, name: Name): Room {
  return {
    name,
    users: new Set(),
    groups: new Map(),
    arriving: new Set(),
    departed: [],
    history: newHistory(chat.historyBound, chat.memory),
    file: undefined,
    waiting: [],
    isUnwritable: false,
  };
}

/** Tells one user something that its voice says. */
export function tell(user: { connection: Connection }, bytes: Uint8Array): void {
  sendMessage(user.connection, false, bytes, 0, bytes.length);
}

/** Tells everyone in the room: each voice says it once, however many have it. */
export function tellRoom(room: Room, say: (voice: Voice) => Uint8Array, speaker?: User): void {
  tellChanges(room);
  for (const [voice, group] of room.groups) {
    const members = membersOf(group);
    if (members.length === 0) continue;
    const bytes = say(voice);
    const except = voice === speaker?.voice && !voice.hearsItself ? speaker.connection : undefined;
    sendToAll(members, except, false, bytes, 0, bytes.length);
  }
}

/**
 * Tells of those who entered and left since the last time: when the turn ends, or before anything else is said in the room.
 * So 500 users that enter a room of 1,500 in the same turn cost 2,000 deliveries, not a million.
 */
export function tellChanges(room: Room): void {
  const { arriving, departed, groups, users, history } = room;
  if (arriving.size === 0 && departed.length === 0) return;
  room.departed = [];
  for (const [voice, group] of groups) {
    const members = membersOf(group);
    // One after the other, so that each member's queue gets all of them as one range.
    for (const user of departed) tellAll(members, voice.left(user));
    for (const user of arriving) tellAll(members, voice.came(user));
  }
  // A newcomer gets the roster, itself and those that came with it included, and then the history.
  for (const [voice, newcomers] of connectionsByVoice(arriving)) {
    for (const user of users) tellAll(newcomers, voice.came(user));
    for (const { line, time } of remembered(history)) tellAll(newcomers, voice.logged(line, time));
  }
  for (const { voice, connection } of arriving) {
    const group = groups.get(voice) ?? newGroup();
    groups.set(voice, group);
    join(group, connection);
  }
  arriving.clear();
}

function connectionsByVoice(users: Iterable<User>): Map<Voice, Connection[]> {
  const byVoice = new Map<Voice, Connection[]>();
  for (const { voice, connection } of users) {
    const connections = byVoice.get(voice);
    if (connections === undefined) byVoice.set(voice, [connection]);
    else connections.push(connection);
  }
  return byVoice;
}

function tellAll(members: readonly Connection[], bytes: Uint8Array): void {
  if (members.length > 0) sendToAll(members, undefined, false, bytes, 0, bytes.length);
}
