/**
 * The segments of the log: new records are appended to `messages.jsonl`, which becomes `messages.1.jsonl`, `messages.2.jsonl` …
 * when it is full.
 */
import {
  closeSync,
  constants,
  existsSync,
  fstatSync,
  linkSync,
  lstatSync,
  readdirSync,
  readSync,
  renameSync,
  type Stats,
  statSync,
  unlinkSync,
} from 'node:fs';
import { join } from 'node:path';
import { log } from '../../log/log.ts';
import { type Disk, errorCode, openRegular, storageError, toAppend, toCreate } from '../disk.ts';
import { noteUnsynced, type Syncing } from '../sync.ts';

export const currentSegment = 'messages.jsonl';

/** A segment that is being written gets its name when it is complete. */
export const unfinished = { rotation: '.new', purge: '.purge', import: '.import' } as const;

const unfinishedName = /^messages(\.\d+)?\.jsonl\.(new|purge|import)$/;

/** With the number of a full segment. */
const fullName = /^messages\.([1-9]\d{0,14})\.jsonl$/;

/** The files of a log, open for appending. */
export interface LogFiles extends Syncing {
  /** Absolute. */
  readonly directory: string;
  readonly disk: Disk;
  /** The largest size of a segment in bytes, unless one append is larger; 0: no limit. */
  readonly rotateAt: number;
  /** Full segments that are kept; 0: all. */
  readonly keep: number;
  /** Segments that are older are removed; milliseconds, 0: no limit. */
  readonly age: number;
  /** The path of the current segment. */
  readonly path: string;
  /** The numbers of the full segments, oldest first. */
  readonly segments: number[];
  /** Of the current segment; undefined if it does not exist or is not open yet. */
  descriptor: number | undefined;
  /** The size after our last append; undefined before the first one. */
  size: number | undefined;
  /** Somebody replaced or shortened the current segment, and no line of it says so yet. */
  hasLostLines: boolean;
  /** When the current segment was begun. */
  startedAt: number;
  /** A failed append must be truncated to this size, in the file with this inode. */
  tornAt: { readonly size: number; readonly inode: number } | undefined;
}

/** @param number from 1, the higher the newer */
export function segmentName(number: number): string {
  return `messages.${number}.jsonl`;
}

export function segmentPath({ directory, path }: LogFiles, number: number | undefined): string {
  return number === undefined ? path : join(directory, segmentName(number));
}

/** The numbers of the full segments, oldest first. Files that a killed server has not finished are removed. */
export function findSegments(directory: string): number[] {
  const numbers: number[] = [];
  for (const name of readdirSync(directory)) {
    const [, digits] = fullName.exec(name) ?? [];
    if (digits !== undefined) numbers.push(Number(digits));
    else if (unfinishedName.test(name)) unlinkSync(join(directory, name));
  }
  numbers.sort((a, b) => a - b);
  undoRotation(directory, numbers);
  return numbers;
}

/** Adds the segments that somebody has put into the folder since the start, as a restart would. @throws the system's error */
export function adoptSegments({ directory, segments }: LogFiles): void {
  for (const name of readdirSync(directory)) {
    const [, digits] = fullName.exec(name) ?? [];
    if (digits !== undefined && !segments.includes(Number(digits))) segments.push(Number(digits));
  }
  segments.sort((a, b) => a - b);
}

/** A server that was killed in a rotation leaves two names of one file. */
function undoRotation(directory: string, numbers: number[]): void {
  const newest = numbers.at(-1);
  if (newest === undefined) return;
  const path = join(directory, segmentName(newest));
  const current = statSync(join(directory, currentSegment), { throwIfNoEntry: false });
  const full = statSync(path, { throwIfNoEntry: false });
  if (current === undefined || current.ino !== full?.ino || current.dev !== full.dev) return;
  unlinkSync(path);
  numbers.pop();
}

/**
 * Appends lines in one write. If that fails, none of them is in the segment.
 * @param mark the first line of a new segment, or a line that says that messages before it may have been lost
 * @param time now
 * @returns the segment, and its size before
 * @throws the system's error
 */
export function appendLines(
  files: LogFiles,
  lines: string,
  mark: (isLossy: boolean) => string,
  time: number,
): { size: number; inode: number } {
  cutFailedAppend(files);
  const { descriptor, stats } = currentFor(files, Buffer.byteLength(lines), mark, time);
  if (files.size !== undefined && stats.size < files.size) files.hasLostLines = true;
  let text = lines;
  if (stats.size === 0 || files.hasLostLines) {
    // Before the first line of a segment, its number shows what is missing.
    text = mark(stats.size > 0) + lines;
    files.startedAt = time;
  }
  if (stats.size > 0 && stats.size !== files.size && !endsWithNewline(descriptor, stats.size))
    text = `\n${text}`;
  const before = { size: stats.size, inode: stats.ino };
  write(files, descriptor, before, Buffer.from(text));
  if (files.hasLostLines && stats.size > 0)
    log('warn', 'segment replaced or shortened', { file: files.path });
  files.hasLostLines = false;
  noteUnsynced(files, files.path);
  return before;
}

const newline = 0x0a;

/** The last line may come from another program, or be cut off by a power failure. */
function endsWithNewline(descriptor: number, size: number): boolean {
  const last = Buffer.alloc(1);
  return readSync(descriptor, last, 0, 1, size - 1) === 0 || last[0] === newline;
}

/** The current segment with room for so many bytes, rotated or created if needed. */
function currentFor(
  files: LogFiles,
  bytes: number,
  mark: (isLossy: boolean) => string,
  time: number,
): { descriptor: number; stats: Stats } {
  files.descriptor ??= openRegular(files.path, toAppend);
  if (files.descriptor !== undefined) {
    const stats = fstatSync(files.descriptor);
    if (isAt(files.path, stats)) {
      if (isFull(files, stats.size, bytes, time)) return rotate(files, mark(false), time);
      return { descriptor: files.descriptor, stats };
    }
    // Somebody removed, renamed or replaced the file or its folder. A restart would not find further messages in it.
    closeCurrent(files);
    const other = openRegular(files.path, toAppend);
    if (other !== undefined) {
      files.descriptor = other;
      files.hasLostLines = true;
      return { descriptor: other, stats: fstatSync(other) };
    }
  }
  const descriptor = openRegular(files.path, toCreate)!;
  files.descriptor = descriptor;
  noteUnsynced(files, files.directory);
  return { descriptor, stats: fstatSync(descriptor) };
}

/** Whether the path still names the open file. */
function isAt(path: string, { ino, dev }: Stats): boolean {
  const found = lstatSync(path, { throwIfNoEntry: false });
  return found !== undefined && found.ino === ino && found.dev === dev;
}

function isFull({ rotateAt, age, startedAt }: LogFiles, size: number, bytes: number, time: number): boolean {
  if (size === 0) return false;
  return (rotateAt > 0 && size + bytes > rotateAt) || (age > 0 && time - startedAt > age);
}

/**
 * Gives the current segment a number, and begins a new one. There is a current segment at every moment, and it is never empty:
 * otherwise the log has lost messages.
 * @throws the system's error, with the current segment in place
 */
export function rotate(files: LogFiles, mark: string, time: number): { descriptor: number; stats: Stats } {
  const { directory, path, segments } = files;
  let number = (segments.at(-1) ?? 0) + 1;
  // Do not overwrite an unknown file, such as somebody's copy.
  while (existsSync(segmentPath(files, number))) number++;
  const full = segmentPath(files, number);
  const next = `${path}${unfinished.rotation}`;
  const descriptor = openRegular(next, toCreate | constants.O_TRUNC)!;
  const firstLine = Buffer.from(mark);
  try {
    if (files.disk.write(descriptor, firstLine) < firstLine.length)
      throw new Error('a new file could not be written; is the disk full?');
    giveSecondName(path, full);
    try {
      renameSync(next, path);
    } catch (error) {
      if (existsSync(path)) unlinkSync(full);
      else renameSync(full, path);
      throw error;
    }
  } catch (error) {
    closeSync(descriptor);
    throw error;
  }
  closeCurrent(files);
  files.descriptor = descriptor;
  files.size = firstLine.length;
  files.startedAt = time;
  noteUnsynced(files, path);
  segments.push(number);
  noteUnsynced(files, full);
  noteUnsynced(files, directory);
  removeOldSegments(files, time);
  return { descriptor, stats: fstatSync(descriptor) };
}

function giveSecondName(path: string, second: string): void {
  try {
    linkSync(path, second);
  } catch (error) {
    // Some file systems have no hard links.
    if (!['EPERM', 'ENOTSUP', 'EOPNOTSUPP', 'ENOSYS', 'EMLINK'].includes(errorCode(error) ?? '')) throw error;
    renameSync(path, second);
  }
}

/** Removes full segments beyond the number that is kept, and those that are too old. */
export function removeOldSegments(files: LogFiles, time: number): void {
  const { segments, keep, age } = files;
  while (keep > 0 && segments.length > keep) removeOldest(files);
  while (age > 0 && segments.length > 0 && time - changedAt(files, segments[0]!) > age) removeOldest(files);
}

function changedAt(files: LogFiles, number: number): number {
  return statSync(segmentPath(files, number), { throwIfNoEntry: false })?.mtimeMs ?? 0;
}

function removeOldest(files: LogFiles): void {
  const path = segmentPath(files, files.segments.shift());
  try {
    unlinkSync(path);
    noteUnsynced(files, files.directory);
  } catch (error) {
    if (errorCode(error) === 'ENOENT') return;
    log('warn', 'old messages remain', { error: storageError('remove', path, error).message });
  }
}

function write(
  files: LogFiles,
  descriptor: number,
  before: { size: number; inode: number },
  bytes: Buffer,
): void {
  const { disk, work } = files;
  work.writes++;
  try {
    const written = disk.write(descriptor, bytes);
    if (written < bytes.length) {
      // After a short write, only the next write reports the reason.
      disk.write(descriptor, bytes.subarray(written));
      throw new Error(`only ${written} of ${bytes.length} bytes were written; is the disk full?`);
    }
  } catch (error) {
    work.failures++;
    undoAppend(files, before);
    throw error;
  }
  work.bytes += bytes.length;
  files.size = before.size + bytes.length;
}

/** Truncates the segment to its size before an append; if that fails, before the next append. */
export function undoAppend(files: LogFiles, before: { size: number; inode: number }): void {
  files.tornAt = before;
  try {
    cutFailedAppend(files);
  } catch {
    // Tried again before the next append.
  }
}

export function cutFailedAppend(files: LogFiles): void {
  if (files.tornAt === undefined) return;
  files.descriptor ??= openRegular(files.path, toAppend);
  if (files.descriptor !== undefined) {
    const { ino, size } = fstatSync(files.descriptor);
    // The file may have been emptied or replaced: truncating must not extend it, or cut another file.
    if (ino === files.tornAt.inode && size > files.tornAt.size) {
      files.disk.truncate(files.descriptor, files.tornAt.size);
      files.size = files.tornAt.size;
    }
  }
  files.tornAt = undefined;
}

export function closeCurrent(files: LogFiles): void {
  const { descriptor, path } = files;
  files.descriptor = undefined;
  files.size = undefined;
  if (descriptor === undefined) return;
  try {
    closeSync(descriptor);
  } catch (error) {
    // Some file systems report a failed write on close. The descriptor is closed anyway.
    log('warn', 'closing a file failed', { file: path, error: String(error) });
  }
}
