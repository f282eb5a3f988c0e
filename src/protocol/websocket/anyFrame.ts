/** Encodes valid and invalid frames (RFC 6455 §5.2) for faults, scripts and testers. */
import { frameHeaderSize } from './frame.ts';
import { unmask } from './mask.ts';

export interface AnyFrame {
  /** The first byte: FIN, RSV1 to RSV3, and the opcode. */
  readonly first: number;
  /** The unmasked payload. `encodeAnyFrame` copies it. */
  readonly payload: Uint8Array;
  /** The masking key in the low 32 bits, as in `FrameHeader`; undefined: no masking. */
  readonly key?: number | undefined;
  /** The length in the header, below 2^64; by default that of the payload. */
  readonly announced?: bigint | undefined;
  /** The number of bytes of the extended length; by default the fewest that hold the length. */
  readonly lengthBytes?: 0 | 2 | 8 | undefined;
}

/** Encodes the frame. If the length field is too small for the length, it gets the low bits. */
export function encodeAnyFrame({ first, payload, key, announced, lengthBytes }: AnyFrame): Buffer {
  const length = announced ?? BigInt(payload.length);
  const field = lengthBytes ?? fewestBytes(length);
  const start = 2 + field + (key === undefined ? 0 : 4);
  const bytes = Buffer.alloc(start + payload.length);
  bytes[0] = first;
  bytes[1] =
    (key === undefined ? 0 : 0x80) | (field === 0 ? Number(length & 0x7fn) : field === 2 ? 126 : 127);
  if (field === 2) bytes.writeUInt16BE(Number(length & 0xffffn), 2);
  else if (field === 8) bytes.writeBigUInt64BE(length, 2);
  bytes.set(payload, start);
  if (key !== undefined) {
    bytes.writeInt32LE(key | 0, start - 4);
    unmask(bytes, start, bytes.length, key | 0);
  }
  return bytes;
}

function fewestBytes(length: bigint): 0 | 2 | 8 {
  return length < 0x1_0000n ? ((frameHeaderSize(Number(length)) - 2) as 0 | 2) : 8;
}
