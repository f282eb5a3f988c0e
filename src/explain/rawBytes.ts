/** The raw bytes of frames for lines, without payloads that contain credentials. */
import { Buffer } from 'node:buffer';
import { hasCredential, type ShownPayload, shownHex } from './frameLine.ts';

/** A complete header. It may break rules. */
export interface LooseHeader {
  /** Bytes. */
  readonly size: number;
  /** Bytes of the payload. */
  readonly length: number;
  /** Undefined if the payload is not masked. */
  readonly key: Buffer | undefined;
}

/** The longest header: two bytes, a length of eight, and a masking key. */
export const longestHeader = 14;

/** Reads the header at the start of `bytes` without checks. @returns undefined while it is incomplete */
export function looseHeader(bytes: Buffer): LooseHeader | undefined {
  if (bytes.length < 2) return undefined;
  const short = bytes[1]! & 0x7f;
  const lengthSize = short === 126 ? 2 : short === 127 ? 8 : 0;
  const isMasked = bytes[1]! >= 0x80;
  const size = 2 + lengthSize + (isMasked ? 4 : 0);
  if (bytes.length < size) return undefined;
  const length =
    lengthSize === 0 ? short : lengthSize === 2 ? bytes.readUInt16BE(2) : Number(bytes.readBigUInt64BE(2));
  return { size, length, key: isMasked ? Buffer.from(bytes.subarray(size - 4, size)) : undefined };
}

/** Removes the mask in place. @param key undefined if there is none */
export function unmaskLoosely(payload: Buffer, key: Buffer | undefined): Buffer {
  if (key !== undefined) for (let i = 0; i < payload.length; i++) payload[i]! ^= key[i & 3]!;
  return payload;
}

/** The hexadecimal digits of a frame, or of its header if the payload contains a credential. @param bytes begin with the header */
export function shownFrameBytes(bytes: Buffer): ShownPayload {
  const { size, key } = looseHeader(bytes) ?? { size: 0, key: undefined };
  const payload = unmaskLoosely(Buffer.from(bytes.subarray(size)), key);
  return hasCredential(payload) ? shownHex(bytes.subarray(0, size), true) : shownHex(bytes, false);
}
