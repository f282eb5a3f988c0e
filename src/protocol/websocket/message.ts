/**
 * The middle layer: a message, assembled from its fragments (RFC 6455 §5.4), which arrive in pieces of any size. Each
 * piece is unmasked, checked and copied once, when it arrives.
 */

import { type ByteRange, enlarge, giveBuffer, minLongBuffer } from '../buffers.ts';
import { CloseCode, Opcode, ProtocolError } from '../codes.ts';
import { absoluteMaxMessage, deflateGrowth, maxFragments } from '../limits.ts';
import {
  beginInflation,
  type DeflateContext,
  type Inflation,
  inflateRoom,
  inflateSome,
  rewindInflation,
} from './deflate.ts';
import { type FrameHeader, maxHeaderSize } from './frame.ts';
import { advanceKey, unmask } from './mask.ts';
import { checkUtf8, utf8Invalid, utf8Start } from './utf8.ts';

/**
 * A whole message. The bytes of a text are valid UTF-8.
 * The record and its bytes are reused for the next message: a handler that keeps a message copies it (`messageBytes`).
 */
export interface Message extends ByteRange {
  isText: boolean;
}

/** A copy of the message's bytes, owned by the caller. */
export function messageBytes(message: Message): Buffer {
  return Buffer.from(message.bytes.subarray(message.start, message.end));
}

/** The message's bytes as a string. Only callers that need a string pay for decoding. */
export function messageText(message: Message): string {
  const { bytes, start, end } = message;
  return Buffer.from(bytes.buffer, bytes.byteOffset + start, end - start).toString('utf8');
}

/** A message that has not arrived completely. */
export interface IncomingMessage {
  readonly isText: boolean;
  readonly isCompressed: boolean;
  fragments: number;
  /** Whether the frame that is arriving is the last one (FIN). */
  isLastFrame: boolean;
  /** How many payload bytes of that frame have not arrived. */
  missing: number;
  /** The masking key of its next byte. */
  key: number;
  /**
   * The payload so far, as it was sent, perhaps compressed: `length` bytes of `buffer` from `start` on. The bytes before them
   * are free for a frame header, so that the message can be sent without a copy.
   */
  readonly start: number;
  buffer: Buffer;
  length: number;
  /** The state of the UTF-8 check after these bytes. */
  utf8: number;
}

/** @returns the bytes that have not arrived yet; infinite while another fragment follows */
export function restOfMessage({ isLastFrame, missing }: IncomingMessage): number {
  return isLastFrame ? missing : Number.POSITIVE_INFINITY;
}

const nothing = Buffer.alloc(0);

/** @throws ProtocolError 1002 or 1009, from the header alone */
export function beginMessage(header: FrameHeader, maxMessage: number): IncomingMessage {
  // RFC 6455 §5.4 [5.4-a]: a continuation frame continues a message.
  if (header.opcode === Opcode.Continuation) {
    throw new ProtocolError(CloseCode.ProtocolError, 'a continuation frame without a message to continue');
  }
  const incoming: IncomingMessage = {
    // RFC 6455 §5.4 [5.4-12, 6.2-3]: the first frame determines the type of all fragments.
    isText: header.opcode === Opcode.Text,
    // RFC 7692 §6 [7692-6-1, 7692-6.2-2]: RSV1 of the first frame marks a compressed message.
    isCompressed: header.rsv1,
    fragments: 0,
    isLastFrame: false,
    missing: 0,
    key: 0,
    start: header.rsv1 ? 0 : maxHeaderSize,
    buffer: nothing,
    length: 0,
    utf8: utf8Start,
  };
  beginFragment(incoming, header, maxMessage);
  return incoming;
}

/** @throws ProtocolError 1002 if the frame begins another message; 1009 */
export function continueMessage(incoming: IncomingMessage, header: FrameHeader, maxMessage: number): void {
  // RFC 6455 §5.4 [5.4-4]: the fragments of one message MUST NOT be interleaved with those of another.
  if (header.opcode !== Opcode.Continuation) {
    throw new ProtocolError(CloseCode.ProtocolError, 'a new message before the last one was finished');
  }
  beginFragment(incoming, header, maxMessage);
}

function beginFragment(incoming: IncomingMessage, header: FrameHeader, maxMessage: number): void {
  const size = incoming.length + header.length;
  // RFC 6455 §10.4 [10.4-1, 10.4-2]: the limit applies to all fragments together.
  checkSize(incoming.isCompressed ? size / deflateGrowth : size, maxMessage);
  if (++incoming.fragments > maxFragments) {
    throw new ProtocolError(CloseCode.MessageTooBig, `a message of more than ${maxFragments} fragments`);
  }
  // RFC 6455 §5.4 [5.4-7, 5.2-a]: the frame with FIN ends the message.
  incoming.isLastFrame = header.fin;
  incoming.missing = header.length;
  incoming.key = header.key;
}

/** RFC 6455 §10.4 recommends a limit, §7.4.1 defines code 1009. @throws ProtocolError 1009 */
export function checkSize(size: number, maxMessage: number): void {
  if (size > maxMessage) {
    const reason = `a message is at most ${maxMessage} bytes here`;
    // RFC 6455 §7.4.1 [7.4.1-g]: 1009 means that a message is too big.
    throw new ProtocolError(CloseCode.MessageTooBig, reason, {}, 'maxMessage');
  }
}

/**
 * Moves the next piece of the frame that is arriving from `input`, where it is unmasked in place, into the message.
 * @throws ProtocolError 1007 at the first byte that is not valid UTF-8
 */
export function addPayload(incoming: IncomingMessage, input: ByteRange, isMasked: boolean): void {
  const { bytes, start } = input;
  const count = Math.min(incoming.missing, input.end - start);
  const end = start + count;
  // RFC 6455 §6.2 [6.2-7]: removes masking. Only `unmask` also reports whether all bytes are ASCII.
  const notAscii = isMasked ? unmask(bytes, start, end, incoming.key) : 1;
  // RFC 6455 §8.1 [5.6-1, 8.1-1]; RFC 7692 §6 [7692-6-5]: compressed text is checked after inflation.
  if (incoming.isText && !incoming.isCompressed && (notAscii !== 0 || incoming.utf8 !== utf8Start)) {
    incoming.utf8 = checkText(incoming.utf8, bytes, start, end);
  }
  makeRoom(incoming, count);
  // RFC 6455 §5.4 [5.4-3]: the fragments stay in the order sent.
  incoming.buffer.set(bytes.subarray(start, end), incoming.start + incoming.length);
  incoming.length += count;
  incoming.missing -= count;
  // RFC 6455 §5.3 [5.3-a]: octet i is XORed with octet i modulo 4 of the key.
  incoming.key = advanceKey(incoming.key, count);
  input.start = end;
}

/** RFC 6455 §8.1: text that is not UTF-8 fails the connection. @returns the next state @throws ProtocolError 1007 */
export function checkText(state: number, bytes: Uint8Array, start: number, end: number): number {
  const next = checkUtf8(state, bytes, start, end);
  // RFC 6455 §7.4.1 [7.4.1-e]: 1007 means text that is not UTF-8.
  if (next === utf8Invalid) throw new ProtocolError(CloseCode.InvalidPayload, 'text that is not valid UTF-8');
  return next;
}

/** Checks that the text does not end inside a character. @throws ProtocolError 1007 */
export function checkTextEnd(state: number): void {
  // RFC 6455 §5.6 [5.6-1]: a fragment may end inside a character, but a message may not.
  if (state !== utf8Start)
    throw new ProtocolError(CloseCode.InvalidPayload, 'text that ends inside a character');
}

/**
 * Doubles the buffer, so that many small pieces cost few copies. The buffer never exceeds what the message can still
 * need, and a header that announces a large payload allocates nothing.
 */
function makeRoom(incoming: IncomingMessage, count: number): void {
  const used = incoming.start + incoming.length;
  const needed = used + count + inflateRoom;
  if (needed <= incoming.buffer.length) return;
  const known = (incoming.isLastFrame ? used + incoming.missing : absoluteMaxMessage) + inflateRoom;
  // The size of a long buffer is rounded up to a power of two, which doubles it.
  const wanted = Math.min(needed * 2, minLongBuffer - 1);
  incoming.buffer = enlarge(incoming.buffer, used, Math.max(needed, Math.min(known, wanted)));
}

/** Returns to the pool the buffer of a message that nobody will read. */
export function dropMessage(incoming: IncomingMessage): void {
  giveBuffer(incoming.buffer);
  incoming.buffer = nothing;
  incoming.length = 0;
}

/**
 * Fills `message` from an uncompressed message all of whose fragments have arrived.
 * @throws ProtocolError 1007 for text that ends inside a character
 */
export function finishMessage(incoming: IncomingMessage, message: Message): void {
  if (incoming.isText) checkTextEnd(incoming.utf8);
  message.isText = incoming.isText;
  message.bytes = incoming.buffer;
  // The buffer of an empty message has no room for a header before the payload.
  message.start = incoming.length === 0 ? 0 : incoming.start;
  message.end = message.start + incoming.length;
}

/** A compressed message all of whose fragments have arrived. */
export interface InflatingMessage {
  readonly isText: boolean;
  readonly inflation: Inflation;
  utf8: number;
  /** How often the owner of the endpoint has paused it: see `mayInflate`. */
  stops: number;
}

export function beginInflating(
  incoming: IncomingMessage,
  inflater: DeflateContext,
  maxMessage: number,
): InflatingMessage {
  makeRoom(incoming, 0);
  const { isText, buffer, length } = incoming;
  const inflation = beginInflation(inflater, buffer, length, maxMessage);
  return { isText, inflation, utf8: utf8Start, stops: 0 };
}

/**
 * Inflates one slice and, if the message is text, checks it.
 * @returns whether that was the last slice; `message` is filled then
 * @throws ProtocolError 1007 for text that is not UTF-8 or data that is not DEFLATE, 1009 for a message that inflates to
 *   more than the limit
 */
export function inflateNextSlice(inflating: InflatingMessage, message: Message): boolean {
  const { isText, inflation } = inflating;
  const checked = inflation.size;
  const isWhole = inflateSome(inflation);
  const { output, size } = inflation;
  // RFC 7692 §6.2 [7692-6.2-3]: the inflated text is UTF-8.
  if (isText) inflating.utf8 = checkText(inflating.utf8, output, checked, size);
  if (!isWhole) return false;
  if (isText) checkTextEnd(inflating.utf8);
  message.isText = isText;
  message.bytes = output;
  message.start = 0;
  message.end = size;
  return true;
}

/** Discards what has been inflated: the next slice is the first again. */
export function rewindInflating(inflating: InflatingMessage): void {
  rewindInflation(inflating.inflation);
  inflating.utf8 = utf8Start;
}
