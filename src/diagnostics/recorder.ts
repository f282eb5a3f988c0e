/**
 * The recorder keeps the last eight frames of each connection, in either direction, so that `why` can show how a
 * connection ended.
 *
 * It runs for every frame, so it allocates nothing: an entry is eight words of one array. While a connection is being
 * read, the recorder only notes where the frames lie in the I/O arena; `commitFrames` copies those that are still among the
 * last eight. `--recorder off` turns it off.
 *
 *     entry   0   time (server.now)
 *             1   first byte of the frame | flags | bytes of head << 16
 *             2   length of the payload
 *             3…  head: the first twenty bytes of the payload, unmasked
 */
import type { ShownFrame } from '../explain/frameLine.ts';
import { isHeaderRefused } from '../explain/refusals.ts';
import type { ByteRange } from '../protocol/buffers.ts';
import type { ControlFrame, Frame } from '../protocol/websocket/endpoint.ts';
import { frameEnd, payloadStart } from '../protocol/websocket/frame.ts';
import { ioArena } from '../protocol/websocket/mask.ts';
import { type Tapped, type Taps, tapRead, tapRefused, tapSent } from './tap.ts';

const entryWords = 8;
const headWords = 5;
const headSize = 4 * headWords;
const headAt = entryWords - headWords;

/** Flags in an entry's second word. */
const sentFlag = 0x100;
const unframedFlag = 0x200;
/** The header is invalid: the head has the first bytes of the frame, not of its payload. */
const refusedFlag = 0x400;
const headShift = 16;

const entriesEach = 8;
/** The words that the entries of one connection take, when they are copied side by side. */
export const framesWords = entriesEach * entryWords;

/** A server's recorder. */
export interface Recorder {
  readonly isOn: boolean;
  /** Ids below this have entries. */
  capacity: number;
  /**
   * The first entry of every connection, by id, then the second of every connection, and so on: while connections say
   * little, most pages are never touched and cost nothing.
   */
  entries: Int32Array;
}

export function newRecorder(isOn: boolean): Recorder {
  const capacity = isOn ? 16_384 : 0;
  return { isOn, capacity, entries: new Int32Array(capacity * framesWords) };
}

/** The part of a connection that the recorder reads and keeps. */
export interface Recorded extends Tapped {
  readonly server: { readonly now: number; readonly recorder: Recorder; readonly taps: Taps };
  /**
   * How many of its entries are in use: counts to 15, then from 8 again, so that the lowest three bits are the next entry.
   * The entries of the id's previous owner are never read.
   */
  frameCount: number;
  /** A fan-out that filled all eight entries, before these frames: its recipients share one copy. */
  burst: Int32Array | undefined;
}

/** Frames that many connections receive. */
export interface Fanout {
  readonly chunk: { readonly bytes: Uint8Array };
  readonly start: number;
  readonly end: number;
  /** The entries of its last eight frames, once they were recorded. */
  entries: Int32Array | undefined;
}

/** Records the frame whose header `nextEvent` has just read, if it read one. */
export function recordReceived(connection: Recorded, frame: Frame): void {
  const { bytes, start, end, size, length, key } = frame;
  if (size === 0) return;
  const { recorder, taps } = connection.server;
  if (recorder.isOn) {
    if (bytes === ioArena && key === 0 && end - start === length) {
      if (connection !== reading) {
        reading = connection;
        notedCount = 0;
      }
      noted[notedCount++ & 7] = start - size;
    } else {
      recordAtOnce(connection, bytes[start - size]!, frame);
    }
  }
  if (taps.isOn) tapRead(connection, bytes[start - size], frame);
}

/**
 * Records that the server refuses a frame: the one at `start`, whose header is invalid, or the last recorded one.
 * @param headerSize the size of the last header; 0 if it is invalid
 */
export function recordRefusedFrame(
  connection: Recorded,
  { bytes, start, end }: ByteRange,
  headerSize: number,
  { code, reason, option }: Pick<ControlFrame, 'code' | 'reason' | 'option'>,
): void {
  const { recorder, taps } = connection.server;
  const isHeader = isHeaderRefused(code, headerSize);
  const refused = bytes.subarray(start, isHeader ? end : start);
  if (recorder.isOn && isHeader) {
    const piece = { bytes: refused, start: 0, end: refused.length, length: refused.length, key: 0 };
    recordAtOnce(connection, refusedFlag | refused[0]!, piece);
  }
  if (taps.isOn) tapRefused(connection, { code, reason, option, bytes: refused });
}

/** Records bytes received on a wire without frames. */
export function recordBytes(connection: Recorded, bytes: Uint8Array, start: number, end: number): void {
  if (start === end) return;
  const { recorder, taps } = connection.server;
  const piece = { bytes, start, end, length: end - start, key: 0 };
  if (recorder.isOn) recordAtOnce(connection, unframedFlag, piece);
  if (taps.isOn) tapRead(connection, undefined, piece);
}

/** Records one frame that is sent or, on a wire without frames, bytes. */
export function recordSent(connection: Recorded, bytes: Uint8Array, start: number, end: number): void {
  const { recorder, taps } = connection.server;
  if (connection === reading && bytes === ioArena) {
    noted[notedCount++ & 7] = ~start;
  } else if (recorder.isOn) {
    const isFramed = connection.endpoint !== undefined;
    commitFramesOf(connection);
    const at = nextEntry(connection);
    fillSent(recorder.entries, at, connection.server.now, isFramed, { bytes, start, end });
  }
  if (taps.isOn) tapSent(connection, bytes, start, end);
}

/** @param firstAndFlags the frame's first byte, or `unframedFlag` */
function recordAtOnce(connection: Recorded, firstAndFlags: number, payload: RecordedPayload): void {
  commitFramesOf(connection);
  const { recorder, now } = connection.server;
  const at = nextEntry(connection);
  fillEntry(recorder.entries, at, now, firstAndFlags, payload);
}

/** Records the frames of a fan-out for one of its recipients. They are read once, and copied for each. */
export function recordFanout(connection: Recorded, fanout: Fanout): void {
  const { recorder, taps } = connection.server;
  const { chunk, start, end } = fanout;
  if (recorder.isOn) {
    commitFramesOf(connection);
    fanout.entries ??= fanoutEntries(connection, chunk.bytes, start, end);
    const { entries } = fanout;
    if (entries.length === framesWords) {
      connection.burst = entries;
      connection.frameCount = 0;
    } else {
      for (let from = 0; from < entries.length; from += entryWords) {
        const at = nextEntry(connection);
        copyEntry(entries, from, recorder.entries, at);
      }
    }
  }
  if (taps.isOn) tapSent(connection, chunk.bytes, start, end);
}

function fanoutEntries(
  { endpoint, server }: Recorded,
  bytes: Uint8Array,
  start: number,
  end: number,
): Int32Array {
  const isFramed = endpoint !== undefined;
  const starts: number[] = [];
  for (let at = start; at < end; at = isFramed ? frameEnd(bytes, at) : end) starts.push(at);
  const last = starts.slice(-entriesEach);
  const entries = new Int32Array(last.length * entryWords);
  for (const [i, from] of last.entries()) {
    const range = { bytes, start: from, end: last[i + 1] ?? end };
    fillSent(entries, i * entryWords, server.now, isFramed, range);
  }
  return entries;
}

/** The connection that is being read, and where its frames begin in the I/O arena: `start`, or `~start` of those sent. */
let reading: Recorded | undefined;
const noted = new Int32Array(entriesEach);
let notedCount = 0;

/** Called when a connection's input has been read: copies the last of its noted frames, whose bytes are about to be overwritten. */
export function commitFrames(): void {
  const connection = reading;
  if (connection === undefined) return;
  reading = undefined;
  const { id, server } = connection;
  const { recorder, now } = server;
  if (id >= recorder.capacity) grow(recorder, id);
  const { entries, capacity } = recorder;
  let { frameCount } = connection;
  for (let i = Math.max(0, notedCount - entriesEach); i < notedCount; i++) {
    // As in `nextEntry` and `fillEntry`, with everything in local variables: this runs for every message.
    const at = ((frameCount & 7) * capacity + id) * entryWords;
    const mark = noted[i & 7]!;
    const isSent = mark < 0;
    const start = isSent ? ~mark : mark;
    let length = ioArena[start + 1]! & 0x7f;
    let payload = start + 2;
    if (length >= 126) {
      payload = payloadStart(ioArena, start);
      length = frameEnd(ioArena, start) - payload;
    }
    if (!isSent) payload += keySize;
    const firstAndFlags = ioArena[start]! | (isSent ? sentFlag : 0);
    if (payload + headSize > ioArena.length) {
      const range = { bytes: ioArena, start: payload, end: payload + length, length, key: 0 };
      fillEntry(entries, at, now, firstAndFlags, range);
    } else {
      entries[at] = now;
      entries[at + 1] = firstAndFlags | (Math.min(headSize, length) << headShift);
      entries[at + 2] = length;
      copyHead(entries, at, payload, length, 0);
    }
    if (frameCount < 15) {
      frameCount++;
    } else {
      frameCount = 8;
      connection.burst = undefined;
    }
  }
  connection.frameCount = frameCount;
}

/** Keeps the order: frames that were noted come before an entry that is written at once. */
function commitFramesOf(connection: Recorded): void {
  if (connection === reading) commitFrames();
}

/** @returns the index of the entry to write. This may replace `recorder.entries`, so it is called first. */
function nextEntry(connection: Recorded): number {
  const { id, frameCount, server } = connection;
  const { recorder } = server;
  if (id >= recorder.capacity) grow(recorder, id);
  if (frameCount < 15) {
    connection.frameCount = frameCount + 1;
  } else {
    connection.frameCount = 8;
    connection.burst = undefined;
  }
  return ((frameCount & 7) * recorder.capacity + id) * entryWords;
}

function grow(recorder: Recorder, id: number): void {
  const { capacity, entries } = recorder;
  const more = Math.max(2 * capacity, id + 1);
  const grown = new Int32Array(more * framesWords);
  for (let index = 0; index < entriesEach; index++) {
    const from = index * capacity * entryWords;
    grown.set(entries.subarray(from, from + capacity * entryWords), index * more * entryWords);
  }
  recorder.entries = grown;
  recorder.capacity = more;
}

/** The part of a payload that is there, masked with `key`, and the length of all of it. */
export interface RecordedPayload extends ByteRange {
  readonly length: number;
  readonly key: number;
}

/** @param firstAndFlags the frame's first byte, and flags */
function fillEntry(
  entries: Int32Array,
  at: number,
  now: number,
  firstAndFlags: number,
  payload: RecordedPayload,
): void {
  const { bytes, start, end, length, key } = payload;
  const size = Math.min(headSize, end - start);
  entries[at] = now;
  entries[at + 1] = firstAndFlags | (size << headShift);
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

function fillSent(
  entries: Int32Array,
  at: number,
  now: number,
  isFramed: boolean,
  { bytes, start, end }: ByteRange,
): void {
  const payload = isFramed ? payloadStart(bytes, start) : start;
  const firstAndFlags = sentFlag | (isFramed ? bytes[start]! : unframedFlag);
  fillEntry(entries, at, now, firstAndFlags, { bytes, start: payload, end, length: end - payload, key: 0 });
}

const keySize = 4;

const arenaView = new DataView(ioArena.buffer, ioArena.byteOffset, ioArena.length);

/** Copies a head from the I/O arena. The bytes after a short payload are copied too, and never shown. */
function copyHead(entries: Int32Array, at: number, payload: number, length: number, key: number): void {
  entries[at + headAt] = arenaView.getInt32(payload, true) ^ key;
  if (length <= 4) return;
  entries[at + headAt + 1] = arenaView.getInt32(payload + 4, true) ^ key;
  entries[at + headAt + 2] = arenaView.getInt32(payload + 8, true) ^ key;
  entries[at + headAt + 3] = arenaView.getInt32(payload + 12, true) ^ key;
  entries[at + headAt + 4] = arenaView.getInt32(payload + 16, true) ^ key;
}

function copyEntry(entries: Int32Array, from: number, into: Int32Array, at: number): void {
  // Unrolled: a loop takes three times as long.
  into[at] = entries[from]!;
  into[at + 1] = entries[from + 1]!;
  into[at + 2] = entries[from + 2]!;
  into[at + 3] = entries[from + 3]!;
  into[at + 4] = entries[from + 4]!;
  into[at + 5] = entries[from + 5]!;
  into[at + 6] = entries[from + 6]!;
  into[at + 7] = entries[from + 7]!;
}

/**
 * Copies a connection's entries, oldest first, to `into[at, at + framesWords)`.
 * @returns how many there are
 */
export function copyFrames(connection: Recorded, into: Int32Array, at: number): number {
  commitFramesOf(connection);
  const { id, frameCount, burst, server } = connection;
  const { entries, capacity } = server.recorder;
  const own = Math.min(frameCount, entriesEach);
  const older = burst === undefined ? 0 : entriesEach - own;
  let to = at;
  for (let i = entriesEach - older; i < entriesEach; i++, to += entryWords) {
    copyEntry(burst!, i * entryWords, into, to);
  }
  for (let i = frameCount - own; i < frameCount; i++, to += entryWords) {
    copyEntry(entries, ((i & 7) * capacity + id) * entryWords, into, to);
  }
  return older + own;
}

/** A recorded frame, and how many milliseconds ago it was. */
export interface RecordedFrame extends ShownFrame {
  readonly age: number;
  /** The header is invalid: `head` has the first bytes of the frame. */
  readonly isRefused: boolean;
}

/** Reads `count` entries that `copyFrames` copied to `at`. @param now `server.now` at that time */
export function readFrames(entries: Int32Array, at: number, count: number, now: number): RecordedFrame[] {
  return Array.from({ length: count }, (_, i) => readEntry(entries, at + i * entryWords, now));
}

function readEntry(entries: Int32Array, at: number, now: number): RecordedFrame {
  const firstAndFlags = entries[at + 1]!;
  const head = Buffer.alloc(headSize);
  for (let i = 0; i < headWords; i++) head.writeInt32LE(entries[at + headAt + i]!, 4 * i);
  const isSent = (firstAndFlags & sentFlag) !== 0;
  const isFrame = (firstAndFlags & unframedFlag) === 0;
  return {
    direction: isSent ? '>' : '<',
    first: isFrame ? firstAndFlags & 0xff : undefined,
    // RFC 6455 §5.1: the server refuses a frame without a mask.
    isMasked: isFrame && !isSent,
    isRefused: (firstAndFlags & refusedFlag) !== 0,
    length: entries[at + 2]! >>> 0,
    head: head.subarray(0, firstAndFlags >>> headShift),
    age: (now - entries[at]!) >>> 0,
  };
}
