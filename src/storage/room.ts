/** One room on disk: what it remembers, and what is added to it. */
import { closeSync, constants, fstatSync, openSync } from 'node:fs';
import { join } from 'node:path';
import { log } from '../log/log.ts';
import { errorCode, storageError } from './disk.ts';
import { currentName, rotatedName, stemOf } from './fileNames.ts';
import { type StoredMessage, toLine } from './message.ts';
import { endOfLastLine, newRecall, type Recall, type Remember, recallFrom } from './recall.ts';
import { moveAside } from './rotate.ts';
import type { Store } from './store.ts';
import { noteUnsynced } from './sync.ts';

export interface RoomFile {
  readonly store: Store;
  /** The beginning of the names of this room's files. */
  readonly stem: string;
  /** Of the file that is appended to. */
  readonly path: string;
  /** Undefined while there is no file: it is made for the first message, not for the first visitor. */
  descriptor: number | undefined;
  /** The size to which a failed append has yet to be cut back. */
  tornAt: number | undefined;
}

/**
 * Opens a room that is not open, and cuts off what a power cut left of its last line.
 * @param room 1 to 32 characters, normalised: two spellings are two rooms
 * @returns its last messages, oldest first: those that all fit into what `remember` allows
 * @throws Error, a sentence, where its file cannot be read and written. Older files that cannot only leave the log a line
 */
export function openRoom(
  store: Store,
  room: string,
  remember: Remember,
): { file: RoomFile; messages: StoredMessage[] } {
  const stem = stemOf(room);
  const path = join(store.directory, currentName(stem));
  if (store.rooms.has(stem)) throw new Error(`${path} is open already; a room is opened once`);
  const file: RoomFile = { store, stem, path, descriptor: undefined, tornAt: undefined };
  const recall = newRecall(remember);
  try {
    file.descriptor = openRegular(path, toAppend);
    if (file.descriptor === undefined || recallFrom(file.descriptor, cutTornLine(file), recall)) {
      recallRotated(store, stem, recall);
    }
  } catch (error) {
    close(file);
    throw storageError('open', path, error);
  }
  if (recall.skipped > 0) log('warn', 'lines skipped', { file: path, lines: recall.skipped });
  store.rooms.set(stem, file);
  return { file, messages: recall.newestFirst.reverse() };
}

/**
 * Adds the messages, in one write, to what the system has; `syncStore` is for what the disk has.
 * @throws Error, a sentence, where that is not possible. None of the messages is in the file then
 */
export function appendMessages(file: RoomFile, messages: readonly StoredMessage[]): void {
  if (messages.length === 0) return;
  const lines = Buffer.from(messages.map(toLine).join(''));
  try {
    cutFailedAppend(file);
    const { descriptor, size } = fileFor(file, lines.length);
    write(file, descriptor, size, lines);
  } catch (error) {
    throw storageError('append to', file.path, error);
  }
  noteUnsynced(file.store, file.path);
}

/** Closes the room. What the disk does not have yet is for the next `syncStore`, or the background, as before. */
export function closeRoom(file: RoomFile): void {
  try {
    cutFailedAppend(file);
  } catch (error) {
    log('warn', 'messages of a failed append may remain', { file: file.path, error: String(error) });
  }
  close(file);
  file.store.rooms.delete(file.stem);
}

function close(file: RoomFile): void {
  const { descriptor } = file;
  file.descriptor = undefined;
  file.tornAt = undefined;
  try {
    if (descriptor !== undefined) closeSync(descriptor);
  } catch (error) {
    // Some file systems tell of a failed write only now; the descriptor is free all the same.
    log('warn', 'a file did not close well', { file: file.path, error: String(error) });
  }
}

// Not through a link, and without waiting for the other end of what turns out to be a pipe.
const carefully = constants.O_NOFOLLOW | constants.O_NONBLOCK;
const toRead = constants.O_RDONLY | carefully;
const toAppend = constants.O_RDWR | constants.O_APPEND | carefully;
const toCreate = toAppend | constants.O_CREAT;

/** @returns undefined where there is no such file */
function openRegular(path: string, flags: number): number | undefined {
  let descriptor: number;
  try {
    descriptor = openSync(path, flags, 0o600);
  } catch (error) {
    if (errorCode(error) === 'ENOENT' && (flags & constants.O_CREAT) === 0) return undefined;
    throw error;
  }
  if (fstatSync(descriptor).isFile()) return descriptor;
  closeSync(descriptor);
  throw new Error('it is not a regular file; move it away');
}

/** What has no newline at the end was being written when the power went. @returns the size of what is whole */
function cutTornLine({ store, path, descriptor }: RoomFile): number {
  const { size } = fstatSync(descriptor!);
  const end = endOfLastLine(descriptor!, size);
  if (end < size) {
    store.disk.truncate(descriptor!, end);
    log('warn', 'torn line cut off', { file: path, bytes: size - end });
  }
  return end;
}

/** From the newest file to the oldest, until there is enough. They are left as they are. */
function recallRotated(store: Store, stem: string, recall: Recall): void {
  for (const number of [...(store.rotated.get(stem) ?? [])].reverse()) {
    const path = join(store.directory, rotatedName(stem, number));
    let descriptor: number | undefined;
    try {
      descriptor = openRegular(path, toRead);
      if (descriptor === undefined) continue;
      if (!recallFrom(descriptor, endOfLastLine(descriptor, fstatSync(descriptor).size), recall)) return;
    } catch (error) {
      log('warn', 'older messages are not read', { error: storageError('read', path, error).message });
      return;
    } finally {
      if (descriptor !== undefined) closeSync(descriptor);
    }
  }
}

/** The file with room for so many bytes, and how long it is: what others do to it is no reason to tear a line. */
function fileFor(file: RoomFile, bytes: number): { descriptor: number; size: number } {
  const { store, path } = file;
  if (file.descriptor !== undefined) {
    const { size, nlink } = fstatSync(file.descriptor);
    const isFull = store.rotateAt > 0 && size > 0 && size + bytes > store.rotateAt;
    if (!isFull && nlink > 0) return { descriptor: file.descriptor, size };
    // Full, or deleted by somebody who wanted the room forgotten.
    if (nlink > 0) moveAside(store, file.stem);
    close(file);
  }
  file.descriptor = openRegular(path, toCreate)!;
  noteUnsynced(store, store.directory);
  return { descriptor: file.descriptor, size: fstatSync(file.descriptor).size };
}

function write(file: RoomFile, descriptor: number, size: number, lines: Buffer): void {
  try {
    const written = file.store.disk.write(descriptor, lines);
    if (written < lines.length) {
      // A disk that takes a part says only of the next write why it does not take the rest.
      file.store.disk.write(descriptor, lines.subarray(written));
      throw new Error(`only ${written} of ${lines.length} bytes were written; is the disk full?`);
    }
  } catch (error) {
    file.tornAt = size;
    try {
      cutFailedAppend(file);
    } catch {
      // Before the next append it is tried again.
    }
    throw error;
  }
}

function cutFailedAppend(file: RoomFile): void {
  if (file.tornAt === undefined) return;
  // Somebody may have emptied it meanwhile: cutting must not lengthen it.
  if (fstatSync(file.descriptor!).size > file.tornAt) file.store.disk.truncate(file.descriptor!, file.tornAt);
  file.tornAt = undefined;
}
