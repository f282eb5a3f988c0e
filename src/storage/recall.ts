/**
 * Reads the last messages of a file, from its end backwards, and no more of it than they take. As a file may be damaged, or
 * large, it is read in slices: each generator here yields when it has done a slice's work, and holds no descriptor then.
 */
import { closeSync, fstatSync, readSync } from 'node:fs';
import { historyReadSlice, maxJsonEscape, maxPacketBlob } from '../protocol/limits.ts';
import { workUnits } from '../protocol/workUnits.ts';
import { looksLikeMessage, parseLine, type StoredMessage } from './message.ts';
import { openRegular, toRead } from './openFiles.ts';

/** How much of a room's past is wanted. With 0 messages, nothing. */
export interface Remember {
  readonly messages: number;
  /** Of their texts, in UTF-8. */
  readonly bytes: number;
}

/** What was read so far, and what still fits. */
export interface Recall {
  readonly newestFirst: StoredMessage[];
  messagesLeft: number;
  bytesLeft: number;
  /** Bytes. A longer line holds no message that fits, so a file without newlines is not read into memory. */
  readonly longestLine: number;
  /** Lines that are not messages, those known before left out. */
  skipped: number;
  /** The work done in this slice. */
  spent: number;
}

/** A file that is read in slices. */
export interface Source {
  readonly path: string;
  /** As it was when reading began. */
  readonly inode: number;
  readonly size: number;
  /** Stretches without any message, from their end to their beginning: found in this file, now or before. */
  readonly damage: Map<number, number>;
  /** Undefined between two slices. */
  descriptor: number | undefined;
}

/** What a line has besides the text; most of it is the nick. */
const besidesText = 8192;

const chunkSize = 64 * 1024;
const newline = 0x0a;
const openingBrace = 0x7b;

/** A stretch of damaged lines is remembered if it has so many bytes or lines. */
const longDamage = { bytes: 1024, lines: 16 };

/** Remembered stretches of one file. */
const maxStretches = 256;

/** The work that a line takes, in the units of protocol/work.ts: one is about 0.1 µs. An exception takes some µs. */
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

/** @returns whether the slice is over: then the caller yields */
function spend(recall: Recall, source: Source, cost: number): boolean {
  workUnits.spent += cost;
  recall.spent += cost;
  if (recall.spent < historyReadSlice) return false;
  recall.spent = 0;
  release(source);
  return true;
}

/** Reading ends, for now or for good. */
export function release(source: Source): void {
  if (source.descriptor !== undefined) closeSync(source.descriptor);
  source.descriptor = undefined;
}

/** What follows the last newline; empty if the file ends with one. */
export interface Tail {
  readonly start: number;
  /** A line that was written without its newline, and that is worth reading. */
  readonly isWhole: boolean;
  /** The rest of a line whose writing was interrupted. */
  readonly isTorn: boolean;
}

/** No line of ours is longer. */
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
  // Another program's line is not ours to cut off; what a power cut leaves is NULs.
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
 * Adds the file's messages, the last one first, while they fit. It stops at the first that does not, as a history in
 * memory would have dropped all before it.
 * @param end where the last line ends, its newline left out; negative if there is no line
 * @returns whether there is room for the messages of an older file
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
        // A line that is deeply nested takes the longest.
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

/** A stretch of damaged lines. */
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

/** The next reading skips what this one found. */
function noteDamage(damage: Map<number, number>, { start, end, lines }: Run): void {
  if (end < 0 || damage.size >= maxStretches || (lines < longDamage.lines && end - start < longDamage.bytes))
    return;
  damage.set(end, start);
}

/** The bytes from `start` to before `end`, in a buffer of their own. */
function readAt(source: Source, start: number, end: number): Buffer {
  source.descriptor ??= reopened(source);
  const bytes = Buffer.allocUnsafe(end - start);
  for (let filled = 0; filled < bytes.length; ) {
    const count = readSync(source.descriptor, bytes, filled, bytes.length - filled, start + filled);
    if (count === 0) throw new Error('it became shorter while it was read; leave it to one program');
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
  throw new Error('it was replaced while it was read; leave it to one program');
}
