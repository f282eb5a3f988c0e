/**
 * Frames that break a rule of RFC 6455 or RFC 7692, as bytes. The text of each is the name of its fault: a client that delivers
 * that text as a message has accepted a frame that it must refuse.
 */
import { constants, deflateRawSync } from 'node:zlib';
import { Opcode } from '../../protocol/codes.ts';
import { maxControlPayload } from '../../protocol/limits.ts';
import { encodeAnyFrame } from '../../protocol/websocket/anyFrame.ts';
import { FIN, RSV1 } from '../../protocol/websocket/frame.ts';

const RSV2 = 0x20;
const RSV3 = 0x10;
const text = FIN | Opcode.Text;

/** A frame with a well-formed header. @param key masks the payload, which a server must not do */
export function faultFrame(first: number, payload: string | Uint8Array, key?: number): Buffer {
  const plain = typeof payload === 'string' ? Buffer.from(payload) : payload;
  return encodeAnyFrame({ first, payload: plain, key });
}

/** The header of a frame whose length takes 2 or 8 further bytes, even if it would fit in fewer. */
function headerOf(first: number, length: bigint, fieldSize: 2 | 8): Buffer {
  return encodeAnyFrame({ first, payload: Buffer.alloc(0), announced: length, lengthBytes: fieldSize });
}

function withLength(name: string, fieldSize: 2 | 8, highBit = 0n): Buffer {
  return Buffer.concat([headerOf(text, BigInt(name.length) | highBit, fieldSize), Buffer.from(name)]);
}

/** A message in two fragments. */
function fragments(first: string | Uint8Array, last: string | Uint8Array, lastBits = 0): Buffer {
  return Buffer.concat([
    faultFrame(Opcode.Text, first),
    faultFrame(FIN | lastBits | Opcode.Continuation, last),
  ]);
}

/** RFC 6455 §5.1: a server must not mask. */
export const masked = (key: number) => faultFrame(text, 'masked', key);

/**
 * RFC 6455 §5.2: without an extension, the reserved bits are 0. Negotiated compression allows RSV1 on messages, but never on a
 * ping (RFC 7692 §6.1).
 */
export function rsv1(isCompressed: boolean): Buffer {
  return faultFrame(FIN | RSV1 | (isCompressed ? Opcode.Ping : Opcode.Text), 'rsv1');
}
export const rsv2 = () => faultFrame(text | RSV2, 'rsv2');
export const rsv3 = () => faultFrame(text | RSV3, 'rsv3');

/** RFC 6455 §5.2: opcodes 3 to 7 and 11 to 15 are reserved. */
export const reservedOpcode = (opcode: number) => faultFrame(FIN | opcode, 'reserved-opcode');

/** RFC 6455 §5.2: the length takes the fewest bytes, and its highest bit is 0. */
export const longLength16 = () => withLength('long-length-16', 2);
export const longLength64 = () => withLength('long-length-64', 8);
export const topBitLength = () => withLength('top-bit-length', 8, 1n << 63n);

/** Frames that stay incomplete. */
export const terabyte = () =>
  Buffer.concat([headerOf(FIN | Opcode.Binary, 1n << 40n, 8), Buffer.from('terabyte')]);
export const halfHeader = () => headerOf(text, 300n, 2).subarray(0, 3);
export const halfFrame = () => faultFrame(text, 'half-framehalf-frame').subarray(0, 2 + 'half-frame'.length);

/** RFC 6455 §5.5: control frames are never fragmented and carry at most 125 bytes. */
export const fragmentedPing = () => faultFrame(Opcode.Ping, 'fragmented-ping');
export const longPing = () => faultFrame(FIN | Opcode.Ping, 'long-ping'.padEnd(maxControlPayload + 1, '.'));

/** RFC 6455 §5.4: a continuation frame needs a first fragment, and messages are not interleaved. */
export const loneContinuation = () => faultFrame(FIN | Opcode.Continuation, 'lone-continuation');
export const nestedMessage = () =>
  Buffer.concat([faultFrame(Opcode.Text, 'nested-'), faultFrame(text, 'nested-message')]);

const oddByte = Buffer.from([0xff]);

/** RFC 6455 §8.1: text that is not UTF-8 fails the connection. */
export const invalidUtf8 = () => faultFrame(text, Buffer.concat([Buffer.from('invalid-utf8'), oddByte]));
/** Only the last byte of a message in two fragments is invalid. */
export const lateInvalidUtf8 = () =>
  fragments('late-invalid-utf8'.padEnd(500, '.'), Buffer.concat([Buffer.alloc(500, '.'), oddByte]));

const euro = Buffer.from('€');

/** Valid, RFC 6455 §5.6: a fragment may end within a character. */
export const splitUtf8 = () =>
  fragments(Buffer.concat([Buffer.from('split-utf8 '), euro.subarray(0, 1)]), euro.subarray(1));

/** RFC 7692 §7.2.2: a block of DEFLATE has the type 0, 1 or 2; this one has 3. */
export const badDeflate = () => faultFrame(text | RSV1, Buffer.from([0x06, 0xff, 0xff, 0xff]));

/** RFC 7692 §6.1: RSV1 is set on the first fragment of a message only. */
export const rsv1Continuation = () => fragments('rsv1-', 'continuation', RSV1);

const segmentSize = 1024 * 1024;
let segment: Buffer | undefined;

/** `size` zeros as DEFLATE data that ends on a byte boundary and refers to no earlier data. */
function deflatedZeros(size: number): Buffer {
  return deflateRawSync(Buffer.alloc(size), { finishFlush: constants.Z_FULL_FLUSH });
}

/** @returns a function that makes small messages that inflate to `size` bytes (RFC 7692 §8); only its first call compresses */
export function newBombs(size: number): () => Buffer {
  let rest: Buffer | undefined;
  return () => {
    segment ??= deflatedZeros(segmentSize);
    rest ??= size % segmentSize === 0 ? Buffer.alloc(0) : deflatedZeros(size % segmentSize);
    const parts: Buffer[] = new Array(Math.floor(size / segmentSize)).fill(segment);
    // RFC 7692 §7.2.1: the empty block 00 00 ff ff at the end is left out.
    return faultFrame(FIN | RSV1 | Opcode.Binary, Buffer.concat([...parts, rest]).subarray(0, -4));
  };
}
