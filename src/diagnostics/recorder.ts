/**
 * The last frames of each connection, either way: what one wants to see when it has ended. They are always remembered, so
 * this is on the hot path: no allocation, no objects, a few stores into one block that is as large as the table. Of the
 * connection that is being read it is only noted where its frames lie; after that those are copied that are still among
 * the last.
 *
 * A connection has eight entries (frameEntry.ts), used in turn. Of a burst that fills them all each who got it has a
 * reference.
 */
import type { Frame } from '../protocol/websocket/endpoint.ts';
import { frameEnd } from '../protocol/websocket/frame.ts';
import { ioArena } from '../protocol/websocket/mask.ts';
import {
  copyEntry,
  entryWords,
  fillEntry,
  fillSent,
  fillWhole,
  frameAt,
  type RememberedFrame,
  rawFlag,
} from './frameEntry.ts';
import { isTracing, type Traced, traceReceived, traceSent } from './trace.ts';

/** What the recorder needs of a connection, and what it keeps in it. */
export interface Recorded extends Traced {
  readonly server: { readonly now: number };
  /** WebSocket's state, if that is spoken: only then are there frames. */
  readonly endpoint: { readonly maxMessage: number; readonly incoming: unknown } | undefined;
  /** How many of its last frames are recorded, and a burst before them. */
  frames: number;
  burst: Int32Array | undefined;
}

const entriesEach = 8;
/** Words that the entries of one connection take, where they lie together. */
export const framesSize = entriesEach * entryWords;

/**
 * First the first entry of each connection, by its id, then the second of each, and so on: as long as they say little,
 * little of it is touched. It begins with 4 MiB, of which the untouched part costs nothing.
 */
let capacity = 16_384;
let slab = new Int32Array(capacity * framesSize);

/** A connection has this id from now on. What it says of another that had it is not looked at: see `nextEntry`. */
export function makeRoomForFrames(id: number): void {
  if (id < capacity) return;
  const more = Math.max(2 * capacity, id + 1);
  const grown = new Int32Array(more * framesSize);
  for (let index = 0; index < entriesEach; index++) {
    const from = index * capacity * entryWords;
    grown.set(slab.subarray(from, from + capacity * entryWords), index * more * entryWords);
  }
  slab = grown;
  capacity = more;
}

function entryAt(id: number, index: number): number {
  return (index * capacity + id) * entryWords;
}

/** `connection.frames` counts to 15 and then on from 8: it tells which entry is next, and how many there are. */
function nextEntry(connection: Recorded): number {
  const { id, frames } = connection;
  if (frames < 15) {
    connection.frames = frames + 1;
  } else {
    connection.frames = 8;
    connection.burst = undefined;
  }
  return entryAt(id, frames & 7);
}

/** The connection that is being read, and where its frames begin in the turn's memory; `~start` for those of ours. */
let reading: Recorded | undefined;
const noted = new Int32Array(entriesEach);
let notedCount = 0;

/** Until `endReading`, the bytes that come of this connection and those that go to it stay where they are. */
export function beginReading(connection: Recorded): void {
  reading = connection;
  notedCount = 0;
}

export function endReading(): void {
  if (notedCount > 0) copyNoted();
  reading = undefined;
}

/** Copies those of the noted frames that are the last. Payloads are unmasked by now. */
function copyNoted(): void {
  const connection = reading;
  if (connection === undefined) return;
  const { now } = connection.server;
  const entries = slab;
  for (let i = Math.max(0, notedCount - entriesEach); i < notedCount; i++) {
    const start = noted[i & 7]!;
    fillWhole(entries, nextEntry(connection), now, start < 0, start < 0 ? ~start : start);
  }
  notedCount = 0;
}

/** The next entry is written at once: what was noted comes before it. */
function settle(connection: Recorded): void {
  if (notedCount > 0 && connection === reading) copyNoted();
}

/** Records the frame of which the header was just read, if there was one. */
export function recordReceived(connection: Recorded, frame: Frame): void {
  const { bytes, start, end, size, length, key } = frame;
  if (size === 0) return;
  const first = start - size;
  // Nearly every frame is a whole message, unmasked where it lies.
  if (bytes === ioArena && end - start === length && key === 0) {
    noted[notedCount++ & 7] = first;
  } else {
    settle(connection);
    const { now } = connection.server;
    fillEntry(slab, nextEntry(connection), now, bytes[first]!, length, bytes, start, end, key);
  }
  if (isTracing) traceReceived(connection, bytes[first]!, length, bytes, start, end, key);
}

/** Bytes came in on a wire that has no frames. */
export function rememberBytes(connection: Recorded, bytes: Uint8Array, start: number, end: number): void {
  if (start === end) return;
  const length = end - start;
  fillEntry(slab, nextEntry(connection), connection.server.now, rawFlag, length, bytes, start, end, 0);
  if (isTracing) traceReceived(connection, undefined, length, bytes, start, end, 0);
}

/** One frame of ours, header and all, or bytes where there are no frames, will be sent. */
export function rememberSent(connection: Recorded, bytes: Uint8Array, start: number, end: number): void {
  const isFramed = connection.endpoint !== undefined;
  if (connection === reading && isFramed && bytes === ioArena) {
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
/** What many would have eight copies of, each has a reference to. */
let shared: Int32Array | undefined;

/**
 * `bytes[start, end)` are frames of ours, or where there are none just bytes, that `rememberPrepared` will be about.
 * @param members how many it will be called for, at most
 */
export function prepareFrames(
  now: number,
  isFramed: boolean,
  bytes: Uint8Array,
  start: number,
  end: number,
  members: number,
): void {
  shared = undefined;
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
  if (preparedCount === entriesEach && members > entriesEach) shared = prepared.slice();
}

export function rememberPrepared(connection: Recorded): void {
  settle(connection);
  if (shared !== undefined) {
    connection.burst = shared;
    connection.frames = 0;
    return;
  }
  for (let i = 0; i < preparedCount; i++) copyEntry(prepared, i * entryWords, slab, nextEntry(connection));
}

/** What is remembered of a connection, oldest first. */
export function rememberedFrames(connection: Recorded): RememberedFrame[] {
  const entries = new Int32Array(framesSize);
  return framesIn(entries, 0, copyFrames(connection, entries, 0), connection.server.now);
}

/**
 * Copies a connection's entries, oldest first; `framesIn` reads them. `into[at, at + framesSize)` is the caller's.
 * @returns how many there are
 */
export function copyFrames(connection: Recorded, into: Int32Array, at: number): number {
  settle(connection);
  const { id, frames, burst } = connection;
  const own = Math.min(frames, entriesEach);
  const older = burst === undefined ? 0 : entriesEach - own;
  let to = at;
  for (let i = entriesEach - older; i < entriesEach; i++, to += entryWords) {
    copyEntry(burst!, i * entryWords, into, to);
  }
  for (let i = frames - own; i < frames; i++, to += entryWords) copyEntry(slab, entryAt(id, i & 7), into, to);
  return older + own;
}

/** @param count of the entries that `copyFrames` copied to `at`; @param now the server's, then */
export function framesIn(entries: Int32Array, at: number, count: number, now: number): RememberedFrame[] {
  return Array.from({ length: count }, (_, i) => frameAt(entries, at + i * entryWords, now));
}
