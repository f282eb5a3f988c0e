/**
 * Rooms and the people in them. Who speaks how is not known here: each user has a voice, which says things in packets or
 * in lines.
 */
import type { Connection } from '../connection/connection.ts';
import type { MemoryUse } from '../connection/memory.ts';
import { sendMessage, sendToAll } from '../connection/send.ts';
import type { StoredMessage } from '../storage/message.ts';
import type { RoomFile } from '../storage/room.ts';
import type { Store } from '../storage/store.ts';
import { type Group, membersOf } from './group.ts';
import { type History, type HistoryBound, newHistory } from './history.ts';
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

/** Who says something: a user, whose request it is; or the server, on behalf of whoever runs it. */
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
  /** By the key of their names. */
  readonly users: Map<string, User>;
  readonly rooms: Map<string, Room>;
  /** Rooms that nobody is in, but that remember something; the one that was left last at the end. */
  readonly emptyRooms: Map<string, Room>;
  /** Rooms that someone wants to enter or to look at, whose past is being read. */
  readonly beingRead: Map<string, Reading>;
  historyBound: HistoryBound;
  readonly store: Store | undefined;
  nextUid: number;
  /** Rooms in which something waits to be written. */
  readonly unwritten: Set<Room>;
  /** Counts what rooms remember. */
  readonly memory: MemoryUse;
}

/** A room that nobody is in. */
export function newRoom(chat: Chat, name: Name): Room {
  return {
    name,
    users: new Set(),
    groups: new Map(),
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
  for (const [voice, group] of room.groups) {
    const members = membersOf(group);
    if (members.length === 0) continue;
    const bytes = say(voice);
    const except = voice === speaker?.voice && !voice.hearsItself ? speaker.connection : undefined;
    sendToAll(members, except, false, bytes, 0, bytes.length);
  }
}
