/** Encodes frames in any form, valid or not (RFC 6455 §5.2), for faults, scripts and testers. */
import { frameHeaderSize } from './frame.ts';
import { unmask } from './mask.ts';

export interface AnyFrame {
  /** The first byte: FIN, RSV1 to RSV3, and the opcode. */
  readonly first: number;
  /** It is copied. */
  readonly payload: Uint8Array;
  /** The low 32 bits are the masking key, as in `FrameHeader`; undefined: the frame is not masked. */
  readonly key?: number | undefined;
  /** The length in the header, below 2^64, if it is not the payload's. */
  readonly announced?: bigint | undefined;
  /** The bytes of the extended length, if they are not the fewest that hold the length. */
  readonly lengthBytes?: 0 | 2 | 8 | undefined;
}

/** The frame's bytes. A length that its field cannot hold loses its high bits. */
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
