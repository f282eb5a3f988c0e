/**
 * The innermost layer: one frame's header, RFC 6455 §5.2.
 *
 *      0                   1                   2                   3
 *      0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
 *     +-+-+-+-+-------+-+-------------+-------------------------------+
 *     |F|R|R|R| opcode|M| Payload len |    Extended payload length    |
 *     |I|S|S|S|  (4)  |A|     (7)     |             (16/64)           |
 *     |N|V|V|V|       |S|             |   (if payload len==126/127)   |
 *     | |1|2|3|       |K|             |                               |
 *     +-+-+-+-+-------+-+-------------+ - - - - - - - - - - - - - - - +
 *
 * A frame that breaks a rule is refused as soon as its header shows it, before its payload arrives.
 */

import type { ByteRange } from '../buffers.ts';
import { CloseCode, ProtocolError, type Role } from '../codes.ts';
import { maxControlPayload } from '../limits.ts';

/** Bits of a frame's first byte (RFC 6455 §5.2). RSV1 marks a compressed message (RFC 7692 §6). */
export const FIN = 0x80;
export const RSV1 = 0x40;

/** A frame's header. One record is filled again for each frame. */
export interface FrameHeader {
  fin: boolean;
  /** Set only if permessage-deflate was negotiated. */
  rsv1: boolean;
  opcode: number;
  /** Bytes of payload, 0 to 2^63 - 1; above 2^53 rounded to the nearest number. */
  length: number;
  /** The masking key as a little-endian 32-bit integer; 0 if the payload is not masked. */
  key: number;
}

export function newFrameHeader(): FrameHeader {
  return { fin: false, rsv1: false, opcode: 0, length: 0, key: 0 };
}

const fail = (reason: string): never => {
  // RFC 6455 §5.1 [5.1-3, 5.1-6, 7.4.1-c]: 1002 is a protocol error.
  throw new ProtocolError(CloseCode.ProtocolError, reason);
};

/**
 * Reads the header at the start of `input` into `header`. `input` is not advanced.
 * @param allowsRsv1 whether permessage-deflate was negotiated
 * @returns the header's length in bytes (2 to 14); 0 while it is incomplete
 * @throws ProtocolError 1002 as soon as one of the bytes breaks a rule
 */
export function readFrameHeader(
  header: FrameHeader,
  input: ByteRange,
  role: Role,
  allowsRsv1: boolean,
): number {
  const { bytes, start, end } = input;
  if (start >= end) return 0;
  const first = bytes[start]!;
  const opcode = first & 0x0f;
  const isControl = opcode >= 8;
  // RFC 6455 §5.2 [5.2-3, 5.2-8]: RSV1 to 3 MUST be 0 unless an extension defines them. RFC 7692 §6 defines RSV1, on the
  // first frame of a message only.
  if ((first & 0x70) !== 0) checkReservedBits(first, opcode, allowsRsv1);
  // RFC 6455 §5.2 [5.2-4]: opcodes 3 to 7 and B to F are reserved.
  if ((opcode > 2 && opcode < 8) || opcode > 10) fail(`opcode ${opcode} is reserved`);
  // RFC 6455 §5.5 [5.4-2, 5.5-1]: control frames MUST NOT be fragmented.
  if (isControl && first < 0x80) fail('a control frame must not be fragmented');

  if (start + 2 > end) return 0;
  const second = bytes[start + 1]!;
  // RFC 6455 §5.1 [5.1-2, 5.1-5]: a client MUST mask all frames, a server MUST NOT mask any.
  if (second >= 0x80 !== (role === 'server')) {
    fail(role === 'server' ? 'a client must mask its frames' : 'a server must not mask its frames');
  }
  // RFC 6455 §5.2 [5.2-c, 5.2-d]: the masking key and the length.
  const maskBytes = role === 'server' ? 4 : 0;
  let length = second & 0x7f;
  let size = 2;
  if (length >= 126) {
    // RFC 6455 §5.5 [5.5-1]: all control frames MUST have a payload length of 125 bytes or less.
    if (isControl) fail(`a control frame carries at most ${maxControlPayload} bytes`);
    size = length === 126 ? 4 : 10;
    if (start + size > end) return 0;
    length = size === 4 ? readLength16(bytes, start + 2) : readLength64(bytes, start + 2);
  }
  if (start + size + maskBytes > end) return 0;
  // RFC 6455 §5.2 [5.2-a]: FIN marks the last fragment.
  header.fin = first >= 0x80;
  header.rsv1 = (first & 0x40) !== 0;
  header.opcode = opcode;
  header.length = length;
  header.key = 0;
  if (role === 'server') {
    const at = start + size;
    header.key = bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24);
  }
  return size + maskBytes;
}

/**
 * Counts the messages that end in the whole frames at the start of a client's input, which may be invalid. Stops after `most`
 * messages, or after `maxFrames` frames of any kind.
 */
export function countMessages(
  bytes: Uint8Array,
  start: number,
  end: number,
  most: number,
  maxFrames: number,
): number {
  let messages = 0;
  for (let at = start, frames = 0; at + 6 <= end && messages < most && frames < maxFrames; frames++) {
    const short = bytes[at + 1]! & 0x7f;
    const size = short === 127 ? 10 : short === 126 ? 4 : 2;
    let length = size === 2 ? short : 0;
    for (let i = at + 2; i < at + size; i++) length = 256 * length + (bytes[i] ?? 0);
    // RFC 6455 §5.4: FIN ends a message. Only a control frame has the bit 0x08.
    const endsMessage = (bytes[at]! & (FIN | 0x08)) === FIN;
    at += size + 4 + length;
    if (at <= end && endsMessage) messages++;
  }
  return messages;
}

function checkReservedBits(first: number, opcode: number, allowsRsv1: boolean): void {
  // RFC 6455 §5.2 [5.2-3]: no extension defines RSV2 and RSV3, and only permessage-deflate defines RSV1.
  if ((first & 0x30) !== 0) fail('RSV2 and RSV3 must be 0');
  // RFC 6455 §5.8 [5.8-1]: both sides use only negotiated extensions.
  if (!allowsRsv1) fail('RSV1 must be 0: no compression was negotiated');
  // RFC 7692 §6 [7692-6-3, 7692-6-6]: RSV1 MUST NOT be set on control frames, nor on fragments after the first.
  if (opcode >= 8) fail('RSV1 must be 0 on a control frame');
  // RFC 7692 §6 [7692-6-3]: only the first fragment marks a compressed message.
  if (opcode === 0) fail('RSV1 must be 0 on a continuation frame');
}

// RFC 6455 §5.2 [5.2-e, 5.2-6]: the length in the fewest bytes, in network byte order.
function readLength16(bytes: Uint8Array, at: number): number {
  const length = (bytes[at]! << 8) | bytes[at + 1]!;
  if (length < 126) fail('the payload length is not encoded in the fewest bytes');
  return length;
}

// RFC 6455 §5.2 [5.2-e, 5.2-6], as in `readLength16`.
function readLength64(bytes: Uint8Array, at: number): number {
  // RFC 6455 §5.2 [5.2-5]: the most significant bit MUST be 0.
  if (bytes[at]! >= 0x80) fail('the most significant bit of a 64-bit payload length must be 0');
  let length = 0;
  for (let i = 0; i < 8; i++) length = length * 256 + bytes[at + i]!;
  if (length < 65_536) fail('the payload length is not encoded in the fewest bytes');
  return length;
}

/** The longest header of an unmasked frame. */
export const maxHeaderSize = 10;

/** The size of the header of an unmasked frame with `length` bytes of payload. RFC 6455 §5.2 [5.2-6]. */
export function frameHeaderSize(length: number): number {
  return length < 126 ? 2 : length < 65_536 ? 4 : 10;
}

/** Where the payload of the frame at `bytes[start]` begins or, if it is masked, its masking key. The header is valid. */
export function payloadStart(bytes: Uint8Array, start: number): number {
  const length = bytes[start + 1]! & 0x7f;
  return start + (length < 126 ? 2 : length === 126 ? 4 : 10);
}

/** Where that frame ends, if it is not masked. */
export function frameEnd(bytes: Uint8Array, start: number): number {
  const payload = payloadStart(bytes, start);
  if (payload === start + 2) return payload + (bytes[start + 1]! & 0x7f);
  return payload + (payload === start + 4 ? readLength16(bytes, start + 2) : readLength64(bytes, start + 2));
}

/**
 * Writes a header at `bytes[at]`.
 * @param first the first byte: FIN, RSV1 and opcode (0x81 is a whole text message)
 * @param key a client's masking key; `undefined` for a server, which does not mask
 * @returns the index at which the payload begins
 */
export function writeFrameHeader(
  bytes: Uint8Array,
  at: number,
  first: number,
  length: number,
  key?: number,
): number {
  // RFC 6455 §5.3 [5.3-1]: the mask bit of a masked frame MUST be 1.
  const maskBit = key === undefined ? 0 : 0x80;
  let next = at;
  bytes[next++] = first;
  // RFC 6455 §5.2 [5.2-6, 5.2-d, 5.2-e]: the length, in the fewest bytes and in network byte order.
  if (length < 126) {
    bytes[next++] = maskBit | length;
  } else if (length < 65_536) {
    bytes[next++] = maskBit | 126;
    bytes[next++] = length >>> 8;
    bytes[next++] = length;
  } else {
    bytes[next++] = maskBit | 127;
    const high = Math.floor(length / 0x1_0000_0000);
    for (let shift = 24; shift >= 0; shift -= 8) bytes[next++] = high >>> shift;
    for (let shift = 24; shift >= 0; shift -= 8) bytes[next++] = length >>> shift;
  }
  // RFC 6455 §5.2 [5.2-c]: a frame with the mask bit has a masking key.
  if (key !== undefined) {
    for (let shift = 0; shift < 32; shift += 8) bytes[next++] = key >>> shift;
  }
  return next;
}
