/** The chat of one server: its users and rooms, and how users enter and leave them. A room is a channel with users. */

import { channelPath } from '../../access/rights.ts';
import { leave } from '../../core/fanout.ts';
import { isLogged, log } from '../../log/log.ts';
import { workUnits } from '../../protocol/workUnits.ts';
import type { Need } from '../../records/identity.ts';
import type { Connection, Server } from '../../records/records.ts';
import { authorizeClient, logRefusedCommand } from '../authorize.ts';
import { channelsFull, dropIfUnused } from '../channels/channel.ts';
import { channelNameFault } from '../channels/names.ts';
import { commitPublications } from '../channels/publish.ts';
import type { Channels } from '../channels/records.ts';
import { hasRooms, type Name, newRoomRule, readName } from './names.ts';
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

/** @param rooms the patterns of `--rooms` */
export function newChat(server: Server, channels: Channels, rooms: readonly string[]): Chat {
  return {
    server,
    channels,
    handler: undefined,
    users: new Map(),
    rooms: new Map(),
    isRoom: newRoomRule(rooms),
    nextUid: firstUid,
    roomsToNotify: new Set(),
  };
}

/** Opens the configured chat. */
export function openChat(server: Server, channels: Channels): Chat {
  const chat = newChat(server, channels, server.configuration.rooms);
  server.reloadables.push({
    async prepare(next) {
      const isRoom = newRoomRule(next.rooms);
      return () => {
        chat.isRoom = isRoom;
        return [];
      };
    },
  });
  return chat;
}

/** The right to open the chat; `--nick user` requires a user. @param path of the handler or page */
export function chatNeed({ server }: Chat, path: string): Need {
  return { right: 'connect', path, needsUser: server.configuration.nick === 'user' };
}

/** The right to be in a room. */
function roomNeed(key: string): Need {
  return { right: 'subscribe', path: channelPath(key), channel: key };
}

/** The right that the user of this connection uses now, if it is in a room. */
export function roomNeedsOf(chat: Chat, connection: Connection): readonly Need[] {
  const room = userOf(chat, connection)?.room;
  return room === undefined ? [] : [roomNeed(room.name.key)];
}

/** Decides whether the client may enter a room, and calls `decided` at once or later, with a sentence if it may not. */
export function authorizeRoom(
  { channels }: Chat,
  connection: Connection,
  { key, text }: Name,
  decided: (refusal: string | undefined) => void,
): void {
  authorizeClient(channels.entry, connection, [roomNeed(key)], refusal => {
    if (refusal !== undefined) logRefusedCommand(connection, refusal, text);
    decided(refusal?.message);
  });
}

/** How many connections of a user can be in the chat with `--nick user`. */
const maxNicksPerUser = 100;

/**
 * The nick that the client asks for or, with `--nick user`, the name of its user. Further connections of a user have a number.
 * @returns the nick; or a sentence that says why the client cannot have one
 */
export function chooseNick(
  { server, users }: Chat,
  { identity }: Connection,
  given: Uint8Array,
): Name | string {
  if (server.configuration.nick === 'any') return readName(given, 'nick');
  if (identity === undefined) return 'sign in to chat';
  for (let count = 1; count <= maxNicksPerUser; count++) {
    const text = count === 1 ? identity.user : `${identity.user} (${count})`;
    const name = readName(Buffer.from(text), 'nick');
    if (typeof name === 'string' || !users.has(name.key)) return name;
  }
  return 'you are in the chat too many times';
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

/** @returns why users cannot enter this room, a sentence for them; undefined if they can */
export function roomFault({ channels, server, isRoom }: Chat, { text, key }: Name): string | undefined {
  if (isRoom(key)) return channelNameFault(key) ?? channelsFull(channels, [key]);
  return hasRooms(server.configuration.rooms)
    ? `this server has no room ${text}`
    : 'this server has no chat rooms';
}

/**
 * Adds the user to the room, which `roomFault` allows. The notices to the user and the others are sent at the end of the turn.
 */
export function enterRoom(chat: Chat, user: User, name: Name): void {
  const { channels } = chat;
  // Earlier posts must reach the newcomer as history.
  commitPublications(channels);
  const room = chat.rooms.get(name.key) ?? newRoom(chat, name);
  room.users.add(user);
  user.room = room;
  scheduleRosterNotice(chat, room);
  room.arrivals.add(user);
  // The newcomer is sent the roster, about 32 bytes per user, and the history.
  const { count, bytes } = room.channel;
  workUnits.spent += 1 + (room.users.size >>> 3) + (count >>> 3) + (bytes >>> 8);
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
  commitPublications(chat.channels);
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

/** The last user has left. The channel stays while it has subscribers or messages. */
function retireRoom({ channels, rooms }: Chat, { name, channel, departures }: Room): void {
  departures.length = 0;
  rooms.delete(name.key);
  channel.room = undefined;
  dropIfUnused(channels, channel);
}
