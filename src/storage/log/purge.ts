/**
 * Purging: each segment is copied without the forgotten messages of a channel, in slices, and the copy takes its place. A
 * server that is killed meanwhile leaves each segment either as it was or purged.
 */
import {
  closeSync,
  constants,
  existsSync,
  fdatasyncSync,
  fstatSync,
  futimesSync,
  renameSync,
  unlinkSync,
} from 'node:fs';
import { type Disk, openRegular, storageError, toCreate, toRead } from '../disk.ts';
import { noteUnsynced } from '../sync.ts';
import { formatMark, parseRecord, readHead } from './line.ts';
import { maxLongLineStart, readAt } from './readBackwards.ts';
import {
  adoptSegments,
  closeCurrent,
  cutFailedAppend,
  type LogFiles,
  segmentPath,
  unfinished,
} from './segments.ts';

/** The messages to remove. */
export interface Forgotten {
  readonly epoch: string;
  readonly channel: string;
  /** And all lower numbers. */
  readonly seq: number;
}

const chunkSize = 64 * 1024;
const newline = 0x0a;

/**
 * Yields after each 64 KiB. Segments that are begun meanwhile have none of the messages.
 * @throws Error, a sentence
 */
export function* purgeSegments(files: LogFiles, forgotten: Forgotten): Generator<void, void> {
  try {
    adoptSegments(files);
  } catch (error) {
    throw storageError('rewrite', files.directory, error);
  }
  const newest = files.segments.at(-1) ?? 0;
  for (const number of [...files.segments]) yield* purgeFull(files, number, forgotten);
  const rotated = () => files.segments.find(number => number > newest);
  if (rotated() === undefined && (yield* purgeCurrent(files, forgotten))) return;
  // The current segment was rotated meanwhile.
  const number = rotated();
  if (number !== undefined) yield* purgeFull(files, number, forgotten);
}

function* purgeFull(files: LogFiles, number: number, forgotten: Forgotten): Generator<void, void> {
  const path = segmentPath(files, number);
  const source = openRegular(path, toRead);
  if (source === undefined) return;
  const copy = openCopy(files, path, source, forgotten);
  try {
    const { size, atime, mtime } = fstatSync(source);
    for (let at = 0; at < size; at = copy.copied) {
      copyChunk(copy, size);
      yield;
    }
    endCopy(copy);
    // Its age says when it is removed.
    futimesSync(copy.target, atime, mtime);
    // Retention may have removed the segment meanwhile.
    if (copy.dropped > 0 && files.segments.includes(number)) replace(files, copy);
  } catch (error) {
    throw storageError('rewrite', path, error);
  } finally {
    discard(copy);
    closeSync(source);
    closeSync(copy.target);
  }
}

/** @returns false if the segment was rotated meanwhile */
function* purgeCurrent(files: LogFiles, forgotten: Forgotten): Generator<void, boolean> {
  const source = openRegular(files.path, toRead);
  if (source === undefined) return true;
  const copy = openCopy(files, files.path, source, forgotten);
  let isCurrent = false;
  try {
    const { ino } = fstatSync(source);
    for (;;) {
      cutFailedAppend(files);
      const { size } = fstatSync(source);
      copyChunk(copy, size);
      if (copy.copied < size) {
        yield;
        continue;
      }
      if (files.descriptor !== undefined && fstatSync(files.descriptor).ino !== ino) return false;
      // No append can come between this check and the replacement.
      endCopy(copy);
      if (copy.dropped === 0) return true;
      replace(files, copy);
      closeCurrent(files);
      files.descriptor = copy.target;
      isCurrent = true;
      return true;
    }
  } catch (error) {
    throw storageError('rewrite', files.path, error);
  } finally {
    discard(copy);
    closeSync(source);
    if (!isCurrent) closeSync(copy.target);
  }
}

/** A copy of a segment, as far as it is made. */
interface Copy {
  readonly disk: Disk;
  readonly forgotten: Forgotten;
  readonly quotedChannel: string;
  readonly source: number;
  readonly target: number;
  readonly path: string;
  readonly copyPath: string;
  /** Bytes of the source that were read. */
  copied: number;
  /** The beginning of a line, until enough of it is known. */
  pending: Buffer;
  /** What happens to the rest of the line; undefined while that is unknown. */
  isDropping: boolean | undefined;
  dropped: number;
  /** The number of the last line, if it was dropped. */
  lastDropped: number | undefined;
}

function openCopy(files: LogFiles, path: string, source: number, forgotten: Forgotten): Copy {
  const copyPath = `${path}${unfinished.purge}`;
  return {
    disk: files.disk,
    forgotten,
    quotedChannel: `"channel":${JSON.stringify(forgotten.channel)}`,
    source,
    target: openRegular(copyPath, toCreate | constants.O_TRUNC)!,
    path,
    copyPath,
    copied: 0,
    pending: Buffer.alloc(0),
    isDropping: undefined,
    dropped: 0,
    lastDropped: undefined,
  };
}

function copyChunk(copy: Copy, size: number): void {
  const end = Math.min(size, copy.copied + chunkSize);
  const chunk = readAt(copy.source, copy.copied, end);
  copy.copied = end;
  const bytes = copy.pending.length === 0 ? chunk : Buffer.concat([copy.pending, chunk]);
  const kept: Buffer[] = [];
  let at = 0;
  while (at < bytes.length) {
    const found = bytes.indexOf(newline, at);
    const lineEnd = found < 0 ? bytes.length : found + 1;
    if (found < 0 && copy.isDropping === undefined && lineEnd - at < maxLongLineStart) break;
    copy.isDropping ??= decide(copy, bytes.subarray(at, lineEnd));
    if (!copy.isDropping) kept.push(bytes.subarray(at, lineEnd));
    if (found >= 0) copy.isDropping = undefined;
    at = lineEnd;
  }
  copy.pending = bytes.subarray(at);
  writeAll(copy, Buffer.concat(kept));
}

/** Whether a line is dropped. @param bytes the line, or its first part */
function decide(copy: Copy, bytes: Buffer): boolean {
  const { forgotten, quotedChannel } = copy;
  const line = bytes.at(-1) === newline ? bytes.subarray(0, -1) : bytes;
  const head = readHead(line);
  // A damaged line of the channel may contain its text.
  const isDamaged = head === undefined && line.includes(quotedChannel);
  const isForgotten =
    head?.channel === forgotten.channel && head.seq <= forgotten.seq && head.epoch === forgotten.epoch;
  if (!isDamaged && !(isForgotten && !isForgetLine(line, head!))) {
    if (line.length > 0) copy.lastDropped = undefined;
    return false;
  }
  copy.dropped++;
  copy.lastDropped = head?.seq ?? copy.lastDropped;
  return true;
}

function isForgetLine(line: Buffer, head: NonNullable<ReturnType<typeof readHead>>): boolean {
  const record = line.length < maxLongLineStart ? parseRecord(line, head) : undefined;
  return record !== undefined && 'isForget' in record;
}

/** Writes the rest, and a mark that keeps the last number of the segment known. */
function endCopy(copy: Copy): void {
  const { pending, lastDropped, forgotten } = copy;
  if (pending.length > 0 && !decide(copy, pending)) writeAll(copy, pending);
  copy.pending = Buffer.alloc(0);
  if (lastDropped !== undefined)
    writeAll(copy, Buffer.from(formatMark({ epoch: forgotten.epoch, next: lastDropped + 1 }, Date.now())));
}

function writeAll({ disk, target }: Copy, bytes: Buffer): void {
  for (let at = 0; at < bytes.length; ) {
    const written = disk.write(target, bytes.subarray(at));
    if (written === 0) throw new Error('nothing could be written; is the disk full?');
    at += written;
  }
}

/** The copy takes the place of the segment. It is on disk before, so a power failure cannot leave an empty segment. */
function replace(files: LogFiles, { target, copyPath, path }: Copy): void {
  if (files.fsync !== 'no') fdatasyncSync(target);
  renameSync(copyPath, path);
  noteUnsynced(files, files.directory);
}

function discard({ copyPath }: Copy): void {
  if (existsSync(copyPath)) unlinkSync(copyPath);
}
