/**
 * permessage-deflate, RFC 7692: a message's payload as raw DEFLATE data, without the four bytes at the end of every flush.
 *
 * A small message takes one call into zlib. A large one is inflated in slices, one call each, so that other connections can
 * be served in between. With context takeover (§7.1.1), a message may refer back to the bytes of earlier ones. So the last
 * window of those bytes is all that a connection keeps between messages; zlib gets it as a preset dictionary. zlib's own
 * state (48 KiB to inflate, a quarter of a megabyte to deflate) exists only while a message is in progress.
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
import { CloseCode, ProtocolError, type Role } from '../codes.ts';
import { inflateSlice, maxDeflateStreams } from '../limits.ts';
import { workUnits } from '../workUnits.ts';
import type { DeflateParameters } from './extensions.ts';

/** What one direction of a connection, sending or receiving, keeps between messages. */
export interface DeflateContext {
  /** The bytes that the next message may refer back to. Empty without context takeover. */
  window: Buffer;
  readonly keepsContext: boolean;
  readonly windowBits: number;
}

const noWindow = Buffer.alloc(0);

/** @param windowBits 8 to 15, as negotiated for this direction */
export function newDeflateContext(keepsContext: boolean, windowBits: number): DeflateContext {
  return { window: noWindow, keepsContext, windowBits };
}

/** The context for the messages of one side, with the negotiated parameters; undefined without compression. */
export function newContextOf(
  deflate: DeflateParameters | undefined,
  sender: Role,
): DeflateContext | undefined {
  if (deflate === undefined) return undefined;
  return sender === 'client'
    ? newDeflateContext(!deflate.clientNoContextTakeover, deflate.clientMaxWindowBits)
    : newDeflateContext(!deflate.serverNoContextTakeover, deflate.serverMaxWindowBits);
}

/** RFC 7692 §7.2.1 [7692-7.2.1-1, 7692-7.2.3-3]: the four bytes at the end of a flush are not sent. */
const flushEnd = 4;

/**
 * RFC 7692 §7.2.2 [7692-7.2.2-1]: a received message is inflated with the four bytes that the sender removed. The empty
 * last block after them ends the stream: without it, zlib could not tell a whole message from a truncated one.
 */
const inflateEnd = Buffer.from([0x00, 0x00, 0xff, 0xff, 0x03, 0x00]);

/** The free bytes after the message that `beginInflation` needs. */
export const inflateRoom = inflateEnd.length;

/** The size of zlib's output chunks: large for large messages, so that each has few. */
function chunkSize(expected: number): number {
  return Math.min(Math.max(1024, expected), 256 * 1024);
}

/** A message that is being inflated. */
export interface Inflation {
  readonly inflater: DeflateContext;
  /** `compressed[0, length)` is the message; `inflateEnd` follows. */
  readonly compressed: Buffer;
  readonly length: number;
  readonly maxLength: number;
  /** The number of bytes that zlib has read. */
  at: number;
  /** A message may consist of several DEFLATE streams (BFINAL ends one): how many have begun, and the current one. */
  streams: number;
  stream: SlicedStream | undefined;
  /** The inflated bytes: the first `size` of this buffer. */
  output: Buffer;
  size: number;
}

/** Begins to inflate the first `length` bytes of `compressed`, which has `inflateRoom` more and is in use until the end. */
export function beginInflation(
  inflater: DeflateContext,
  compressed: Buffer,
  length: number,
  maxLength: number,
): Inflation {
  inflateEnd.copy(compressed, length);
  const rest = { at: 0, streams: 0, stream: undefined, output: noWindow, size: 0 };
  return { inflater, compressed, length, maxLength, ...rest };
}

/**
 * Inflates one slice: one call into zlib, of about `inflateSlice` bytes of input or output.
 * @returns whether the message is complete: `output[0, size)`
 * @throws ProtocolError 1009 as soon as the output exceeds `maxLength`, 1007 for data that is not DEFLATE
 */
export function inflateSome(inflation: Inflation): boolean {
  // RFC 7692 §7.2.3.6: an empty message is one byte. Some senders send none, which is not ambiguous.
  if (inflation.length === 0) return true;
  const { at, size } = inflation;
  try {
    if (inflateStep(inflation) && finishStream(inflation)) {
      const { inflater } = inflation;
      // RFC 7692 §7.2.2 [7692-7.2.2-2, 7692-7.2.2-3]: the next message may refer to this one only with context takeover.
      inflater.window = inflater.keepsContext ? windowAfter(inflation) : noWindow;
      return true;
    }
    return false;
  } catch (error) {
    endInflation(inflation);
    throw error;
  } finally {
    // An error has reset `size`.
    chargeZlib(Math.max(0, (inflation.at - at) >> 5) + Math.max(0, (inflation.size - size) >> 6));
  }
}

/** Inflates a whole message at once. @throws ProtocolError as `inflateSome` does */
export function inflateMessage(inflater: DeflateContext, message: Buffer, maxLength: number): Buffer {
  const compressed = Buffer.alloc(message.length + inflateRoom);
  message.copy(compressed);
  const inflation = beginInflation(inflater, compressed, message.length, maxLength);
  while (!inflateSome(inflation));
  const inflated = Buffer.from(inflation.output.subarray(0, inflation.size));
  endInflation(inflation);
  return inflated;
}

/** A call into zlib takes as long as this many messages. The cost of a byte was measured with text. */
const zlibCall = 128;

function chargeZlib(units: number): void {
  workUnits.spent += zlibCall + units;
}

/** Makes one call into zlib. @returns whether the stream has ended */
function inflateStep(inflation: Inflation): boolean {
  if (inflation.stream === undefined) {
    if (inflation.streams++ === maxDeflateStreams) throw notDeflate();
    if (!slices.areSupported) return inflateWhole(inflation);
    inflation.stream = openStream(windowAfter(inflation));
  }
  const { stream, compressed, length, maxLength, at, size } = inflation;
  if (inflation.output.length === size) makeRoom(inflation);
  const { output } = inflation;
  const total = length + inflateEnd.length;
  // A byte of input can cost a hundred times as much as a byte of output, so a slice takes less input.
  const input = Math.min(total - at, inflateSlice / 4);
  const room = Math.min(output.length - size, inflateSlice);
  const isLast = at + input === total;
  // With Z_FINISH, zlib reports an error if the input ends before the stream. RFC 7692 §7.2.3 [7692-7.2.3-1].
  const flush = isLast ? constants.Z_FINISH : constants.Z_NO_FLUSH;
  stream.handle.writeSync(flush, compressed, at, input, output, size, room);
  if (stream.state.destroyed) throw notDeflate();
  const [roomLeft = 0, inputLeft = 0] = stream.left;
  inflation.at += input - inputLeft;
  inflation.size += room - roomLeft;
  if (inflation.size > maxLength) throw tooLarge(maxLength);
  // zlib stops when its output is full, its input is used up, or the stream has ended.
  return roomLeft > 0 && (inputLeft > 0 || isLast);
}

/** Inflates the rest of the stream at once, on a Node that cannot inflate in slices. */
function inflateWhole(inflation: Inflation): true {
  const { compressed, length, maxLength, at, size, output } = inflation;
  const window = windowAfter(inflation);
  try {
    const { buffer, engine } = inflateRawSync(compressed.subarray(at, length + inflateEnd.length), {
      ...inflateOptions(window),
      chunkSize: chunkSize(4 * length),
      // zlib does not take a limit of 0.
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

/** Closes a stream that has ended. @returns whether the message has ended too: another stream may follow and refer back */
function finishStream(inflation: Inflation): boolean {
  const { length, at } = inflation;
  closeStream(inflation);
  // RFC 7692 §7.2.3.4 [7692-7.2.3-2]: after a final block, a sender adds an empty block to have four bytes to remove. A
  // sender that finishes the stream instead (Z_FINISH) adds nothing, but its message is complete, too.
  return at === length || at === length + inflateEnd.length;
}

/** Doubles the output buffer, up to one byte more than the limit: a message that fills that byte is too large. */
function makeRoom(inflation: Inflation): void {
  const { output, size, length, maxLength } = inflation;
  const wanted = Math.max(2 * output.length, chunkSize(Math.min(4 * length, inflateSlice)));
  inflation.output = enlarge(output, size, Math.min(wanted, maxLength + 1, kMaxLength));
}

/** Discards the output. The message takes only its compressed size until it is inflated from the start again. */
export function rewindInflation(inflation: Inflation): void {
  endInflation(inflation);
  inflation.at = 0;
  inflation.streams = 0;
}

/** Frees zlib's state and the output. */
export function endInflation(inflation: Inflation): void {
  closeStream(inflation);
  giveBuffer(inflation.output);
  inflation.output = noWindow;
  inflation.size = 0;
}

/** Discards the message and frees all of its memory. */
export function dropInflation(inflation: Inflation): void {
  endInflation(inflation);
  giveBuffer(inflation.compressed);
}

/** The memory that the message takes, including zlib's state. */
export function inflationSize({ compressed, output, stream }: Inflation): number {
  return compressed.length + output.length + (stream === undefined ? 0 : inflateState);
}

/** zlib needs 32 KiB for the window and about 7 KiB; Node adds the rest. */
const inflateState = 48 * 1024;

/**
 * The inside of Node's zlib streams. The documented functions either run in the thread pool or take a whole stream at once;
 * `writeSync` does neither. It is not documented, but it has not changed since Node 9, and pngjs relies on it, too.
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
  /** After a call: the room left in the output, and the bytes left of the input. */
  readonly left: Uint32Array;
  /** An error destroys the stream and closes the handle. */
  readonly state: { readonly destroyed: boolean };
}

function openStream(window: Buffer): SlicedStream {
  return inSlices(createInflateRaw({ ...inflateOptions(window), chunkSize: unusedOutput }));
}

/** The size of the output buffer that Node allocates for each stream: the minimum, because it stays unused. */
const unusedOutput = constants.Z_MIN_CHUNK;

function inSlices(state: InflateRaw | DeflateRaw): SlicedStream {
  // Errors are found by `destroyed`.
  state.on('error', ignore);
  const { _handle: handle, _writeState: left } = state as unknown as {
    _handle: SlicedStream['handle'];
    _writeState: SlicedStream['left'];
  };
  return { handle, left, state };
}

function ignore(): void {}

/**
 * RFC 7692 §7.2.2 [7692-7.2.2-4]: the largest window fits every negotiated one, because `window` never keeps more bytes than
 * negotiated.
 */
function inflateOptions(window: Buffer): ZlibOptions {
  return window.length > 0 ? { windowBits: 15, dictionary: window } : { windowBits: 15 };
}

function closeStream(inflation: Inflation): void {
  const { stream } = inflation;
  inflation.stream = undefined;
  if (stream !== undefined && !stream.state.destroyed) stream.handle.close();
}

/** Whether this Node can inflate in slices. Tried with an empty final block, which is read and produces nothing. */
export const slices = { areSupported: canInflateInSlices() };

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
  const reason = `a message is at most ${maxLength} bytes here`;
  return new ProtocolError(CloseCode.MessageTooBig, reason, {}, 'maxMessage');
}

function notDeflate(): ProtocolError {
  return new ProtocolError(CloseCode.InvalidPayload, 'a compressed message that is not valid DEFLATE data');
}

/** @returns the payload of the compressed message, whose frame has RSV1 set */
export function deflateMessage(
  deflater: DeflateContext,
  bytes: Uint8Array,
  start: number,
  end: number,
): Buffer {
  const payload = bytes.subarray(start, end);
  const deflated = deflateRawSync(payload, {
    // A large message delays all others: it is compressed at the fastest level.
    ...deflateOptions(deflater, payload.length > 64 * 1024 ? 1 : 3),
    finishFlush: constants.Z_SYNC_FLUSH,
    chunkSize: chunkSize(payload.length),
  });
  chargeZlib(payload.length >>> 3);
  updateWindow(deflater, bytes, start, end);
  return deflated.subarray(0, deflated.length - flushEnd);
}

function deflateOptions({ window, windowBits }: DeflateContext, level: number): ZlibOptions {
  // RFC 7692 §7.2.1 [7692-7.2.1-4]: the negotiated window. zlib supports no raw stream with a window of 2^8. With 2^9 it
  // refers back at most 250 bytes (it keeps 262 ahead), so its output is valid for a window of 256, too.
  const options = { windowBits: Math.max(9, windowBits), level };
  return window.length > 0 ? { ...options, dictionary: window } : options;
}

/**
 * Compresses a large message, in slices. The time varies fiftyfold with the data: it grows with the size of the output, so
 * data that compresses well is fast.
 * @returns `undefined` if the output would exceed `maxOutput` bytes, or if this Node has no slices; the window is unchanged then
 */
export function deflateLarge(
  deflater: DeflateContext,
  bytes: Uint8Array,
  start: number,
  end: number,
  maxOutput: number,
): Buffer | undefined {
  if (!slices.areSupported) return undefined;
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
      if (pieces.length * deflateSlice >= maxOutput) return undefined;
      piece = Buffer.allocUnsafe(deflateSlice);
      size = 0;
    }
  } finally {
    if (!state.destroyed) handle.close();
    chargeZlib(((at - start) >>> 8) + ((pieces.length * deflateSlice + size) >>> 3));
  }
  updateWindow(deflater, bytes, start, end);
  const deflated = Buffer.concat([...pieces, piece.subarray(0, size)]);
  return deflated.subarray(0, deflated.length - flushEnd);
}

/** Bytes of input or output. */
const deflateSlice = 64 * 1024;

/** Updates the window after a message was sent compressed, by this deflater or in a fan-out. */
export function updateWindow(deflater: DeflateContext, bytes: Uint8Array, start: number, end: number): void {
  // RFC 7692 §7.2.1 [7692-7.2.1-5, 7692-7.1.1.1-4, 7692-7.1.1.2-3]: without context takeover, each message begins with an
  // empty window.
  if (deflater.keepsContext) deflater.window = windowWith(deflater, bytes.subarray(start, end));
}

/** The window after the output so far. */
function windowAfter({ inflater, output, size }: Inflation): Buffer {
  return size === 0 ? inflater.window : windowWith(inflater, output.subarray(0, size));
}

/** The last `2^windowBits` bytes: nothing can refer back further. */
function windowWith({ window, windowBits }: DeflateContext, bytes: Uint8Array): Buffer {
  const size = 2 ** windowBits;
  if (bytes.length >= size) return Buffer.from(bytes.subarray(bytes.length - size));
  return Buffer.concat([window.subarray(Math.max(0, window.length + bytes.length - size)), bytes]);
}
