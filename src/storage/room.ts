/** One room on disk: reading its history, and appending messages. */
import { closeSync, fstatSync, readSync, type Stats } from 'node:fs';
import { join } from 'node:path';
import { log } from '../log/log.ts';
import { knownDamage, rememberDamage } from './damage.ts';
import { openRegular, storageError, toAppend, toCreate, toRead } from './disk.ts';
import { currentName, rotatedName, stemOf } from './fileNames.ts';
import { type StoredMessage, toLine } from './message.ts';
import { closeFile, useFile } from './openFiles.ts';
import {
  newRecall,
  type Recall,
  type Remember,
  readTail,
  recallFrom,
  release,
  type Source,
} from './recall.ts';
import type { RoomFile, Store } from './records.ts';
import { moveAside } from './rotate.ts';
import { noteUnsynced } from './sync.ts';

/**
 * Opens a room, which must not be open yet.
 * @param room a normalised name of 1 to 32 characters: different spellings are different rooms
 * @throws Error if its file cannot be read and written
 */
export function openRoom(store: Store, room: string): RoomFile {
  const stem = stemOf(room);
  const path = join(store.directory, currentName(stem));
  if (store.rooms.has(stem)) throw new Error(`${path} is already open`);
  const file: RoomFile = { store, stem, path, descriptor: undefined, size: undefined, tornAt: undefined };
  try {
    useFile(file, toAppend);
  } catch (error) {
    throw storageError('open', path, error);
  }
  store.rooms.set(stem, file);
  return file;
}

/**
 * Reads a room's history in slices, and truncates a last line that a power cut left incomplete.
 * @returns the last messages within the limits of `remember`, oldest first
 * @throws Error if the current file cannot be read. For rotated files, the log has the error
 */
export function* recallRoom(file: RoomFile, remember: Remember): Generator<void, StoredMessage[]> {
  const { store, path } = file;
  const recall = newRecall(remember);
  try {
    const descriptor = useFile(file, toAppend);
    const hasRoom = descriptor === undefined || (yield* recallCurrent(file, descriptor, recall));
    if (hasRoom) yield* recallRotated(store, file.stem, recall);
  } catch (error) {
    throw storageError('read', path, error);
  }
  if (recall.skipped > 0) log('warn', 'lines skipped', { file: path, lines: recall.skipped });
  return recall.newestFirst.reverse();
}

function* recallCurrent(file: RoomFile, descriptor: number, recall: Recall): Generator<void, boolean> {
  const { store, path } = file;
  const stats = fstatSync(descriptor);
  return yield* recallSource(store, path, stats, recall, (start, damage) => {
    const now = useFile(file, toAppend);
    // After an append in the meantime, the torn line is not the last one.
    if (now === undefined || fstatSync(now).size !== stats.size) return;
    store.disk.truncate(now, start);
    log('warn', 'torn line cut off', { file: path, bytes: stats.size - start });
    rememberDamage(store.damaged, fstatSync(now), damage);
  });
}

/** @param torn called if the last line is torn */
function* recallSource(
  store: Store,
  path: string,
  stats: Stats,
  recall: Recall,
  torn: (start: number, damage: Map<number, number>) => void,
): Generator<void, boolean> {
  const { ino: inode, size } = stats;
  const damage = knownDamage(store.damaged, stats);
  const source: Source = { path, inode, size, damage, descriptor: undefined };
  // Stored before reading, so that damage found by an abandoned read is remembered, too.
  rememberDamage(store.damaged, stats, damage);
  try {
    const { start, isWhole, isTorn } = yield* readTail(source, recall);
    if (isTorn) torn(start, damage);
    return yield* recallFrom(source, isWhole ? size : start - 1, recall);
  } finally {
    release(source);
    if (damage.size === 0) store.damaged.delete(inode);
  }
}

/** Reads rotated files from the newest to the oldest, until the limits are reached. */
function* recallRotated(store: Store, stem: string, recall: Recall): Generator<void, void> {
  for (const number of [...(store.rotated.get(stem) ?? [])].reverse()) {
    const path = join(store.directory, rotatedName(stem, number));
    try {
      const stats = statRegular(path);
      if (stats === undefined) continue;
      if (!(yield* recallSource(store, path, stats, recall, () => {}))) return;
    } catch (error) {
      log('warn', 'older messages are not read', { error: storageError('read', path, error).message });
      return;
    }
  }
}

function statRegular(path: string): Stats | undefined {
  const descriptor = openRegular(path, toRead);
  if (descriptor === undefined) return undefined;
  try {
    return fstatSync(descriptor);
  } finally {
    closeSync(descriptor);
  }
}

/**
 * Adds the messages, in one write, to what the system has; `syncStore` is for what the disk has.
 * @throws Error, a sentence, where that is not possible. None of the messages is in the file then
 */
export function appendMessages(file: RoomFile, messages: readonly StoredMessage[]): void {
  if (messages.length === 0) return;
  const lines = messages.map(toLine).join('');
  try {
    cutFailedAppend(file);
    const { descriptor, stats } = fileFor(file, Buffer.byteLength(lines));
    const lacksNewline = stats.size !== file.size && !endsWithNewline(descriptor, stats.size);
    write(file, descriptor, stats, Buffer.from(lacksNewline ? `\n${lines}` : lines));
  } catch (error) {
    throw storageError('append to', file.path, error);
  }
  noteUnsynced(file.store, file.path);
}

const newline = 0x0a;

/** The last line may come from another program, or be cut off by a power failure. */
function endsWithNewline(descriptor: number, size: number): boolean {
  const last = Buffer.alloc(1);
  return size === 0 || readSync(descriptor, last, 0, 1, size - 1) === 0 || last[0] === newline;
}

/** Closes the room. Pending syncs stay pending. */
export function closeRoom(file: RoomFile): void {
  try {
    cutFailedAppend(file);
  } catch (error) {
    log('warn', 'messages of a failed append may remain', { file: file.path, error: String(error) });
  }
  closeFile(file);
  file.tornAt = undefined;
  file.store.rooms.delete(file.stem);
}

/** A file with room for so many bytes, rotated or created if needed. */
function fileFor(file: RoomFile, bytes: number): { descriptor: number; stats: Stats } {
  const { store } = file;
  let descriptor = useFile(file, toAppend);
  if (descriptor !== undefined) {
    const stats = fstatSync(descriptor);
    const { size, nlink } = stats;
    const isFull = store.rotateAt > 0 && size > 0 && size + bytes > store.rotateAt;
    if (!isFull && nlink > 0) return { descriptor, stats };
    // The file is full, or somebody deleted it.
    if (nlink > 0) moveAside(store, file.stem);
    closeFile(file);
  }
  descriptor = useFile(file, toCreate)!;
  file.size = undefined;
  noteUnsynced(store, store.directory);
  return { descriptor, stats: fstatSync(descriptor) };
}

function write(file: RoomFile, descriptor: number, { ino: inode, size }: Stats, lines: Buffer): void {
  const { disk, damaged } = file.store;
  try {
    const written = disk.write(descriptor, lines);
    if (written < lines.length) {
      // After a short write, only the next write reports the reason.
      disk.write(descriptor, lines.subarray(written));
      throw new Error(`only ${written} of ${lines.length} bytes were written; is the disk full?`);
    }
  } catch (error) {
    file.tornAt = { size, inode };
    try {
      cutFailedAppend(file);
    } catch {
      // Tried again before the next append.
    }
    throw error;
  }
  file.size = size + lines.length;
  const known = damaged.size === 0 ? undefined : damaged.get(inode);
  // Known damage stays valid unless another program has written in between.
  if (known?.size === size) rememberDamage(damaged, fstatSync(descriptor), known.damage);
}

function cutFailedAppend(file: RoomFile): void {
  if (file.tornAt === undefined) return;
  const descriptor = useFile(file, toAppend);
  if (descriptor !== undefined) {
    const { ino, size } = fstatSync(descriptor);
    // The file may have been emptied or replaced: truncating must not extend it, or cut another file.
    if (ino === file.tornAt.inode && size > file.tornAt.size)
      file.store.disk.truncate(descriptor, file.tornAt.size);
  }
  file.tornAt = undefined;
}
