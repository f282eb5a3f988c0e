/** What is said in a room: written down first, where there is a store, and then told. */
import { scheduleTurn } from '../../core/poll.ts';
import { log } from '../../log/log.ts';
import { maxPacketBlob } from '../../protocol/limits.ts';
import { checkUtf8, utf8Start } from '../../protocol/websocket/utf8.ts';
import { workUnits } from '../../protocol/workUnits.ts';
import { explainDisk } from '../../storage/disk.ts';
import { appendMessages } from '../../storage/room.ts';
import { syncStore } from '../../storage/sync.ts';
import { remember } from './history.ts';
import { type Chat, type Room, type Speaker, serverNick, tell, tellRoom, type User } from './room.ts';

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
  utter(chat, room, { user, request }, text);
  return undefined;
}

/**
 * Says something in the room on behalf of the server; it is told, and written, when this returns.
 * @param text UTF-8, on loan
 * @returns why not; `undefined` where it is said
 */
export function announce(chat: Chat, room: Room, text: Uint8Array): string | undefined {
  if (text.length > maxPacketBlob) return `a message is at most ${maxPacketBlob} bytes`;
  let why: string | undefined;
  const refused = (sentence: string) => {
    why = sentence;
  };
  utter(chat, room, { user: undefined, refused }, text);
  writeWaiting(chat);
  return why;
}

function utter(chat: Chat, room: Room, speaker: Speaker, text: Uint8Array): void {
  if (room.file === undefined) return heard(room, speaker.user, text, Date.now());
  // It will be queued for everyone when the turn ends, and is charged now to whoever said it. What is said one after the
  // other is queued together, unless different voices say it in turn.
  if (room.waiting.length === 0 || room.groups.size > 1) workUnits.spent += room.users.size;
  room.waiting.push({ speaker, time: Date.now(), text: Buffer.from(text) });
  if (room.waiting.length === 1) {
    chat.unwritten.add(room);
    scheduleTurn(chat.server);
  }
}

function heard(room: Room, user: User | undefined, text: Uint8Array, time: number): void {
  const line = Buffer.concat([Buffer.from(`${user?.nick.text ?? serverNick}: `), text]);
  if (user === undefined) tellRoom(room, voice => voice.logged(line, time));
  else tellRoom(room, voice => voice.said(user, text), user);
  remember(room.history, line, time);
}

/** A write to disk, and an fsync all the more, takes as long as so many messages. */
const writeCost = 128;

/**
 * Writes what waits, one write a room, and then tells it. What cannot be written is not told: its sender is, instead.
 * So whatever anyone has seen is in the history, even if the process is killed at that moment.
 */
export function writeWaiting(chat: Chat): void {
  if (chat.unwritten.size === 0 || chat.store === undefined) return;
  const { store } = chat;
  workUnits.spent += chat.unwritten.size * writeCost;
  const written = [...chat.unwritten].filter(room => tryTo([room], () => appendWaiting(room)));
  chat.unwritten.clear();
  if (!tryTo(written, () => syncStore(store))) return;
  for (const room of written) {
    const { waiting } = room;
    room.waiting = [];
    if (room.isUnwritable) log('info', 'history written again', { room: room.name.text });
    room.isUnwritable = false;
    for (const { speaker, text, time } of waiting) heard(room, speaker.user, text, time);
  }
}

function appendWaiting({ file, waiting }: Room): void {
  if (file === undefined) return;
  const messages = waiting.map(({ speaker: { user }, time, text }) => ({
    time: new Date(time).toISOString(),
    uid: user?.uid ?? 0,
    nick: user?.nick.text ?? serverNick,
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
export function reason(error: unknown): string {
  return explainDisk((error as Error).cause) ?? 'the disk would not';
}

function refuseWaiting(room: Room, why: string): void {
  const { waiting } = room;
  room.waiting = [];
  for (const { speaker } of waiting) {
    if (speaker.user === undefined) speaker.refused(why);
    else tell(speaker.user, speaker.user.voice.refused(speaker.request, why));
  }
}
