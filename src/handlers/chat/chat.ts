/** The chat of one server: its users and rooms, and how users enter and leave them. */

import { mayOpen } from '../../core/descriptors.ts';
import { leave } from '../../core/fanout.ts';
import { isLogged, log } from '../../log/log.ts';
import { maxEmptyRooms } from '../../protocol/limits.ts';
import { workUnits } from '../../protocol/workUnits.ts';
import type { Connection, Server } from '../../records/records.ts';
import type { Store } from '../../storage/records.ts';
import { closeRoom } from '../../storage/room.ts';
import { closeStore, openStore } from '../../storage/store.ts';
import {
  clearHistory,
  forgetOlderHalf,
  type History,
  type HistoryBound,
  historyMemory,
  isHistoryEmpty,
  setHistoryBound,
} from './history.ts';
import { loadRoom, openRoomFile } from './loadHistory.ts';
import type { Name } from './names.ts';
import { commitPosts } from './post.ts';
import {
  type Chat,
  type ChatEncoder,
  newRoom,
  type Room,
  scheduleTurnEnd,
  sendRosterChanges,
  serverNick,
  type User,
} from './room.ts';

/** The first uid; uids count up and are never reused. */
const firstUid = 0x1000;

export function newChat(server: Server, historyBound: HistoryBound, store: Store | undefined): Chat {
  return {
    server,
    handler: undefined,
    users: new Map(),
    rooms: new Map(),
    emptyRooms: new Map(),
    loading: new Map(),
    historyBound,
    store,
    nextUid: firstUid,
    roomsToWrite: new Set(),
    roomsToNotify: new Set(),
    memory: server.memory,
  };
}

/** Opens the configured chat, with the histories in `--data` if it is set. @throws Error, a sentence */
export function openChat(server: Server): Chat {
  const { configuration, reloadables, memory } = server;
  const { data: directory, fsync, historyRotate: rotateAt, historyKeep: keep, history } = configuration;
  const allowance = { count: server.descriptors, mayOpen: () => mayOpen(server, 'files', 1) };
  const store = directory === '' ? undefined : openStore({ directory, fsync, rotateAt, keep, allowance });
  const chat = newChat(server, history, store);
  memory.trimHistories = most => trimHistories(chat, most);
  reloadables.push({
    async prepare(next) {
      return () => {
        setHistoryBounds(chat, next.history);
        return [];
      };
    },
  });
  return chat;
}

/** Writes everything to disk. @throws Error, a sentence, if that fails */
export function closeChat({ store }: Chat): void {
  if (store !== undefined) closeStore(store);
}

/** Applies a new `--history` to all rooms. */
function setHistoryBounds(chat: Chat, bound: HistoryBound): void {
  chat.historyBound = bound;
  for (const history of allHistories(chat)) setHistoryBound(history, bound);
}

function allHistories({ rooms, emptyRooms, loading }: Chat): History[] {
  const read = [...loading.values()].map(({ room }) => room);
  return [...rooms.values(), ...emptyRooms.values(), ...read].map(({ history }) => history);
}

/**
 * Frees memory: the rooms with the largest histories drop their older half, until all histories together have at most `most`
 * bytes. With `--data` the files still have everything.
 */
function trimHistories(chat: Chat, most: number): void {
  const histories = allHistories(chat);
  histories.sort((one, other) => historyMemory(other) - historyMemory(one));
  let trimmed = 0;
  for (; chat.memory.histories > most && trimmed < histories.length; trimmed++) {
    forgetOlderHalf(histories[trimmed]!);
  }
  log('warn', 'histories shortened to free memory', { rooms: trimmed, bytes: chat.memory.histories });
}

/** @returns a sentence if the nick is not available */
export function addUser(chat: Chat, connection: Connection, encoder: ChatEncoder, nick: Name): User | string {
  if (nick.key === serverNick) return `the nick ${nick.text} is reserved for the server`;
  if (chat.users.has(nick.key)) return `the nick ${nick.text} is taken`;
  const user: User = { uid: chat.nextUid++, nick, connection, encoder, room: undefined };
  chat.users.set(nick.key, user);
  return user;
}

/** The chat user of this connection, if it has one. */
export function userOf(chat: Chat, connection: Connection): User | undefined {
  const user = connection.data as Partial<User> | undefined;
  const found = user?.nick === undefined ? undefined : chat.users.get(user.nick.key);
  return found === user ? found : undefined;
}

/** Removes the user of a closed connection, if it has one, from the chat and its room. */
export function leaveChat(chat: Chat, connection: Connection): void {
  const user = userOf(chat, connection);
  connection.data = undefined;
  if (user === undefined) return;
  leaveRoom(chat, user);
  chat.users.delete(user.nick.key);
}

/**
 * Finds the room, creates it, or loads its history from disk. A short history loads at once.
 * @returns a sentence if the history cannot be read; `undefined` while it is loading: call again in a later turn
 */
export function findOrLoadRoom(chat: Chat, name: Name): Room | string | undefined {
  const found = chat.rooms.get(name.key) ?? chat.emptyRooms.get(name.key);
  if (found !== undefined) return found;
  return chat.store === undefined ? newRoom(chat, name) : loadRoom(chat, chat.store, name);
}

/**
 * Calls `look` with a room, which may be empty.
 * @returns what `look` returns; or what `findOrLoadRoom` returns instead of a room
 */
export function withRoom<Result>(
  chat: Chat,
  name: Name,
  look: (room: Room) => Result,
): Result | string | undefined {
  const room = findOrLoadRoom(chat, name);
  return typeof room === 'object' ? useRoom(chat, room, look) : room;
}

/** The same without loading the history: enough to post in the room, and never has to wait. */
export function withRoomForPost<Result>(
  chat: Chat,
  name: Name,
  act: (room: Room) => Result,
): Result | string {
  const found = chat.rooms.get(name.key) ?? chat.emptyRooms.get(name.key);
  const room =
    found ?? (chat.store === undefined ? newRoom(chat, name) : openRoomFile(chat, chat.store, name));
  return typeof room === 'object' ? useRoom(chat, room, act) : room;
}

function useRoom<Result>(chat: Chat, room: Room, act: (room: Room) => Result): Result {
  try {
    return act(room);
  } finally {
    if (room.users.size === 0 && chat.loading.get(room.name.key)?.room !== room) retireRoom(chat, room);
  }
}

/** Adds the user to the room. The notices to the user and the others are sent at the end of the turn. */
export function enterRoom(chat: Chat, user: User, room: Room): void {
  // Earlier posts must reach the newcomer as history.
  commitPosts(chat);
  chat.emptyRooms.delete(room.name.key);
  chat.rooms.set(room.name.key, room);
  room.users.add(user);
  user.room = room;
  scheduleRosterNotice(chat, room);
  room.arrivals.add(user);
  // The newcomer is sent the roster, about 32 bytes per user, and the history.
  workUnits.spent += 1 + (room.users.size >>> 3) + (room.history.bytes >>> 8);
  logUser('entered', user, room);
}

/** Charges the notice to everyone in the room to the first change of a turn; later changes share the notice. */
function scheduleRosterNotice(chat: Chat, room: Room): void {
  if (room.arrivals.size > 0 || room.departures.length > 0) return;
  workUnits.spent += room.users.size;
  chat.roomsToNotify.add(room);
  scheduleTurnEnd(chat);
}

/** The stage at the end of the turn: sends all roster changes. */
export function flushRosterChanges(chat: Chat): void {
  for (const room of chat.roomsToNotify) sendRosterChanges(room);
  chat.roomsToNotify.clear();
}

/** Sends the notice of the user's arrival, if it is due, before anything else the user does. */
export function flushArrival(user: User): void {
  const { room } = user;
  if (room !== undefined && room.arrivals.size > 0 && room.arrivals.has(user)) sendRosterChanges(room);
}

function logUser(event: 'entered' | 'left', { connection, nick }: User, room: Room): void {
  if (isLogged('debug')) log('debug', event, { id: connection.id, nick: nick.text, room: room.name.text });
}

export function leaveRoom(chat: Chat, user: User): void {
  const { room } = user;
  if (room === undefined) return;
  // Deliver pending messages before the leave notice.
  commitPosts(chat);
  flushArrival(user);
  user.room = undefined;
  room.users.delete(user);
  const group = room.groups.get(user.encoder);
  if (group !== undefined) {
    leave(group, user.connection);
    if (group.members.size === 0) room.groups.delete(user.encoder);
  }
  scheduleRosterNotice(chat, room);
  room.departures.push(user);
  logUser('left', user, room);
  if (room.users.size === 0) retireRoom(chat, room);
}

/** The last user has left: drops a history that is on disk, and keeps only the latest of the others. */
function retireRoom(chat: Chat, room: Room): void {
  room.departures = [];
  chat.rooms.delete(room.name.key);
  if (room.file !== undefined) {
    closeRoom(room.file);
    clearHistory(room.history);
    return;
  }
  if (isHistoryEmpty(room.history)) return;
  const { emptyRooms } = chat;
  emptyRooms.set(room.name.key, room);
  const [oldest] = emptyRooms.keys();
  if (emptyRooms.size <= maxEmptyRooms || oldest === undefined) return;
  clearHistory(emptyRooms.get(oldest)!.history);
  emptyRooms.delete(oldest);
}
