/**
 * The chat: users, rooms, and what is said in them. Who speaks how is not known here: each user has a voice, which says
 * things in packets or in lines.
 */
import type { Connection } from '../connection/connection.ts';
import { requestTurn, tally } from '../connection/outbox.ts';
import { sendMessage, sendToAll } from '../connection/send.ts';
import { log } from '../log/log.ts';
import { maxEmptyRooms, maxPacketBlob } from '../protocol/bounds.ts';
import { checkUtf8, utf8Start } from '../protocol/utf8.ts';
import { explainDisk } from '../storage/disk.ts';
import { appendMessages, closeRoom, openRoom, type RoomFile } from '../storage/room.ts';
import type { Store } from '../storage/store.ts';
import { syncStore } from '../storage/sync.ts';
import { type Group, join, leave, membersOf, newGroup } from './group.ts';
import {
  type History,
  type HistoryBound,
  isEmptyHistory,
  newHistory,
  remember,
  remembered,
} from './history.ts';
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
  /** `line` is `nick: text`, from before. */
  logged(line: Buffer): Uint8Array;
}

export interface User {
  readonly uid: number;
  readonly nick: Name;
  readonly connection: Connection;
  readonly voice: Voice;
  room: Room | undefined;
}

/** A message on its way: to be written to disk first, then to be told. */
interface Waiting {
  readonly user: User;
  readonly request: number;
  readonly time: string;
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

export interface Chat {
  /** By the key of their names. */
  readonly users: Map<string, User>;
  /** Also those that are empty but remember something, the one that was left last at the end. */
  readonly rooms: Map<string, Room>;
  readonly historyBound: HistoryBound;
  readonly store: Store | undefined;
  nextUid: number;
  /** Rooms in which something waits to be written. */
  readonly unwritten: Set<Room>;
}

/** Uids begin here and are never used again. */
const firstUid = 0x1000;

export function newChat(historyBound: HistoryBound, store: Store | undefined): Chat {
  return { users: new Map(), rooms: new Map(), historyBound, store, nextUid: firstUid, unwritten: new Set() };
}

/** @returns `undefined` where the nick is taken */
export function addUser(chat: Chat, connection: Connection, voice: Voice, nick: Name): User | undefined {
  if (chat.users.has(nick.key)) return undefined;
  const user: User = { uid: chat.nextUid++, nick, connection, voice, room: undefined };
  chat.users.set(nick.key, user);
  return user;
}

/** The user is gone: others in the room are told. */
export function removeUser(chat: Chat, user: User): void {
  leaveRoom(chat, user);
  chat.users.delete(user.nick.key);
}

/** Tells one user something that its voice says. */
export function tell(user: { connection: Connection }, bytes: Uint8Array): void {
  sendMessage(user.connection, false, bytes, 0, bytes.length);
}

/** Finds the room, or makes it. @returns a sentence where its history cannot be had */
export function findRoom(chat: Chat, name: Name): Room | string {
  const found = chat.rooms.get(name.key);
  const room = found ?? {
    name,
    users: new Set(),
    groups: new Map(),
    history: newHistory(chat.historyBound),
    file: undefined,
    waiting: [],
    isUnwritable: false,
  };
  if (chat.store !== undefined && room.file === undefined) {
    try {
      recall(room, chat.store);
    } catch (error) {
      log('error', 'history unreadable', { room: name.text, error: (error as Error).message });
      return `the room's history cannot be read: ${reason(error)}`;
    }
  }
  chat.rooms.set(name.key, room);
  return room;
}

function recall(room: Room, store: Store): void {
  const { file, messages } = openRoom(store, room.name.key, room.history.bound);
  room.file = file;
  for (const { nick, text } of messages) {
    const line = Buffer.from(`${nick}: ${text}`);
    // A file may have been edited: no client has to take more than could have been said.
    if (line.length <= maxPacketBlob) remember(room.history, line);
  }
}

/** The newcomer gets the roster, itself included, and then the history; the others are told of it after that. */
export function enterRoom(chat: Chat, user: User, room: Room): void {
  // What was said before someone came, is history to them.
  writeWaiting(chat);
  const { voice } = user;
  // Someone may have left it, and it been forgotten, since it was found.
  chat.rooms.set(room.name.key, room);
  room.users.add(user);
  user.room = room;
  for (const other of room.users) tell(user, voice.came(other));
  for (const line of remembered(room.history)) tell(user, voice.logged(line));
  tellRoom(room, other => other.came(user));
  const group = room.groups.get(voice) ?? newGroup();
  room.groups.set(voice, group);
  join(group, user.connection);
}

export function leaveRoom(chat: Chat, user: User): void {
  const { room } = user;
  if (room === undefined) return;
  // What someone said is heard before they leave.
  writeWaiting(chat);
  user.room = undefined;
  room.users.delete(user);
  const group = room.groups.get(user.voice);
  if (group !== undefined) {
    leave(group, user.connection);
    if (group.members.size === 0) room.groups.delete(user.voice);
  }
  tellRoom(room, voice => voice.left(user));
  if (room.users.size === 0) emptied(chat, room);
}

/** Tells everyone in the room: each voice says it once, however many have it. */
function tellRoom(room: Room, say: (voice: Voice) => Uint8Array, speaker?: User): void {
  for (const [voice, group] of room.groups) {
    const members = membersOf(group);
    if (members.length === 0) continue;
    const bytes = say(voice);
    const except = voice === speaker?.voice && !voice.hearsItself ? speaker.connection : undefined;
    sendToAll(members, except, false, bytes, 0, bytes.length);
  }
}

/** Nobody is there any more. What is on disk need not be kept in memory, and of the rest not everything for ever. */
function emptied(chat: Chat, room: Room): void {
  chat.rooms.delete(room.name.key);
  if (room.file !== undefined) {
    closeRoom(room.file);
    return;
  }
  if (isEmptyHistory(room.history)) return;
  chat.rooms.set(room.name.key, room);
  let empty = 0;
  for (const { users } of chat.rooms.values()) if (users.size === 0) empty++;
  if (empty <= maxEmptyRooms) return;
  for (const [key, { users }] of chat.rooms) {
    if (users.size > 0) continue;
    chat.rooms.delete(key);
    return;
  }
}

/**
 * Says something in the user's room. With a store, it is told when it is written: before this turn's flush.
 * @param request what the user knows this by, for the case that it is refused
 * @param text on loan
 * @returns why not; `undefined` where it is said
 */
export function say(chat: Chat, user: User, request: number, text: Uint8Array): string | undefined {
  const { room } = user;
  if (room === undefined) return 'enter a room first';
  if (text.length > maxPacketBlob) return `a message is at most ${maxPacketBlob} bytes`;
  if (checkUtf8(utf8Start, text, 0, text.length) !== utf8Start) return 'a message is UTF-8';
  if (room.file === undefined) {
    heard(room, user, text);
    return undefined;
  }
  // It will be queued for everyone when the turn ends, and is charged now to whoever said it. What is said one after the
  // other is queued together, unless different voices say it in turn.
  if (room.waiting.length === 0 || room.groups.size > 1) tally.appended += room.users.size;
  room.waiting.push({ user, request, time: new Date().toISOString(), text: Buffer.from(text) });
  if (room.waiting.length === 1) {
    chat.unwritten.add(room);
    requestTurn();
  }
  return undefined;
}

function heard(room: Room, user: User, text: Uint8Array): void {
  tellRoom(room, voice => voice.said(user, text), user);
  remember(room.history, Buffer.concat([Buffer.from(`${user.nick.text}: `), text]));
}

/**
 * Writes what waits, one write a room, and then tells it. What cannot be written is not told: its sender is, instead.
 * So whatever anyone has seen is in the history, even if the process is killed at that moment.
 */
export function writeWaiting(chat: Chat): void {
  if (chat.unwritten.size === 0 || chat.store === undefined) return;
  const { store } = chat;
  const written = [...chat.unwritten].filter(room => tryTo([room], () => appendWaiting(room)));
  chat.unwritten.clear();
  if (!tryTo(written, () => syncStore(store))) return;
  for (const room of written) {
    const { waiting } = room;
    room.waiting = [];
    if (room.isUnwritable) log('info', 'history written again', { room: room.name.text });
    room.isUnwritable = false;
    for (const { user, text } of waiting) heard(room, user, text);
  }
}

function appendWaiting({ file, waiting }: Room): void {
  if (file === undefined) return;
  const messages = waiting.map(({ user, time, text }) => ({
    time,
    uid: user.uid,
    nick: user.nick.text,
    text: text.toString('utf8'),
  }));
  appendMessages(file, messages);
}

/** @returns false where the disk would not; then the senders know why */
function tryTo(rooms: readonly Room[], write: () => void): boolean {
  try {
    write();
    return true;
  } catch (error) {
    for (const room of rooms) {
      // Once, not for every message that is refused until there is room again.
      if (!room.isUnwritable)
        log('error', 'history not written', { room: room.name.text, error: (error as Error).message });
      room.isUnwritable = true;
    }
    for (const room of rooms)
      refuseWaiting(room, `not said, as it could not be written down: ${reason(error)}`);
    return false;
  }
}

/** For people who do not see the server's files: why the disk would not, without the path. */
function reason(error: unknown): string {
  return explainDisk((error as Error).cause) ?? 'the disk would not';
}

function refuseWaiting(room: Room, why: string): void {
  const { waiting } = room;
  room.waiting = [];
  for (const { user, request } of waiting) tell(user, user.voice.refused(request, why));
}
