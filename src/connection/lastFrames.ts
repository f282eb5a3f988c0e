/**
 * The last frames of each connection, either way: what one wants to see when it has ended. They are always remembered, so
 * this is on the hot path: no allocation, no objects, a few stores into one block that is as large as the table. Of the
 * connection that is being read it is only noted where its frames lie; after that those are copied that are still among
 * the last.
 *
 * An entry is eight words: when (server.now), what (first byte, flags, bytes of head), the payload's length, and of the
 * payload the first twenty bytes. A connection has eight entries, used in turn.
 */
import { Opcode } from '../protocol/codes.ts';
import { type FrameHeader, frameEnd, payloadStart } from '../protocol/frame.ts';
import { turnMemory } from '../protocol/mask.ts';
import type { Connection } from './connection.ts';
import type { ShownFrame } from './showFrame.ts';
import { isTracing, traceReceived, traceSent } from './trace.ts';

const entriesEach = 8;
const entryWords = 8;
const headWords = 5;
const headSize = 4 * headWords;
const headAt = entryWords - headWords;
/** Words that one connection's entries take. */
export const framesSize = entriesEach * entryWords;

/** Flags in an entry's second word, above the frame's first byte; the bytes of head stand above them. */
const sentFlag = 0x100;
const rawFlag = 0x200;
const headShift = 16;

/** Indexed by the connection's id. It begins with 4 MiB, of which the untouched part costs nothing. */
let slab = new Int32Array(16_384 * framesSize);

/** A connection has this id from now on. What it says of another that had it is not looked at: see `nextEntry`. */
export function makeRoomForFrames(id: number): void {
  if ((id + 1) * framesSize <= slab.length) return;
  const grown = new Int32Array(Math.max(2 * slab.length, (id + 1) * framesSize));
  grown.set(slab);
  slab = grown;
}

/** `connection.frames` counts to 15 and then on from 8: it tells which entry is next, and how many there are. */
function nextEntry(connection: Connection): number {
  const { id, frames } = connection;
  connection.frames = frames === 15 ? 8 : frames + 1;
  return id * framesSize + (frames & 7) * entryWords;
}

const memory = new DataView(turnMemory.buffer, turnMemory.byteOffset, turnMemory.length);

/** @param key the masking key of `bytes[start, end)`, which are what is there of the payload */
function fill(
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
  if (bytes === turnMemory && start + headSize <= turnMemory.length) {
    // What lies behind the payload comes along, and is not looked at.
    entries[at + headAt] = memory.getInt32(start, true) ^ key;
    if (size <= 4) return;
    entries[at + headAt + 1] = memory.getInt32(start + 4, true) ^ key;
    entries[at + headAt + 2] = memory.getInt32(start + 8, true) ^ key;
    entries[at + headAt + 3] = memory.getInt32(start + 12, true) ^ key;
    entries[at + headAt + 4] = memory.getInt32(start + 16, true) ^ key;
    return;
  }
  for (let i = 0; i < size; i += 4) {
    let word = 0;
    for (let j = 0; j < 4 && i + j < size; j++) word |= bytes[start + i + j]! << (8 * j);
    entries[at + headAt + (i >> 2)] = word ^ key;
  }
}

/** The connection that is being read, and where its frames begin in the turn's memory; `~start` for those of ours. */
let reading: Connection | undefined;
const noted = new Int32Array(entriesEach);
let notedCount = 0;

/** Until `endReading`, the bytes that come of this connection and those that go to it stay where they are. */
export function beginReading(connection: Connection): void {
  reading = connection;
  notedCount = 0;
}

export function endReading(): void {
  if (notedCount > 0) copyNoted();
  reading = undefined;
}

/** Copies those of the noted frames that are the last. Payloads are unmasked by now. */
function copyNoted(): void {
  if (reading === undefined) return;
  const { now } = reading.server;
  for (let i = Math.max(0, notedCount - entriesEach); i < notedCount; i++) {
    const start = noted[i & 7]!;
    if (start < 0) {
      fillSent(slab, nextEntry(reading), now, true, turnMemory, ~start, frameEnd(turnMemory, ~start));
    } else {
      const payload = payloadStart(turnMemory, start) + keySize;
      const end = frameEnd(turnMemory, start) + keySize;
      fill(slab, nextEntry(reading), now, turnMemory[start]!, end - payload, turnMemory, payload, end, 0);
    }
  }
  notedCount = 0;
}

/** A masking key. */
const keySize = 4;

/** The next entry is written at once: what was noted comes before it. */
function settle(connection: Connection): void {
  if (notedCount > 0 && connection === reading) copyNoted();
}

/** A frame begins to come in: as `frame` of `EndpointEvents`. */
export function rememberReceived(
  connection: Connection,
  header: FrameHeader,
  bytes: Uint8Array,
  start: number,
  payload: number,
  end: number,
): void {
  const { opcode, length } = header;
  const endpoint = connection.endpoint!;
  // Nearly every frame is a whole message, about to be unmasked where it lies.
  if (
    connection === reading &&
    bytes === turnMemory &&
    end - payload === length &&
    length <= endpoint.maxMessage &&
    endpoint.incoming === undefined &&
    opcode !== Opcode.Continuation
  ) {
    noted[notedCount++ & 7] = start;
  } else {
    settle(connection);
    const { now } = connection.server;
    fill(slab, nextEntry(connection), now, bytes[start]!, length, bytes, payload, end, header.key);
  }
  if (isTracing) traceReceived(connection, bytes[start]!, length, bytes, payload, end, header.key);
}

/** Bytes came in on a wire that has no frames. */
export function rememberBytes(connection: Connection, bytes: Uint8Array, start: number, end: number): void {
  if (start === end) return;
  const length = end - start;
  fill(slab, nextEntry(connection), connection.server.now, rawFlag, length, bytes, start, end, 0);
  if (isTracing) traceReceived(connection, undefined, length, bytes, start, end, 0);
}

function fillSent(
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
  fill(entries, at, now, what, end - payload, bytes, payload, end, 0);
}

/** One frame of ours, header and all, or bytes where there are no frames, will be sent. */
export function rememberSent(connection: Connection, bytes: Uint8Array, start: number, end: number): void {
  const isFramed = connection.endpoint !== undefined;
  if (connection === reading && isFramed && bytes === turnMemory) {
    noted[notedCount++ & 7] = ~start;
  } else {
    settle(connection);
    fillSent(slab, nextEntry(connection), connection.server.now, isFramed, bytes, start, end);
  }
  if (isTracing) traceSent(connection, isFramed, bytes, start, end);
}

/** The last frames of a burst, which go to many: they are looked at once, and copied for each. */
const prepared = new Int32Array(framesSize);
const starts = new Int32Array(entriesEach + 1);
let preparedCount = 0;

/** `bytes[start, end)` are frames of ours, or where there are none just bytes, that `rememberPrepared` will be about. */
export function prepareFrames(
  now: number,
  isFramed: boolean,
  bytes: Uint8Array,
  start: number,
  end: number,
): void {
  if (!isFramed) {
    preparedCount = 1;
    fillSent(prepared, 0, now, false, bytes, start, end);
    return;
  }
  let count = 0;
  for (let at = start; at < end; at = frameEnd(bytes, at)) starts[count++ % entriesEach] = at;
  preparedCount = Math.min(count, entriesEach);
  for (let i = 0; i < preparedCount; i++) {
    const at = starts[(count - preparedCount + i) % entriesEach]!;
    fillSent(prepared, i * entryWords, now, true, bytes, at, frameEnd(bytes, at));
  }
}

export function rememberPrepared(connection: Connection): void {
  settle(connection);
  let from = 0;
  for (let i = 0; i < preparedCount; i++) {
    const at = nextEntry(connection);
    for (let word = 0; word < entryWords; word++) slab[at + word] = prepared[from++]!;
  }
}

/** A remembered frame, and how many milliseconds ago it was. */
export interface RememberedFrame extends ShownFrame {
  readonly age: number;
}

/** What is remembered of a connection, oldest first. */
export function rememberedFrames(connection: Connection): RememberedFrame[] {
  settle(connection);
  const { id, frames, server } = connection;
  return framesIn(slab, id * framesSize, frames, server.now);
}

/** Copies a connection's entries; `framesIn` reads them. `into[at, at + framesSize)` is the caller's. */
export function copyFrames(connection: Connection, into: Int32Array, at: number): void {
  settle(connection);
  const from = connection.id * framesSize;
  for (let word = 0; word < framesSize; word++) into[at + word] = slab[from + word]!;
}

/** @param frames as `connection.frames`; @param now the server's, then */
export function framesIn(entries: Int32Array, at: number, frames: number, now: number): RememberedFrame[] {
  const shown: RememberedFrame[] = [];
  for (let i = Math.max(0, frames - entriesEach); i < frames; i++) {
    shown.push(frameAt(entries, at + (i & 7) * entryWords, now));
  }
  return shown;
}

function frameAt(entries: Int32Array, at: number, now: number): RememberedFrame {
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
