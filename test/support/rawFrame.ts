/** Frames as bytes, written from RFC 6455 §5.2 without code of src/. A frame may break any rule. */
import { randomBytes } from 'node:crypto';

export const opcode = { continuation: 0, text: 1, binary: 2, close: 8, ping: 9, pong: 10 } as const;

export interface RawFrame {
  readonly fin: boolean;
  /** RSV1, 2 and 3 as one number, 0 to 7; RSV1 alone is 4. */
  readonly rsv: number;
  readonly opcode: number;
  readonly isMasked: boolean;
  readonly payload: Buffer;
}

export interface FrameOptions {
  readonly fin?: boolean;
  readonly rsv?: number;
  /** The masking key; `null` for an unmasked frame. Default: random. */
  readonly key?: Buffer | null;
  /** The length in the header. Default: the payload's length. */
  readonly announcedLength?: number;
  /** The size of the extended length. Default: the smallest that fits. */
  readonly lengthBytes?: 0 | 2 | 8;
}

/** A frame, by default masked like a client's. */
export function frame(
  frameOpcode: number,
  payload: string | Uint8Array = '',
  options: FrameOptions = {},
): Buffer {
  const plain = typeof payload === 'string' ? Buffer.from(payload) : payload;
  const { fin = true, rsv = 0, key = randomBytes(4), announcedLength = plain.length } = options;
  const lengthBytes = options.lengthBytes ?? (announcedLength < 126 ? 0 : announcedLength < 65_536 ? 2 : 8);
  const size = 2 + lengthBytes + (key === null ? 0 : 4);
  const bytes = Buffer.alloc(size + plain.length);
  bytes[0] = (fin ? 0x80 : 0) | (rsv << 4) | frameOpcode;
  bytes[1] =
    (key === null ? 0 : 0x80) | (lengthBytes === 0 ? announcedLength : lengthBytes === 2 ? 126 : 127);
  if (lengthBytes === 2) bytes.writeUInt16BE(announcedLength, 2);
  if (lengthBytes === 8) bytes.writeBigUInt64BE(BigInt(announcedLength), 2);
  bytes.set(plain, size);
  if (key !== null) {
    bytes.set(key, size - 4);
    mask(bytes, size, key);
  }
  return bytes;
}

function mask(bytes: Buffer, from: number, key: Buffer): void {
  const [k0, k1, k2, k3] = key as unknown as [number, number, number, number];
  let at = from;
  for (const end = bytes.length - 3; at < end; at += 4) {
    bytes[at]! ^= k0;
    bytes[at + 1]! ^= k1;
    bytes[at + 2]! ^= k2;
    bytes[at + 3]! ^= k3;
  }
  for (let i = 0; at < bytes.length; i++, at++) bytes[at]! ^= key[i]!;
}

/** A close frame; without a code, an empty one. */
export function closeFrame(code?: number, reason: string | Uint8Array = ''): Buffer {
  return frame(opcode.close, code === undefined ? '' : closePayload(code, reason));
}

export function closePayload(code: number, reason: string | Uint8Array = ''): Buffer {
  const payload = Buffer.alloc(2);
  payload.writeUInt16BE(code);
  return Buffer.concat([payload, typeof reason === 'string' ? Buffer.from(reason) : reason]);
}

/** Reads frames from a stream of bytes that arrives in pieces. */
export class FrameReader {
  private chunks: Buffer[] = [];
  private length = 0;

  add(bytes: Buffer): void {
    this.chunks.push(bytes);
    this.length += bytes.length;
  }

  /** The bytes that were added and not yet read. */
  rest(): Buffer {
    const all = this.chunks.length === 1 ? this.chunks[0]! : Buffer.concat(this.chunks);
    this.chunks = [all];
    return all;
  }

  take(count: number): Buffer {
    const all = this.rest();
    this.chunks = [all.subarray(count)];
    this.length -= count;
    return all.subarray(0, count);
  }

  /** @returns the next frame; undefined while it is incomplete */
  next(): RawFrame | undefined {
    if (this.length < 2) return undefined;
    // Chunks of a large frame are joined only once, when all of them have arrived.
    const start = this.chunks[0]!.length >= 14 ? this.chunks[0]! : this.rest();
    const second = start[1]!;
    const isMasked = second >= 0x80;
    const lengthBytes = (second & 0x7f) === 126 ? 2 : (second & 0x7f) === 127 ? 8 : 0;
    const size = 2 + lengthBytes + (isMasked ? 4 : 0);
    if (this.length < size) return undefined;
    const length =
      lengthBytes === 0
        ? second & 0x7f
        : lengthBytes === 2
          ? start.readUInt16BE(2)
          : Number(start.readBigUInt64BE(2));
    if (this.length < size + length) return undefined;
    const whole = this.take(size + length);
    if (isMasked) mask(whole, size, whole.subarray(size - 4, size));
    return {
      fin: whole[0]! >= 0x80,
      rsv: (whole[0]! >> 4) & 7,
      opcode: whole[0]! & 0x0f,
      isMasked,
      payload: whole.subarray(size),
    };
  }
}
