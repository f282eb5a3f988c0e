/**
 * The middle layer: a message, put together from its fragments (RFC 6455 §5.4) and from however many pieces the network
 * cut those into. Each piece is unmasked and its text checked when it arrives, and copied once.
 */

import { enlarge, giveBuffer, longBuffer } from '../buffers.ts';
import { CloseCode, Opcode, ProtocolError } from '../codes.ts';
import { deflateGrowth, longestMessage, maxFragments } from '../limits.ts';
import {
  beginInflation,
  type Inflater,
  type Inflation,
  inflateRoom,
  inflateSome,
  rewindInflation,
} from './deflate.ts';
import type { FrameHeader } from './frame.ts';
import { advanceKey, unmask } from './mask.ts';
import { checkUtf8, utf8Invalid, utf8Start } from './utf8.ts';

/**
 * A whole message: the bytes `[start, end)` of `bytes`; a text's are valid UTF-8.
 * It is lent for the length of one call: the record and the bytes are used again for the next message, so copy
 * (`messageBytes`) what is to be kept.
 */
export interface Message {
  isText: boolean;
  bytes: Uint8Array;
  start: number;
  end: number;
}

/** A copy of the message's bytes, the caller's to keep. */
export function messageBytes(message: Message): Buffer {
  return Buffer.from(message.bytes.subarray(message.start, message.end));
}

/** The message's bytes as a string. Only what is asked for is decoded. */
export function messageText(message: Message): string {
  const { bytes, start, end } = message;
  return Buffer.from(bytes.buffer, bytes.byteOffset + start, end - start).toString('utf8');
}

/** A message of which some is still to come. */
export interface IncomingMessage {
  readonly isText: boolean;
  readonly isCompressed: boolean;
  fragments: number;
  /** Of the frame that is arriving: was it the last (FIN), how much payload is missing, and the key for that. */
  isLastFrame: boolean;
  missing: number;
  key: number;
  /** What came so far, as sent (compressed, if it is): the first `length` bytes of `buffer`. */
  buffer: Buffer;
  length: number;
  utf8: number;
}

const nothing = Buffer.alloc(0);

/** @throws ProtocolError 1002 or 1009, by the header alone */
export function beginMessage(header: FrameHeader, maxMessage: number): IncomingMessage {
  // RFC 6455 §5.4: a continuation needs a message that it continues.
  if (header.opcode === Opcode.Continuation) {
    throw new ProtocolError(CloseCode.ProtocolError, 'a continuation frame without a message to continue');
  }
  const incoming: IncomingMessage = {
    isText: header.opcode === Opcode.Text,
    isCompressed: header.rsv1,
    fragments: 0,
    isLastFrame: false,
    missing: 0,
    key: 0,
    buffer: nothing,
    length: 0,
    utf8: utf8Start,
  };
  beginFragment(incoming, header, maxMessage);
  return incoming;
}

/** @throws ProtocolError 1002, where it begins a new message */
export function continueMessage(incoming: IncomingMessage, header: FrameHeader, maxMessage: number): void {
  // RFC 6455 §5.4: the fragments of one message MUST NOT be interleaved with those of another.
  if (header.opcode !== Opcode.Continuation) {
    throw new ProtocolError(CloseCode.ProtocolError, 'a new message before the last one was finished');
  }
  beginFragment(incoming, header, maxMessage);
}

function beginFragment(incoming: IncomingMessage, header: FrameHeader, maxMessage: number): void {
  const size = incoming.length + header.length;
  checkSize(incoming.isCompressed ? size / deflateGrowth : size, maxMessage);
  if (++incoming.fragments > maxFragments) {
    throw new ProtocolError(CloseCode.MessageTooBig, `a message of more than ${maxFragments} fragments`);
  }
  incoming.isLastFrame = header.fin;
  incoming.missing = header.length;
  incoming.key = header.key;
}

/** RFC 6455 §10.4 asks for a bound, §7.4.1 gives its code. @throws ProtocolError 1009 */
export function checkSize(size: number, maxMessage: number): void {
  if (size > maxMessage) {
    throw new ProtocolError(CloseCode.MessageTooBig, `a message is at most ${maxMessage} bytes here`);
  }
}

/**
 * Takes the next piece of the frame that is arriving out of `bytes[start, end)`, which is unmasked in place.
 * @returns where the piece ended
 * @throws ProtocolError 1007 at a byte that no UTF-8 text has there
 */
export function addPayload(
  incoming: IncomingMessage,
  bytes: Uint8Array,
  start: number,
  end: number,
  isMasked: boolean,
): number {
  const count = Math.min(incoming.missing, end - start);
  const stop = start + count;
  // A server's frames come unmasked: their bytes are not known to be ASCII until looked at.
  const notAscii = isMasked ? unmask(bytes, start, stop, incoming.key) : 1;
  if (incoming.isText && !incoming.isCompressed && (notAscii !== 0 || incoming.utf8 !== utf8Start)) {
    incoming.utf8 = checkText(incoming.utf8, bytes, start, stop);
  }
  makeRoom(incoming, count);
  incoming.buffer.set(bytes.subarray(start, stop), incoming.length);
  incoming.length += count;
  incoming.missing -= count;
  incoming.key = advanceKey(incoming.key, count);
  return stop;
}

/** RFC 6455 §8.1: text that is not UTF-8 fails the connection. @throws ProtocolError 1007 */
export function checkText(state: number, bytes: Uint8Array, start: number, end: number): number {
  const next = checkUtf8(state, bytes, start, end);
  if (next === utf8Invalid) throw new ProtocolError(CloseCode.InvalidPayload, 'text that is not valid UTF-8');
  return next;
}

/** The text ends here. @throws ProtocolError 1007 where that cuts a character */
export function checkTextEnd(state: number): void {
  if (state !== utf8Start)
    throw new ProtocolError(CloseCode.InvalidPayload, 'text that ends inside a character');
}

/**
 * Doubles, so that many small pieces cost no more than a few copies; but takes no more than the message can still need,
 * and never what a header merely announces.
 */
function makeRoom(incoming: IncomingMessage, count: number): void {
  const needed = incoming.length + count + inflateRoom;
  if (needed <= incoming.buffer.length) return;
  const known = incoming.isLastFrame
    ? incoming.length + incoming.missing + inflateRoom
    : longestMessage + inflateRoom;
  // Long buffers are powers of two: to ask for what is needed doubles them.
  const wanted = Math.min(needed * 2, longBuffer - 1);
  incoming.buffer = enlarge(incoming.buffer, incoming.length, Math.max(needed, Math.min(known, wanted)));
}

/** The message was delivered, or is not wanted any more: its buffer serves another one. */
export function dropMessage(incoming: IncomingMessage): void {
  giveBuffer(incoming.buffer);
  incoming.buffer = nothing;
  incoming.length = 0;
}

/**
 * All fragments of a message that is not compressed are there: fills `message`.
 * @throws ProtocolError 1007 for text that is no UTF-8
 */
export function finishMessage(incoming: IncomingMessage, message: Message): void {
  if (incoming.isText) checkTextEnd(incoming.utf8);
  message.isText = incoming.isText;
  message.bytes = incoming.buffer;
  message.start = 0;
  message.end = incoming.length;
}

/** A compressed message, all fragments of which have arrived. */
export interface InflatingMessage {
  readonly isText: boolean;
  readonly inflation: Inflation;
  utf8: number;
  /** For the owner of the endpoint, which may have several to choose from: how often it had to stop. */
  stops: number;
}

export function beginInflating(
  incoming: IncomingMessage,
  inflater: Inflater,
  maxMessage: number,
): InflatingMessage {
  makeRoom(incoming, 0);
  const { isText, buffer, length } = incoming;
  const inflation = beginInflation(inflater, buffer, length, maxMessage);
  return { isText, inflation, utf8: utf8Start, stops: 0 };
}

/**
 * Inflates a slice, and checks its text.
 * @returns whether that was the last; if so, `message` is filled
 * @throws ProtocolError 1007 for text that is no UTF-8 or data that is no DEFLATE, 1009 for what inflates to more than
 *   the longest message
 */
export function inflateSlice(inflating: InflatingMessage, message: Message): boolean {
  const { isText, inflation } = inflating;
  const checked = inflation.size;
  const isWhole = inflateSome(inflation);
  const { output, size } = inflation;
  if (isText) inflating.utf8 = checkText(inflating.utf8, output, checked, size);
  if (!isWhole) return false;
  if (isText) checkTextEnd(inflating.utf8);
  message.isText = isText;
  message.bytes = output;
  message.start = 0;
  message.end = size;
  return true;
}

/** Starts over with the next slice. */
export function rewindInflating(inflating: InflatingMessage): void {
  rewindInflation(inflating.inflation);
  inflating.utf8 = utf8Start;
}
