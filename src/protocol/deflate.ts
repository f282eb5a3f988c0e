/**
 * permessage-deflate, RFC 7692: a message's payload as raw DEFLATE, less the four bytes every flush ends in.
 *
 * One message is one call into zlib, made and finished within the turn. Context takeover (§7.1.1) means no more than that
 * a message may refer back to the bytes of those before it: so what is kept between messages is those bytes, at most a
 * window of them, and given to zlib as a preset dictionary. A connection that has said nothing keeps nothing, and none
 * keeps zlib's own quarter of a megabyte.
 */
import { kMaxLength } from 'node:buffer';
import { constants, deflateRawSync, inflateRawSync } from 'node:zlib';
import { CloseCode, ProtocolError } from './codes.ts';
import { work } from './work.ts';

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

/** The room that a buffer given to `inflateMessage` has behind the message. */
export const inflateRoom = inflateEnd.length;

/** A message may be made of several DEFLATE streams (RFC 7692 §7.2.3.4); nobody needs many. */
const maxStreams = 16;

/** zlib writes its output in chunks; larger ones for larger messages, lest a message be put together from thousands. */
function chunkSize(expected: number): number {
  return Math.min(Math.max(1024, expected), 256 * 1024);
}

/**
 * Inflates the first `length` bytes of `compressed`, which has `inflateRoom` more.
 * @returns bytes that are the caller's
 * @throws ProtocolError 1009 as soon as more than `maxLength` bytes have come out, 1007 for what is no DEFLATE data
 */
export function inflateMessage(
  inflater: Inflater,
  compressed: Buffer,
  length: number,
  maxLength: number,
): Buffer {
  // §7.2.3.6 makes an empty message one byte; some senders make it none, which can mean nothing else.
  if (length === 0) return noWindow;
  inflateEnd.copy(compressed, length);
  const end = length + inflateEnd.length;
  let inflated: Buffer = noWindow;
  for (let at = 0, streams = 0; at < end; streams++) {
    if (streams === maxStreams) throw notDeflate();
    const room = maxLength - inflated.length;
    const { buffer, engine } = inflateStream(inflater.window, compressed.subarray(at, end), room, maxLength);
    // A last block inside the message ends a stream; the next one may refer back to it.
    at += engine.bytesWritten;
    // §7.2.3.4 puts an empty block behind a last one, so that there is a tail to remove. Senders that finish the stream
    // instead (zlib's Z_FINISH) send nothing behind it: the message is whole.
    if (at === length) at = end;
    if (buffer.length > 0) {
      inflated = inflated.length === 0 ? buffer : Buffer.concat([inflated, buffer]);
      // zlib takes no bound of 0.
      if (inflated.length > maxLength) throw tooLarge(maxLength);
      if (inflater.keepsContext || at < end) remember(inflater, buffer);
    }
  }
  if (!inflater.keepsContext) inflater.window = noWindow;
  return inflated;
}

/** With `info`, zlib's calls also tell how much they have read. */
interface Inflated {
  buffer: Buffer;
  engine: { bytesWritten: number };
}

function inflateStream(window: Buffer, bytes: Buffer, room: number, maxLength: number): Inflated {
  try {
    const inflated = inflateRawSync(bytes, {
      // What a peer may not use it cannot refer to: the whole window serves for any that was negotiated.
      windowBits: 15,
      chunkSize: chunkSize(bytes.length * 4),
      maxOutputLength: Math.min(Math.max(1, room), kMaxLength),
      info: true,
      ...(window.length > 0 ? { dictionary: window } : {}),
    }) as unknown as Inflated;
    chargeZlib(inflated.buffer.length);
    return inflated;
  } catch (error) {
    chargeZlib(maxLength);
    if ((error as NodeJS.ErrnoException).code === 'ERR_BUFFER_TOO_LARGE') {
      throw tooLarge(maxLength);
    }
    throw notDeflate();
  }
}

function tooLarge(maxLength: number): ProtocolError {
  return new ProtocolError(CloseCode.MessageTooBig, `a message is at most ${maxLength} bytes here`);
}

function notDeflate(): ProtocolError {
  return new ProtocolError(CloseCode.InvalidPayload, 'a compressed message that is not valid DEFLATE data');
}

/**
 * @returns the payload of a compressed message (RSV1 set), the caller's
 */
export function deflateMessage(deflater: Deflater, bytes: Uint8Array, start: number, end: number): Buffer {
  const payload = bytes.subarray(start, end);
  const deflated = deflateRawSync(payload, {
    // zlib makes no raw stream with a window of 2^8; with 2^9 it refers back 250 bytes at most (it keeps 262 ahead), so
    // what it writes is right for a window of 256, too.
    windowBits: Math.max(9, deflater.windowBits),
    // What is large is compressed the fast way: it holds the others up.
    level: payload.length > 64 * 1024 ? 1 : 3,
    finishFlush: constants.Z_SYNC_FLUSH,
    chunkSize: chunkSize(payload.length),
    ...(deflater.window.length > 0 ? { dictionary: deflater.window } : {}),
  });
  chargeZlib(4 * payload.length);
  noteDeflated(deflater, bytes, start, end);
  return deflated.subarray(0, deflated.length - flushEnd);
}

/** A message was sent compressed, by this deflater or for many at once: the next one may refer back to it. */
export function noteDeflated(deflater: Deflater, bytes: Uint8Array, start: number, end: number): void {
  if (deflater.keepsContext) remember(deflater, bytes.subarray(start, end));
}

/** Next to zlib all else is fast: a call takes as long as so many messages, and each 128 bytes that come out as one more. */
const zlibCall = 128;

function chargeZlib(bytes: number): void {
  work.done += zlibCall + (Math.min(bytes, 2 ** 30) >>> 7);
}

/** Keeps the end of everything that went by: `2^windowBits` bytes are all that can be referred to. */
function remember(state: Inflater | Deflater, bytes: Uint8Array): void {
  const size = 2 ** state.windowBits;
  if (bytes.length >= size) {
    state.window = Buffer.from(bytes.subarray(bytes.length - size));
  } else {
    const kept = state.window.subarray(Math.max(0, state.window.length + bytes.length - size));
    state.window = Buffer.concat([kept, bytes]);
  }
}
