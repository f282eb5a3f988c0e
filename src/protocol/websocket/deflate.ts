/**
 * permessage-deflate, RFC 7692: a message's payload as raw DEFLATE, less the four bytes every flush ends in.
 *
 * A small message is one call into zlib. A large one is inflated in slices, a call each, so that the owner of the
 * connection can do something else in between. Context takeover (§7.1.1) means no more than that a message may refer back
 * to the bytes of those before it: so what is kept between messages is those bytes, at most a window of them, and given to
 * zlib as a preset dictionary. A connection that has said nothing keeps nothing, and zlib's own state (48 KiB to inflate, a
 * quarter of a megabyte to deflate) exists only while a message is in progress.
 */
import { kMaxLength } from 'node:buffer';
import {
  constants,
  createDeflateRaw,
  createInflateRaw,
  type DeflateRaw,
  deflateRawSync,
  type InflateRaw,
  inflateRawSync,
  type ZlibOptions,
} from 'node:zlib';
import { enlarge, giveBuffer } from '../buffers.ts';
import { CloseCode, ProtocolError } from '../codes.ts';
import { inflateSlice, maxDeflateStreams } from '../limits.ts';
import { workUnits } from '../workUnits.ts';

/** One direction's state, for what we receive. */
export interface Inflater {
  /** What the peer's next message may refer back to: empty without context takeover. */
  window: Buffer;
  readonly keepsContext: boolean;
  readonly windowBits: number;
}

/** One direction's state, for what we send. */
export interface Deflater {
  window: Buffer;
  readonly keepsContext: boolean;
  readonly windowBits: number;
}

const noWindow = Buffer.alloc(0);

/** @param windowBits 8 to 15, as negotiated for this direction */
export function newDeflateState(keepsContext: boolean, windowBits: number): Inflater & Deflater {
  return { window: noWindow, keepsContext, windowBits };
}

/** RFC 7692 §7.2.1: what every flush ends in is removed from what is sent. */
const flushEnd = 4;

/**
 * RFC 7692 §7.2.2: appended to what is received, before it is inflated: what the sender removed, and then an empty last
 * block, by whose absence zlib can tell that a message was cut short.
 */
const inflateEnd = Buffer.from([0x00, 0x00, 0xff, 0xff, 0x03, 0x00]);

/** The room that a buffer given to `beginInflation` has behind the message. */
export const inflateRoom = inflateEnd.length;

/** zlib writes its output in chunks, which are larger for larger messages, so that a message has few of them. */
function chunkSize(expected: number): number {
  return Math.min(Math.max(1024, expected), 256 * 1024);
}

/** A message on its way through zlib. */
export interface Inflation {
  readonly inflater: Inflater;
  /** The message, `compressed[0, length)`, and behind it `inflateEnd`. */
  readonly compressed: Buffer;
  readonly length: number;
  readonly maxLength: number;
  /** How much of both zlib has taken. */
  at: number;
  /** A last block (BFINAL) inside the message ends a stream: which one this is, and zlib's state of it. */
  streams: number;
  stream: SlicedStream | undefined;
  /** The inflated bytes: the first `size` of this buffer. */
  output: Buffer;
  size: number;
}

/**
 * Begins to inflate the first `length` bytes of `compressed`, which has `inflateRoom` more. The buffer is lent until the
 * last byte came out.
 */
export function beginInflation(
  inflater: Inflater,
  compressed: Buffer,
  length: number,
  maxLength: number,
): Inflation {
  inflateEnd.copy(compressed, length);
  const rest = { at: 0, streams: 0, stream: undefined, output: noWindow, size: 0 };
  return { inflater, compressed, length, maxLength, ...rest };
}

/**
 * Goes on with a message, for one call into zlib: for about `inflateSlice` bytes, in or out.
 * @returns whether it is whole: then `output[0, size)` are the caller's
 * @throws ProtocolError 1009 as soon as more than `maxLength` bytes have come out, 1007 for what is no DEFLATE data
 */
export function inflateSome(inflation: Inflation): boolean {
  // §7.2.3.6 makes an empty message one byte; some senders make it none, which can mean nothing else.
  if (inflation.length === 0) return true;
  const { at, size } = inflation;
  try {
    if (isStreamOver(inflation) && isMessageOver(inflation)) {
      const { inflater } = inflation;
      inflater.window = inflater.keepsContext ? windowAfter(inflation) : noWindow;
      return true;
    }
    return false;
  } catch (error) {
    endInflation(inflation);
    throw error;
  } finally {
    // After an error nothing is left to count.
    chargeZlib(Math.max(0, (inflation.at - at) >> 5) + Math.max(0, (inflation.size - size) >> 6));
  }
}

/** Next to zlib all else is fast: a call takes as long as so many messages. Bytes cost as measured with text. */
const zlibCall = 128;

function chargeZlib(units: number): void {
  workUnits.spent += zlibCall + units;
}

/** One call into zlib. @returns whether it came to the end of a stream */
function isStreamOver(inflation: Inflation): boolean {
  if (inflation.stream === undefined) {
    if (inflation.streams++ === maxDeflateStreams) throw notDeflate();
    if (!slices.areThere) return inflateWhole(inflation);
    inflation.stream = openStream(windowAfter(inflation));
  }
  const { stream, compressed, length, maxLength, at, size } = inflation;
  if (inflation.output.length === size) makeRoom(inflation);
  const { output } = inflation;
  const total = length + inflateEnd.length;
  // A block of a dozen bytes can be as much work as a hundred times as many: of input, fewer bytes.
  const input = Math.min(total - at, inflateSlice / 4);
  const room = Math.min(output.length - size, inflateSlice);
  // With Z_FINISH it is an error that the input ends before the stream.
  const isLast = at + input === total;
  const flush = isLast ? constants.Z_FINISH : constants.Z_NO_FLUSH;
  stream.handle.writeSync(flush, compressed, at, input, output, size, room);
  if (stream.state.destroyed) throw notDeflate();
  const [roomLeft = 0, inputLeft = 0] = stream.left;
  inflation.at += input - inputLeft;
  inflation.size += room - roomLeft;
  if (inflation.size > maxLength) throw tooLarge(maxLength);
  // zlib stops where its output is full, its input is used up, or the stream is over.
  return roomLeft > 0 && (inputLeft > 0 || isLast);
}

/** The same where there are no slices: the rest of the stream, whatever time it takes. */
function inflateWhole(inflation: Inflation): true {
  const { compressed, length, maxLength, at, size, output } = inflation;
  const window = windowAfter(inflation);
  try {
    const { buffer, engine } = inflateRawSync(compressed.subarray(at, length + inflateEnd.length), {
      ...inflateOptions(window),
      chunkSize: chunkSize(4 * length),
      // zlib takes no bound of 0.
      maxOutputLength: Math.min(Math.max(1, maxLength - size), kMaxLength),
      info: true,
    }) as unknown as { buffer: Buffer; engine: { bytesWritten: number } };
    inflation.at += engine.bytesWritten;
    inflation.output = Buffer.concat([output.subarray(0, size), buffer]);
    inflation.size += buffer.length;
  } catch (error) {
    throw (error as NodeJS.ErrnoException).code === 'ERR_BUFFER_TOO_LARGE'
      ? tooLarge(maxLength)
      : notDeflate();
  }
  if (inflation.size > maxLength) throw tooLarge(maxLength);
  return true;
}

/** A stream is over. @returns whether that is the end of the message, or another one follows, which may refer back to it */
function isMessageOver(inflation: Inflation): boolean {
  const { length, at } = inflation;
  closeStream(inflation);
  // RFC 7692 §7.2.3.4: a sender adds an empty block after a final one, so the message has a tail to remove. A sender that
  // finishes the stream instead (zlib's Z_FINISH) adds nothing: the message is whole.
  return at === length || at === length + inflateEnd.length;
}

/** Doubles; to one byte more than what is allowed, as that byte is how too much is noticed. */
function makeRoom(inflation: Inflation): void {
  const { output, size, length, maxLength } = inflation;
  const wanted = Math.max(2 * output.length, chunkSize(Math.min(4 * length, inflateSlice)));
  inflation.output = enlarge(output, size, Math.min(wanted, maxLength + 1, kMaxLength));
}

/** Starts over, later: until then it takes no memory but the compressed message. */
export function rewindInflation(inflation: Inflation): void {
  endInflation(inflation);
  inflation.at = 0;
  inflation.streams = 0;
}

/** Nobody wants the message any more: zlib's state is free at once. */
export function endInflation(inflation: Inflation): void {
  closeStream(inflation);
  giveBuffer(inflation.output);
  inflation.output = noWindow;
  inflation.size = 0;
}

/** The message was delivered, or is not wanted any more: its buffers serve others. */
export function dropInflation(inflation: Inflation): void {
  endInflation(inflation);
  giveBuffer(inflation.compressed);
}

/** How much memory it takes, zlib's state included. */
export function inflationSize({ compressed, output, stream }: Inflation): number {
  return compressed.length + output.length + (stream === undefined ? 0 : inflateState);
}

/** zlib's documentation: 32 KiB for the window, about 7 KiB, and what Node adds. */
const inflateState = 48 * 1024;

/**
 * What a zlib stream of Node's is made of. Its documented calls either work in the thread pool or take a whole stream at
 * once; the call below both takes a slice. It is not documented, but the same since Node 9, and much used for this purpose
 * (by pngjs).
 */
interface SlicedStream {
  readonly handle: {
    writeSync(
      flush: number,
      input: Uint8Array,
      inputStart: number,
      inputSize: number,
      output: Uint8Array,
      outputStart: number,
      outputSize: number,
    ): void;
    close(): void;
  };
  /** What the last call left over: room in the output, bytes of the input. */
  readonly left: Uint32Array;
  /** Destroyed, and the handle closed, by an error. */
  readonly state: { readonly destroyed: boolean };
}

function openStream(window: Buffer): SlicedStream {
  return inSlices(createInflateRaw({ ...inflateOptions(window), chunkSize: unusedOutput }));
}

/** Node gives each stream a buffer for its output, which is not used here: the smallest it takes. */
const unusedOutput = constants.Z_MIN_CHUNK;

function inSlices(state: InflateRaw | DeflateRaw): SlicedStream {
  // The error is noticed by `destroyed`.
  state.on('error', ignore);
  const { _handle: handle, _writeState: left } = state as unknown as {
    _handle: SlicedStream['handle'];
    _writeState: SlicedStream['left'];
  };
  return { handle, left, state };
}

function ignore(): void {}

/** What a peer may not use it cannot refer to: the whole window serves for any that was negotiated. */
function inflateOptions(window: Buffer): ZlibOptions {
  return window.length > 0 ? { windowBits: 15, dictionary: window } : { windowBits: 15 };
}

function closeStream(inflation: Inflation): void {
  const { stream } = inflation;
  inflation.stream = undefined;
  if (stream !== undefined && !stream.state.destroyed) stream.handle.close();
}

/** Whether this Node can inflate in slices: an empty last block is taken whole, and leaves all the room. */
export const slices = { areThere: canInflateInSlices() };

function canInflateInSlices(): boolean {
  try {
    const { handle, left } = openStream(noWindow);
    handle.writeSync(constants.Z_FINISH, Buffer.from([3, 0]), 0, 2, Buffer.alloc(8), 0, 8);
    handle.close();
    return left[0] === 8 && left[1] === 0;
  } catch {
    return false;
  }
}

function tooLarge(maxLength: number): ProtocolError {
  return new ProtocolError(CloseCode.MessageTooBig, `a message is at most ${maxLength} bytes here`);
}

function notDeflate(): ProtocolError {
  return new ProtocolError(CloseCode.InvalidPayload, 'a compressed message that is not valid DEFLATE data');
}

/** @returns the payload of a compressed message (RSV1 set), the caller's */
export function deflateMessage(deflater: Deflater, bytes: Uint8Array, start: number, end: number): Buffer {
  const payload = bytes.subarray(start, end);
  const deflated = deflateRawSync(payload, {
    // What is large is compressed the fast way: it holds the others up.
    ...deflateOptions(deflater, payload.length > 64 * 1024 ? 1 : 3),
    finishFlush: constants.Z_SYNC_FLUSH,
    chunkSize: chunkSize(payload.length),
  });
  chargeZlib(payload.length >>> 3);
  noteDeflated(deflater, bytes, start, end);
  return deflated.subarray(0, deflated.length - flushEnd);
}

function deflateOptions({ window, windowBits }: Deflater, level: number): ZlibOptions {
  // zlib makes no raw stream with a window of 2^8; with 2^9 it refers back 250 bytes at most (it keeps 262 ahead), so
  // what it writes is right for a window of 256, too.
  const options = { windowBits: Math.max(9, windowBits), level };
  return window.length > 0 ? { ...options, dictionary: window } : options;
}

/**
 * The same for a large message. How long that takes depends on the data, by a factor of fifty: what compresses well is
 * fast, and the size of the output is what takes time.
 * @param most bytes that may come out
 * @returns undefined if more would, or if this Node has no slices: then it is as if it had not been tried
 */
export function deflateLarge(
  deflater: Deflater,
  bytes: Uint8Array,
  start: number,
  end: number,
  most: number,
): Buffer | undefined {
  if (!slices.areThere) return undefined;
  const stream = inSlices(createDeflateRaw({ ...deflateOptions(deflater, 1), chunkSize: unusedOutput }));
  const { handle, left, state } = stream;
  const pieces: Buffer[] = [];
  let piece = Buffer.allocUnsafe(deflateSlice);
  let size = 0;
  let at = start;
  try {
    for (;;) {
      const input = Math.min(end - at, deflateSlice);
      const flush = at + input === end ? constants.Z_SYNC_FLUSH : constants.Z_NO_FLUSH;
      handle.writeSync(flush, bytes, at, input, piece, size, deflateSlice - size);
      const [roomLeft = 0, inputLeft = 0] = left;
      size = deflateSlice - roomLeft;
      at += input - inputLeft;
      if (at === end && roomLeft > 0) break;
      if (state.destroyed) return undefined;
      if (roomLeft > 0) continue;
      pieces.push(piece);
      if (pieces.length * deflateSlice >= most) return undefined;
      piece = Buffer.allocUnsafe(deflateSlice);
      size = 0;
    }
  } finally {
    if (!state.destroyed) handle.close();
    chargeZlib(((at - start) >>> 8) + ((pieces.length * deflateSlice + size) >>> 3));
  }
  noteDeflated(deflater, bytes, start, end);
  const deflated = Buffer.concat([...pieces, piece.subarray(0, size)]);
  return deflated.subarray(0, deflated.length - flushEnd);
}

/** Bytes, in or out. */
const deflateSlice = 64 * 1024;

/** A message was sent compressed, by this deflater or for many at once: the next one may refer back to it. */
export function noteDeflated(deflater: Deflater, bytes: Uint8Array, start: number, end: number): void {
  if (deflater.keepsContext) deflater.window = windowWith(deflater, bytes.subarray(start, end));
}

/** What may be referred to behind what has come out so far. */
function windowAfter({ inflater, output, size }: Inflation): Buffer {
  return size === 0 ? inflater.window : windowWith(inflater, output.subarray(0, size));
}

/** The end of everything that went by: `2^windowBits` bytes are all that can be referred to. */
function windowWith({ window, windowBits }: Inflater | Deflater, bytes: Uint8Array): Buffer {
  const size = 2 ** windowBits;
  if (bytes.length >= size) return Buffer.from(bytes.subarray(bytes.length - size));
  return Buffer.concat([window.subarray(Math.max(0, window.length + bytes.length - size)), bytes]);
}
