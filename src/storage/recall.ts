/**
 * Reads the last messages of a file backwards, and only as much of the file as needed. Because a file may be large or
 * damaged, the generators here read it in slices: each yields after a slice, without an open descriptor.
 */
import { closeSync, fstatSync, readSync } from 'node:fs';
import { historyReadSlice, maxJsonEscape, maxPacketBlob } from '../protocol/limits.ts';
import { workUnits } from '../protocol/workUnits.ts';
import { openRegular, toRead } from './disk.ts';
import { looksLikeMessage, parseLine, type StoredMessage } from './message.ts';

/** How many messages to read, and at most how many bytes. */
export interface Remember {
  readonly messages: number;
  /** The limit on the total length of texts, in UTF-8. */
  readonly bytes: number;
}

/** The state of reading: messages so far, and what still fits. */
export interface Recall {
  readonly newestFirst: StoredMessage[];
  messagesLeft: number;
  bytesLeft: number;
  /** In bytes. A longer line cannot hold a message that fits, so a file without newlines is not read into memory. */
  readonly longestLine: number;
  /** Damaged lines, without those known before. */
  skipped: number;
  /** The work done in this slice. */
  spent: number;
}

/** A file being read. */
export interface Source {
  readonly path: string;
  /** At the start of reading. */
  readonly inode: number;
  readonly size: number;
  /** Known damaged ranges, end → start; grows while reading. */
  readonly damage: Map<number, number>;
  /** Undefined between slices. */
  descriptor: number | undefined;
}

/** Bytes of a line besides the text, mostly the nick. */
const besidesText = 8192;

const chunkSize = 64 * 1024;
const newline = 0x0a;
const openingBrace = 0x7b;

/** A damaged range is remembered from this size on. */
const longDamage = { bytes: 1024, lines: 16 };

/** Remembered ranges per file. */
const maxRanges = 256;

/** Work units per line. An exception takes some microseconds. */
const lineCost = 2;
const parseCost = 16;
const failureCost = 96;

export function newRecall({ messages, bytes }: Remember): Recall {
  return {
    newestFirst: [],
    messagesLeft: messages,
    bytesLeft: bytes,
    longestLine: maxJsonEscape * Math.min(bytes, maxPacketBlob) + besidesText,
    skipped: 0,
    spent: 0,
  };
}

/** @returns whether the slice is used up, and the caller must yield */
function spend(recall: Recall, source: Source, cost: number): boolean {
  workUnits.spent += cost;
  recall.spent += cost;
  if (recall.spent < historyReadSlice) return false;
  recall.spent = 0;
  release(source);
  return true;
}

/** Closes the descriptor, between slices or at the end. */
export function release(source: Source): void {
  if (source.descriptor !== undefined) closeSync(source.descriptor);
  source.descriptor = undefined;
}

/** The bytes after the last newline. */
export interface Tail {
  readonly start: number;
  /** A complete line that only lacks its newline. */
  readonly isWhole: boolean;
  /** A line that was written in part only. */
  readonly isTorn: boolean;
}

/** The longest line that this server writes. */
const longestOwnLine = maxJsonEscape * maxPacketBlob + besidesText;

export function* readTail(source: Source, recall: Recall): Generator<void, Tail> {
  const { size } = source;
  let start = 0;
  for (let end = size; end > 0; ) {
    const from = Math.max(0, end - chunkSize);
    const found = readAt(source, from, end).lastIndexOf(newline);
    if (found >= 0) {
      start = from + found + 1;
      break;
    }
    if (spend(recall, source, chunkSize >>> 8)) yield;
    end = from;
  }
  if (start === size) return { start, isWhole: false, isTorn: false };
  if (size - start <= longestOwnLine) {
    const isWhole = isJson(readAt(source, start, size));
    return { start, isWhole, isTorn: !isWhole };
  }
  // After a power cut the file may end in NULs. Another program's line must not be cut.
  return { start, isWhole: false, isTorn: readAt(source, start, start + 1)[0] !== openingBrace };
}

function isJson(bytes: Buffer): boolean {
  try {
    JSON.parse(bytes.toString().replace(/^\uFEFF/, ''));
    return true;
  } catch {
    return false;
  }
}

/**
 * Adds the file's messages, newest first, until one does not fit: a history in memory drops everything before that one, too.
 * @param end the end of the last line, without its newline; negative if there is no line
 * @returns whether an older file may still add messages
 */
export function* recallFrom(source: Source, end: number, recall: Recall): Generator<void, boolean> {
  if (recall.messagesLeft <= 0) return false;
  const { damage } = source;
  let chunk: Buffer = Buffer.alloc(0);
  let chunkStart = end;
  const run: Run = { end: -1, start: -1, lines: 0 };
  for (let lineEnd = end; lineEnd >= 0; ) {
    const known = damage.get(lineEnd);
    if (known !== undefined) {
      extend(run, known, lineEnd, longDamage.lines);
      lineEnd = known - 1;
      continue;
    }
    let start = -1;
    for (let searched = lineEnd; start < 0; ) {
      if (lineEnd - searched > recall.longestLine) {
        noteDamage(damage, run);
        return false;
      }
      if (searched <= chunkStart && searched > 0) {
        chunkStart = Math.max(0, searched - chunkSize);
        chunk = readAt(source, chunkStart, searched);
        if (spend(recall, source, chunkSize >>> 8)) yield noteDamage(damage, run);
      }
      const found = searched === 0 ? -1 : chunk.lastIndexOf(newline, searched - 1 - chunkStart);
      if (found >= 0) start = chunkStart + found + 1;
      else if (searched === 0 || chunkStart === 0) start = 0;
      searched = chunkStart;
    }
    let cost = lineCost;
    let message: StoredMessage | undefined;
    if (lineEnd > start) {
      const isInChunk = start >= chunkStart && lineEnd <= chunkStart + chunk.length;
      const line = isInChunk
        ? chunk.subarray(start - chunkStart, lineEnd - chunkStart)
        : readAt(source, start, lineEnd);
      if (looksLikeMessage(line)) {
        message = parseLine(line);
        // Deeply nested lines take the longest.
        cost += message === undefined ? failureCost + (line.length >>> 3) : parseCost + (line.length >>> 6);
      }
    }
    if (message === undefined) {
      recall.skipped++;
      extend(run, start, lineEnd, 1);
    } else {
      noteDamage(damage, run);
      run.end = -1;
      recall.bytesLeft -= Buffer.byteLength(message.text);
      if (recall.bytesLeft < 0) return false;
      recall.newestFirst.push(message);
      if (--recall.messagesLeft === 0) return false;
    }
    lineEnd = start - 1;
    if (spend(recall, source, cost)) yield noteDamage(damage, run);
  }
  noteDamage(damage, run);
  return true;
}

/** Consecutive damaged lines. */
interface Run {
  end: number;
  start: number;
  lines: number;
}

function extend(run: Run, start: number, end: number, lines: number): void {
  if (run.end < 0) {
    run.end = end;
    run.lines = 0;
  }
  run.start = start;
  run.lines += lines;
}

/** Remembers a damaged range, so that the next reader skips it. */
function noteDamage(damage: Map<number, number>, { start, end, lines }: Run): void {
  if (end < 0 || damage.size >= maxRanges || (lines < longDamage.lines && end - start < longDamage.bytes))
    return;
  damage.set(end, start);
}

/** The bytes `[start, end)`, as a copy. */
function readAt(source: Source, start: number, end: number): Buffer {
  source.descriptor ??= reopened(source);
  const bytes = Buffer.allocUnsafe(end - start);
  for (let filled = 0; filled < bytes.length; ) {
    const count = readSync(source.descriptor, bytes, filled, bytes.length - filled, start + filled);
    if (count === 0)
      throw new Error('it became shorter while the server read it; let no other program write to it');
    filled += count;
  }
  return bytes;
}

function reopened({ path, inode }: Source): number {
  const descriptor = openRegular(path, toRead);
  if (descriptor !== undefined) {
    if (fstatSync(descriptor).ino === inode) return descriptor;
    closeSync(descriptor);
  }
  throw new Error('it was replaced while the server read it; let no other program write to it');
}
