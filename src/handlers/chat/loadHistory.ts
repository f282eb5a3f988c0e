/**
 * Reads the pasts of rooms that nobody is in from disk. A damaged or large file takes long, so it is read in slices, some in
 * each turn. Connections that want to enter meanwhile are throttled, and ask again in each turn.
 */
import { scheduleTurn } from '../../core/poll.ts';
import { log } from '../../log/log.ts';
import { historyCacheTime, historyReadBudget, maxNameBytes, maxPacketBlob } from '../../protocol/limits.ts';
import { workUnits } from '../../protocol/workUnits.ts';
import type { StoredMessage } from '../../storage/message.ts';
import { closeRoom, openRoom, recallRoom } from '../../storage/room.ts';
import type { Store } from '../../storage/store.ts';
import { forgetOldest, remember, remembered } from './history.ts';
import type { Name } from './names.ts';
import { reason } from './post.ts';
import { type Chat, newRoom, type Reading, type Room } from './room.ts';

/**
 * Begins or goes on to read a room's past.
 * @returns the room, once all is read; a sentence if that is not possible; undefined before
 */
export function readRoom(chat: Chat, store: Store, name: Name): Room | string | undefined {
  const reading = chat.beingRead.get(name.key) ?? startReading(chat, store, name);
  if (typeof reading === 'string') return reading;
  reading.wantedAt = performance.now();
  if (reading.state === 'reading') return undefined;
  chat.beingRead.delete(name.key);
  return reading.state === 'done' ? reading.room : reading.failure;
}

/** The room with its file open, and without its past unless that is being read. @returns a sentence if that is not possible */
export function claimRoom(chat: Chat, store: Store, name: Name): Room | string {
  const reading = chat.beingRead.get(name.key);
  if (reading !== undefined && reading.state !== 'failed') return reading.room;
  const room = newRoom(chat, name);
  try {
    room.file = openRoom(store, name.key);
  } catch (error) {
    return failed(room, error);
  }
  return room;
}

function startReading(chat: Chat, store: Store, name: Name): Reading | string {
  const room = claimRoom(chat, store, name);
  if (typeof room === 'string') return room;
  const slices = recallRoom(room.file!, room.history.bound);
  const reading: Reading = { room, slices, state: 'reading', failure: '', wantedAt: 0, whenOver: [] };
  readSlice(reading);
  if (reading.state === 'reading') scheduleTurn(chat.server);
  chat.beingRead.set(name.key, reading);
  return reading;
}

function readSlice(reading: Reading): void {
  const { room } = reading;
  try {
    const { done, value } = reading.slices.next();
    if (!done) return;
    fillHistory(room, value);
    reading.state = 'done';
  } catch (error) {
    reading.failure = failed(room, error);
    reading.state = 'failed';
    closeRoom(room.file!);
    forgetOldest(room.history, true);
  }
  for (const tell of reading.whenOver) tell();
}

function failed({ name }: Room, error: unknown): string {
  log('error', 'history unreadable', { room: name.text, error: (error as Error).message });
  return `the room's history cannot be read: ${reason(error)}`;
}

/** What was published since reading began comes after what was read. */
function fillHistory(room: Room, messages: readonly StoredMessage[]): void {
  const since = [...remembered(room.history)];
  forgetOldest(room.history, true);
  for (const { time, nick, text } of messages) {
    // A file may have been edited: no client has to take more than could have been said.
    if (Buffer.byteLength(text) <= maxPacketBlob && Buffer.byteLength(nick) <= maxNameBytes)
      remember(room.history, Buffer.from(`${nick}: ${text}`), Date.parse(time) || 1);
  }
  for (const { line, time } of since) remember(room.history, line, time);
}

/** A stage of the turn's end: some slices, of one room after the other. */
export function readSlices(chat: Chat): void {
  const { beingRead } = chat;
  if (beingRead.size === 0) return;
  const unwanted = performance.now() - historyCacheTime;
  for (const [key, reading] of beingRead) {
    if (reading.wantedAt < unwanted && (reading.state !== 'reading' || reading.whenOver.length === 0))
      giveUp(chat, key, reading);
  }
  const end = workUnits.spent + historyReadBudget;
  for (const [key, reading] of beingRead) {
    if (reading.state !== 'reading') continue;
    if (workUnits.spent >= end) return scheduleTurn(chat.server);
    readSlice(reading);
    // Its next slice is due after one of each other room.
    beingRead.delete(key);
    beingRead.set(key, reading);
  }
}

/** Nobody waits for it any more. */
function giveUp(chat: Chat, key: string, reading: Reading): void {
  chat.beingRead.delete(key);
  if (reading.state === 'failed') return;
  reading.slices.return([]);
  forgetOldest(reading.room.history, true);
  closeRoom(reading.room.file!);
  for (const tell of reading.whenOver) tell();
}

/** Resolves when the past of a room that is being read is there, or is not read any more. */
export function whenRead(chat: Chat, name: Name): Promise<void> {
  const reading = chat.beingRead.get(name.key);
  return new Promise(resolve => {
    if (reading?.state === 'reading') reading.whenOver.push(resolve);
    else resolve();
  });
}
