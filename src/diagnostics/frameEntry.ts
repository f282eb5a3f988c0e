/**
 * What is remembered of a frame, on the hot path: a few stores into a block of words, no objects.
 *
 * An entry is eight words: when (server.now), what (first byte, flags, bytes of head), the payload's length, and of the
 * payload the first twenty bytes.
 */
import { frameEnd, payloadStart } from '../protocol/websocket/frame.ts';
import { ioArena } from '../protocol/websocket/mask.ts';
import type { ShownFrame } from './showFrame.ts';

export const entryWords = 8;
const headWords = 5;
const headSize = 4 * headWords;
const headAt = entryWords - headWords;

/** Flags in an entry's second word, above the frame's first byte; the bytes of head stand above them. */
const sentFlag = 0x100;
export const rawFlag = 0x200;
const headShift = 16;

const memory = new DataView(ioArena.buffer, ioArena.byteOffset, ioArena.length);

/**
 * @param at the entry's first word
 * @param what the frame's first byte, or `rawFlag` for bytes of a wire that has no frames
 * @param length of the payload, of which `bytes[start, end)` are there
 * @param key their masking key
 */
export function fillEntry(
  entries: Int32Array,
  at: number,
  now: number,
  what: number,
  length: number,
  bytes: Uint8Array,
  start: number,
  end: number,
  key: number,
): void {
  const size = Math.min(headSize, end - start);
  entries[at] = now;
  entries[at + 1] = what | (size << headShift);
  entries[at + 2] = Math.min(length, 0xffffffff);
  if (bytes === ioArena && start + headSize <= ioArena.length) {
    copyHead(entries, at, start, size, key);
    return;
  }
  for (let i = 0; i < size; i += 4) {
    let word = 0;
    for (let j = 0; j < 4 && i + j < size; j++) word |= bytes[start + i + j]! << (8 * j);
    entries[at + headAt + (i >> 2)] = word ^ key;
  }
}

/** The same for what goes to the peer: a frame with its header, or bytes where there are no frames. */
export function fillSent(
  entries: Int32Array,
  at: number,
  now: number,
  isFramed: boolean,
  bytes: Uint8Array,
  start: number,
  end: number,
): void {
  const payload = isFramed ? payloadStart(bytes, start) : start;
  const what = sentFlag | (isFramed ? bytes[start]! : rawFlag);
  fillEntry(entries, at, now, what, end - payload, bytes, payload, end, 0);
}

/** A masking key. */
const keySize = 4;

/**
 * The same for a whole frame at `start` of the turn's memory; the payload of one that came is unmasked already. Every
 * message comes by here: what is usual, a short frame, is looked at once.
 */
export function fillWhole(
  entries: Int32Array,
  at: number,
  now: number,
  isSent: boolean,
  start: number,
): void {
  let length = ioArena[start + 1]! & 0x7f;
  let payload = start + 2;
  if (length >= 126) {
    payload = payloadStart(ioArena, start);
    length = frameEnd(ioArena, start) - payload;
  }
  if (!isSent) payload += keySize;
  const what = ioArena[start]! | (isSent ? sentFlag : 0);
  if (payload + headSize > ioArena.length) {
    fillEntry(entries, at, now, what, length, ioArena, payload, payload + length, 0);
    return;
  }
  entries[at] = now;
  entries[at + 1] = what | (Math.min(headSize, length) << headShift);
  entries[at + 2] = length;
  copyHead(entries, at, payload, length, 0);
}

/** Of the turn's memory; what lies behind the payload comes along, and is not looked at. */
function copyHead(entries: Int32Array, at: number, payload: number, length: number, key: number): void {
  entries[at + headAt] = memory.getInt32(payload, true) ^ key;
  if (length <= 4) return;
  entries[at + headAt + 1] = memory.getInt32(payload + 4, true) ^ key;
  entries[at + headAt + 2] = memory.getInt32(payload + 8, true) ^ key;
  entries[at + headAt + 3] = memory.getInt32(payload + 12, true) ^ key;
  entries[at + headAt + 4] = memory.getInt32(payload + 16, true) ^ key;
}

export function copyEntry(entries: Int32Array, from: number, into: Int32Array, at: number): void {
  // In a row: a loop takes three times as long.
  into[at] = entries[from]!;
  into[at + 1] = entries[from + 1]!;
  into[at + 2] = entries[from + 2]!;
  into[at + 3] = entries[from + 3]!;
  into[at + 4] = entries[from + 4]!;
  into[at + 5] = entries[from + 5]!;
  into[at + 6] = entries[from + 6]!;
  into[at + 7] = entries[from + 7]!;
}

/** A remembered frame, and how many milliseconds ago it was. */
export interface RememberedFrame extends ShownFrame {
  readonly age: number;
}

/** @param now the server's, when the entry was copied */
export function frameAt(entries: Int32Array, at: number, now: number): RememberedFrame {
  const what = entries[at + 1]!;
  const head = Buffer.alloc(headSize);
  for (let i = 0; i < headWords; i++) head.writeInt32LE(entries[at + headAt + i]!, 4 * i);
  return {
    way: (what & sentFlag) !== 0 ? '>' : '<',
    first: (what & rawFlag) !== 0 ? undefined : what & 0xff,
    length: entries[at + 2]! >>> 0,
    head: head.subarray(0, what >>> headShift),
    age: (now - entries[at]!) >>> 0,
  };
}
