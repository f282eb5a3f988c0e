/** Reads the last messages of a file, from its end backwards, and no more of it than they take. */
import { readSync } from 'node:fs';
import { longestEscape, parseLine, type StoredMessage } from './message.ts';

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
  /** Bytes; what is longer does not fit, whatever it says. So a file without newlines is not read into memory. */
  readonly longestLine: number;
  /** Lines that are not messages. */
  skipped: number;
}

/** What a line has besides the text; most of it is the nick. */
const besidesText = 8192;

const chunkSize = 64 * 1024;
const newline = 0x0a;

export function newRecall({ messages, bytes }: Remember): Recall {
  return {
    newestFirst: [],
    messagesLeft: messages,
    bytesLeft: bytes,
    longestLine: longestEscape * bytes + besidesText,
    skipped: 0,
  };
}

/**
 * Where the last whole line ends, its newline included; 0 where there is none. What follows up to `size` is torn.
 * @param size of the file, in bytes
 */
export function endOfLastLine(descriptor: number, size: number): number {
  for (let end = size; end > 0; ) {
    const start = Math.max(0, end - chunkSize);
    const found = readAt(descriptor, start, end).lastIndexOf(newline);
    if (found >= 0) return start + found + 1;
    end = start;
  }
  return 0;
}

/**
 * Adds the file's messages, the last one first, while they fit. It stops at the first that does not, as a history in
 * memory would have dropped all before it.
 * @param end where the last whole line ends
 * @returns whether there is room for the messages of an older file
 */
export function recallFrom(descriptor: number, end: number, recall: Recall): boolean {
  if (recall.messagesLeft <= 0) return false;
  for (const line of linesBackward(descriptor, end, recall.longestLine)) {
    if (line === undefined) return false;
    const message = parseLine(line);
    if (message === undefined) {
      recall.skipped++;
      continue;
    }
    recall.bytesLeft -= Buffer.byteLength(message.text);
    if (recall.bytesLeft < 0) return false;
    recall.newestFirst.push(message);
    if (--recall.messagesLeft === 0) return false;
  }
  return true;
}

/** Lines without their newlines. It ends with undefined where it comes to one of more than `longest` bytes. */
function* linesBackward(descriptor: number, end: number, longest: number): Generator<Buffer | undefined> {
  if (end === 0) return;
  // Of the line whose beginning is still to be found, in the order of the file.
  let pieces: Buffer[] = [];
  let length = 0;
  // The newline at the end belongs to the last line.
  for (let unread = end - 1; unread > 0; ) {
    const start = Math.max(0, unread - chunkSize);
    let rest = readAt(descriptor, start, unread);
    for (let found = rest.lastIndexOf(newline); found >= 0; found = rest.lastIndexOf(newline)) {
      yield joined(rest.subarray(found + 1), pieces);
      pieces = [];
      length = 0;
      rest = rest.subarray(0, found);
    }
    pieces.unshift(rest);
    length += rest.length;
    if (length > longest) return yield undefined;
    unread = start;
  }
  yield joined(Buffer.alloc(0), pieces);
}

function joined(first: Buffer, others: readonly Buffer[]): Buffer {
  return others.length === 0 ? first : Buffer.concat([first, ...others]);
}

/** The bytes from `start` to before `end`, in a buffer of their own. */
function readAt(descriptor: number, start: number, end: number): Buffer {
  const bytes = Buffer.allocUnsafe(end - start);
  for (let filled = 0; filled < bytes.length; ) {
    const count = readSync(descriptor, bytes, filled, bytes.length - filled, start + filled);
    if (count === 0) throw new Error('it became shorter while it was read; leave it to one program');
    filled += count;
  }
  return bytes;
}
