/** The chat: who is there, and where. */
import type { Connection } from '../../core/connection.ts';
import { mayOpen } from '../../core/descriptors.ts';
import { leave } from '../../core/group.ts';
import { scheduleTurn } from '../../core/poll.ts';
import type { Server } from '../../core/server.ts';
import { isLogged, log } from '../../log/log.ts';
import { maxEmptyRooms } from '../../protocol/limits.ts';
import { workUnits } from '../../protocol/workUnits.ts';
import { closeRoom } from '../../storage/room.ts';
import { closeStore, openStore, type Store } from '../../storage/store.ts';
import {
  forgetOldest,
  type History,
  type HistoryBound,
  historyMemory,
  isEmptyHistory,
  setBound,
} from './history.ts';
import { claimRoom, readRoom } from './loadHistory.ts';
import type { Name } from './names.ts';
import { writeWaiting } from './post.ts';
import { type Chat, newRoom, type Room, serverNick, tellChanges, type User, type Voice } from './room.ts';

/** Uids begin here and are never used again. */
const firstUid = 0x1000;

export function newChat(server: Server, historyBound: HistoryBound, store: Store | undefined): Chat {
  return {
    server,
    users: new Map(),
    rooms: new Map(),
    emptyRooms: new Map(),
    beingRead: new Map(),
    historyBound,
    store,
    nextUid: firstUid,
    unwritten: new Set(),
    changed: new Set(),
    memory: server.memory,
  };
}

/** The chat as it is configured, with its rooms' histories, if it has any on disk. @throws Error, a sentence */
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
        boundHistories(chat, next.history);
        return [];
      };
    },
  });
  return chat;
}

/** All that was said is on the disk when this returns. @throws Error, a sentence, where that is not possible */
export function closeChat({ store }: Chat): void {
  if (store !== undefined) closeStore(store);
}

/** From now on, rooms remember so much. */
function boundHistories(chat: Chat, bound: HistoryBound): void {
  chat.historyBound = bound;
  for (const history of allHistories(chat)) setBound(history, bound);
}

function allHistories({ rooms, emptyRooms, beingRead }: Chat): History[] {
  const read = [...beingRead.values()].map(({ room }) => room);
  return [...rooms.values(), ...emptyRooms.values(), ...read].map(({ history }) => history);
}

/**
 * Memory is short: the rooms that remember most forget their older half, until all rooms together remember at most `most`
 * bytes. With `--data` the files still have everything.
 */
function trimHistories(chat: Chat, most: number): void {
  const histories = allHistories(chat);
  histories.sort((one, other) => historyMemory(other) - historyMemory(one));
  let trimmed = 0;
  for (; chat.memory.histories > most && trimmed < histories.length; trimmed++) {
    forgetOldest(histories[trimmed]!);
  }
  log('warn', 'histories shortened to free memory', { rooms: trimmed, bytes: chat.memory.histories });
}

/** @returns a sentence where the nick cannot be had */
export function addUser(chat: Chat, connection: Connection, voice: Voice, nick: Name): User | string {
  if (nick.key === serverNick) return `the nick ${nick.text} is for the server alone`;
  if (chat.users.has(nick.key)) return `the nick ${nick.text} is taken`;
  const user: User = { uid: chat.nextUid++, nick, connection, voice, room: undefined };
  chat.users.set(nick.key, user);
  return user;
}

/** The user that speaks on this connection, if one does. */
export function userOf(chat: Chat, connection: Connection): User | undefined {
  const user = connection.data as Partial<User> | undefined;
  const found = user?.nick === undefined ? undefined : chat.users.get(user.nick.key);
  return found === user ? found : undefined;
}

/** The connection is closed: its user, if it has one yet, leaves the chat and its room. */
export function leaveChat(chat: Chat, connection: Connection): void {
  const user = userOf(chat, connection);
  connection.data = undefined;
  if (user === undefined) return;
  leaveRoom(chat, user);
  chat.users.delete(user.nick.key);
}

/**
 * Finds the room, or makes it. The past of a room that nobody is in is on disk; small ones are read at once.
 * @returns a sentence if its history cannot be had; undefined while it is being read: ask again in a later turn
 */
export function findRoom(chat: Chat, name: Name): Room | string | undefined {
  const found = chat.rooms.get(name.key) ?? chat.emptyRooms.get(name.key);
  if (found !== undefined) return found;
  return chat.store === undefined ? newRoom(chat, name) : readRoom(chat, chat.store, name);
}

/**
 * Looks at a room, whether or not someone is there.
 * @returns what `look` returns; or what `findRoom` says instead of a room
 */
export function visitRoom<Result>(
  chat: Chat,
  name: Name,
  look: (room: Room) => Result,
): Result | string | undefined {
  const room = findRoom(chat, name);
  return typeof room === 'object' ? withRoom(chat, room, look) : room;
}

/** The same without the room's past, to publish there: this never waits for the disk. */
export function reachRoom<Result>(chat: Chat, name: Name, act: (room: Room) => Result): Result | string {
  const found = chat.rooms.get(name.key) ?? chat.emptyRooms.get(name.key);
  const room = found ?? (chat.store === undefined ? newRoom(chat, name) : claimRoom(chat, chat.store, name));
  return typeof room === 'object' ? withRoom(chat, room, act) : room;
}

function withRoom<Result>(chat: Chat, room: Room, act: (room: Room) => Result): Result {
  try {
    return act(room);
  } finally {
    if (room.users.size === 0 && chat.beingRead.get(room.name.key)?.room !== room) emptied(chat, room);
  }
}

/** Puts the user into the room. The notice, to it and to the others, is sent at the end of the turn, one for all changes. */
export function enterRoom(chat: Chat, user: User, room: Room): void {
  // What was said before someone came, is history to them.
  writeWaiting(chat);
  chat.emptyRooms.delete(room.name.key);
  chat.rooms.set(room.name.key, room);
  room.users.add(user);
  user.room = room;
  noteChange(chat, room);
  room.arriving.add(user);
  // The roster, at some 32 bytes for each user, and the history are sent to it.
  workUnits.spent += 1 + (room.users.size >>> 3) + (room.history.bytes >>> 8);
  logUser('entered', user, room);
}

/** The first change in a turn is charged for the notice to everyone in the room; later changes share that notice. */
function noteChange(chat: Chat, room: Room): void {
  if (room.arriving.size > 0 || room.departed.length > 0) return;
  workUnits.spent += room.users.size;
  chat.changed.add(room);
  scheduleTurn(chat.server);
}

/** The turn ends: tells of all who entered and left. */
export function settleChanges(chat: Chat): void {
  for (const room of chat.changed) tellChanges(room);
  chat.changed.clear();
}

/** The user does something else in its room: the notice of its arrival is sent first. */
export function settleArrival(user: User): void {
  const { room } = user;
  if (room !== undefined && room.arriving.size > 0 && room.arriving.has(user)) tellChanges(room);
}

function logUser(event: 'entered' | 'left', { connection, nick }: User, room: Room): void {
  if (isLogged('debug')) log('debug', event, { id: connection.id, nick: nick.text, room: room.name.text });
}

export function leaveRoom(chat: Chat, user: User): void {
  const { room } = user;
  if (room === undefined) return;
  // What someone said is heard before they leave.
  writeWaiting(chat);
  settleArrival(user);
  user.room = undefined;
  room.users.delete(user);
  const group = room.groups.get(user.voice);
  if (group !== undefined) {
    leave(group, user.connection);
    if (group.members.size === 0) room.groups.delete(user.voice);
  }
  noteChange(chat, room);
  room.departed.push(user);
  logUser('left', user, room);
  if (room.users.size === 0) emptied(chat, room);
}

/** The last user has left. A history on disk is dropped from memory; of the others, only the latest are kept. */
function emptied(chat: Chat, room: Room): void {
  room.departed = [];
  chat.rooms.delete(room.name.key);
  if (room.file !== undefined) {
    closeRoom(room.file);
    forgetOldest(room.history, true);
    return;
  }
  if (isEmptyHistory(room.history)) return;
  const { emptyRooms } = chat;
  emptyRooms.set(room.name.key, room);
  const [oldest] = emptyRooms.keys();
  if (emptyRooms.size <= maxEmptyRooms || oldest === undefined) return;
  forgetOldest(emptyRooms.get(oldest)!.history, true);
  emptyRooms.delete(oldest);
}
