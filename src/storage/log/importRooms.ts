/**
 * Importing the files of older versions, which had one for each room: `ROOM.jsonl`, and after rotation `ROOM.1.jsonl` … The
 * rooms' messages are merged by time into the first segment of a new log. It gets its name when it is complete, and a folder
 * with a log is not imported again, so no message is imported twice. The files remain.
 */
import { closeSync, constants, existsSync, fdatasyncSync, fstatSync, readdirSync, renameSync } from 'node:fs';
import { join } from 'node:path';
import { log } from '../../log/log.ts';
import { openRegular, storageError, toCreate, toRead } from '../disk.ts';
import { noteUnsynced } from '../sync.ts';
import { formatMark, formatRecord, type LogMark } from './line.ts';
import { longestLine, messageMemory } from './load.ts';
import { readBackwards } from './readBackwards.ts';
import type { LogBounds, LogMessage } from './records.ts';
import { findRoomFiles, isRoomFile, movedName, parseRoomLine, type RoomFiles } from './roomFiles.ts';
import { currentSegment, type LogFiles, unfinished } from './segments.ts';

type RoomMessage = Omit<LogMessage, 'seq'>;

interface Imported extends RoomMessage {
  /** The time at which it is merged: its own or, if the clock went back, that of an earlier message of its room. */
  readonly mergedAt: number;
}

/** Lines written at once. */
const batch = 256;

/**
 * Imports what the bounds keep. Yields after each 64 KiB.
 * @param mark the first line of the log
 * @returns false if there are no room files
 * @throws Error, a sentence, if the log cannot be written
 */
export function* importRooms(files: LogFiles, bounds: LogBounds, mark: LogMark): Generator<void, boolean> {
  const { directory } = files;
  const startedAt = performance.now();
  const rooms = findRoomFiles(directory);
  if (rooms.length === 0) return false;
  let messages: Imported[] = [];
  let memory = 0;
  for (const room of rooms) {
    const read = yield* readRoom(directory, room, bounds);
    for (const message of read) memory += message.data.length + messageMemory;
    messages = messages.concat(read);
    if (memory > 2 * bounds.memory) ({ messages, memory } = newest(messages, bounds.memory));
  }
  ({ messages } = newest(messages, bounds.memory));
  const path = `${files.path}${unfinished.import}`;
  try {
    yield* writeSegment(files, path, mark, messages);
  } catch (error) {
    throw storageError('import rooms into', files.path, error);
  }
  const ms = Math.round(performance.now() - startedAt);
  log('info', 'rooms imported', { folder: directory, rooms: rooms.length, messages: messages.length, ms });
  return true;
}

/** @param messages of one room, in their order */
function withMergeTimes(messages: readonly RoomMessage[]): Imported[] {
  let mergedAt = Number.NEGATIVE_INFINITY;
  return messages.map(message => {
    mergedAt = Math.max(mergedAt, message.time);
    return { ...message, mergedAt };
  });
}

/** Sorts by time, and removes the oldest messages beyond `most` bytes. Messages of a room keep their order. */
function newest(messages: Imported[], most: number): { messages: Imported[]; memory: number } {
  messages.sort((a, b) => a.mergedAt - b.mergedAt);
  let memory = 0;
  let at = messages.length;
  while (at > 0 && memory + messages[at - 1]!.data.length + messageMemory <= most)
    memory += messages[--at]!.data.length + messageMemory;
  return { messages: messages.slice(at), memory };
}

/** The room's messages within the bounds, oldest first. Files that cannot be read are logged. */
function* readRoom(
  directory: string,
  room: RoomFiles,
  bounds: LogBounds,
): Generator<void, readonly Imported[]> {
  const newestFirst: RoomMessage[] = [];
  let bytes = 0;
  let skipped = 0;
  for (const name of room.newestFirst) {
    const path = join(directory, name);
    try {
      const descriptor = openRegular(path, toRead);
      if (descriptor === undefined) continue;
      try {
        const { size } = fstatSync(descriptor);
        const needsMore = yield* readBackwards(
          descriptor,
          size,
          longestLine(bounds),
          (line, _, isTooLong) => {
            const message = isTooLong ? undefined : parseRoomLine(line);
            if (message === undefined) {
              skipped++;
              return true;
            }
            const { time, uid, nick, text } = message;
            const data = Buffer.from(text);
            bytes += data.length;
            if (newestFirst.length >= bounds.messages || bytes > bounds.bytes) return false;
            newestFirst.push({ time, channel: room.name, kind: 'text', data, from: nick, uid });
            return true;
          },
        );
        if (!needsMore) break;
      } finally {
        closeSync(descriptor);
      }
    } catch (error) {
      log('warn', 'a room file is not imported', { error: storageError('read', path, error).message });
    }
  }
  if (skipped > 0)
    log('warn', 'lines skipped', { file: join(directory, room.newestFirst[0]!), damaged: skipped });
  return withMergeTimes(newestFirst.reverse());
}

function* writeSegment(
  files: LogFiles,
  path: string,
  mark: LogMark,
  messages: readonly Imported[],
): Generator<void, void> {
  const { disk } = files;
  const descriptor = openRegular(path, toCreate | constants.O_TRUNC)!;
  try {
    const write = (text: string) => {
      const bytes = Buffer.from(text);
      if (disk.write(descriptor, bytes) < bytes.length) throw new Error('the disk is full; free some space');
    };
    write(formatMark(mark, Date.now()));
    for (let at = 0; at < messages.length; at += batch) {
      const lines = messages
        .slice(at, at + batch)
        .map((message, index) => formatRecord(mark.epoch, { ...message, seq: mark.next + at + index }));
      write(lines.join(''));
      yield;
    }
    if (files.fsync !== 'no') fdatasyncSync(descriptor);
    renameSync(path, files.path);
    noteUnsynced(files, files.directory);
  } finally {
    closeSync(descriptor);
  }
}

/**
 * Moves files away that have the log's names but are not a log: those of a room called `messages`, which get an equivalent
 * name, and other programs' files.
 */
export function clearLogNames(directory: string): void {
  for (const name of readdirSync(directory)) {
    if (!/^messages(\.[1-9]\d{0,14})?\.jsonl$/.test(name)) continue;
    const isRoom = isRoomFile(join(directory, name));
    // A rotated name in use is skipped by later rotations.
    if (!isRoom && name !== currentSegment) continue;
    let target = isRoom ? movedName(name) : `${name}.foreign`;
    for (let copy = 1; existsSync(join(directory, target)); copy++) target = `${name}.foreign.${copy}`;
    renameSync(join(directory, name), join(directory, target));
    log('warn', 'file renamed, because the log needs its name', { file: join(directory, name), to: target });
  }
}
