/** Posts in rooms: with `--data`, a post is written to disk before it is delivered. */

import { log } from '../../log/log.ts';
import { maxPacketBlob } from '../../protocol/limits.ts';
import { checkUtf8, utf8Start } from '../../protocol/websocket/utf8.ts';
import { workUnits } from '../../protocol/workUnits.ts';
import { diskErrorReason } from '../../storage/disk.ts';
import { appendMessages } from '../../storage/room.ts';
import { syncStore } from '../../storage/sync.ts';
import { appendToHistory } from './history.ts';
import {
  type Author,
  type Chat,
  type Room,
  scheduleTurnEnd,
  sendToRoom,
  sendToUser,
  serverNick,
  type User,
} from './room.ts';

/**
 * Posts a message in the user's room. With a store, it is delivered once it is written, before this turn's flush.
 * @param request the request's uid, for an error
 * @param text valid during the call
 * @returns a sentence if it is refused
 */
export function postMessage(chat: Chat, user: User, request: number, text: Uint8Array): string | undefined {
  const { room } = user;
  if (room === undefined) return 'enter a room first';
  if (text.length > maxPacketBlob) return `a message must have at most ${maxPacketBlob} bytes`;
  if (checkUtf8(utf8Start, text, 0, text.length) !== utf8Start) return 'a message must be valid UTF-8';
  enqueuePost(chat, room, { user, request }, text);
  return undefined;
}

/**
 * Posts a message of the server's, which is written and delivered when this returns.
 * @param text valid UTF-8, valid during the call
 * @returns a sentence if it is refused
 */
export function postAsServer(chat: Chat, room: Room, text: Uint8Array): string | undefined {
  if (text.length > maxPacketBlob) return `a message must have at most ${maxPacketBlob} bytes`;
  let why: string | undefined;
  const onRejected = (sentence: string) => {
    why = sentence;
  };
  enqueuePost(chat, room, { user: undefined, onRejected }, text);
  commitPosts(chat);
  return why;
}

function enqueuePost(chat: Chat, room: Room, author: Author, text: Uint8Array): void {
  if (room.file === undefined) return deliverPost(room, author.user, text, Date.now());
  // Charge the author now for the fan-out at the end of the turn. Consecutive posts share one, unless the room has several
  // encoders.
  if (room.queuedPosts.length === 0 || room.groups.size > 1) workUnits.spent += room.users.size;
  room.queuedPosts.push({ author, time: Date.now(), text: Buffer.from(text) });
  if (room.queuedPosts.length === 1) {
    chat.roomsToWrite.add(room);
    scheduleTurnEnd(chat);
  }
}

function deliverPost(room: Room, user: User | undefined, text: Uint8Array, time: number): void {
  const line = Buffer.concat([Buffer.from(`${user?.nick.text ?? serverNick}: `), text]);
  if (user === undefined) sendToRoom(room, encoder => encoder.history(line, time));
  else sendToRoom(room, encoder => encoder.message(user, text), user);
  appendToHistory(room.history, line, time);
}

/** The work of a disk write, in messages. */
const writeCost = 128;

/**
 * Writes the queued posts, one write per room, and then delivers them. A post that cannot be written is rejected instead, so
 * that everything anyone has seen is in the history, even if the process is killed at that moment.
 */
export function commitPosts(chat: Chat): void {
  if (chat.roomsToWrite.size === 0 || chat.store === undefined) return;
  const { store } = chat;
  workUnits.spent += chat.roomsToWrite.size * writeCost;
  const written = [...chat.roomsToWrite].filter(room => attemptWrite([room], () => appendPosts(room)));
  chat.roomsToWrite.clear();
  if (!attemptWrite(written, () => syncStore(store))) return;
  for (const room of written) {
    const { queuedPosts } = room;
    room.queuedPosts = [];
    if (room.isUnwritable) log('info', 'history written again', { room: room.name.text });
    room.isUnwritable = false;
    for (const { author, text, time } of queuedPosts) deliverPost(room, author.user, text, time);
  }
}

function appendPosts({ file, queuedPosts }: Room): void {
  if (file === undefined) return;
  const messages = queuedPosts.map(({ author: { user }, time, text }) => ({
    time: new Date(time).toISOString(),
    uid: user?.uid ?? 0,
    nick: user?.nick.text ?? serverNick,
    text: text.toString('utf8'),
  }));
  appendMessages(file, messages);
}

/** @returns false if the write failed; then the authors have been told why */
function attemptWrite(rooms: readonly Room[], write: () => void): boolean {
  try {
    write();
    return true;
  } catch (error) {
    for (const room of rooms) {
      // Log the failure once, not for every post until writing works again.
      if (!room.isUnwritable)
        log('error', 'history not written', { room: room.name.text, error: (error as Error).message });
      room.isUnwritable = true;
    }
    for (const room of rooms)
      rejectPosts(room, `not posted, because it could not be stored: ${diskErrorReason(error)}`);
    return false;
  }
}

function rejectPosts(room: Room, why: string): void {
  const { queuedPosts } = room;
  room.queuedPosts = [];
  for (const { author } of queuedPosts) {
    if (author.user === undefined) author.onRejected(why);
    else sendToUser(author.user, author.user.encoder.error(author.request, why));
  }
}
