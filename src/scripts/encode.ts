/** Frames of a script as bytes, also those that break rules (RFC 6455 §5.2). */
import { constants, deflateRawSync } from 'node:zlib';
import { FIN, frameHeaderSize, RSV1, writeFrameHeader } from '../protocol/websocket/frame.ts';
import type { WrittenForm } from './script.ts';

export interface PlainFrame {
  readonly opcode: number;
  readonly isFinal: boolean;
  readonly isCompressed: boolean;
  readonly payload: Buffer;
  readonly form: WrittenForm;
}

/** @param key the masking key, unless the form has one; `null` for a server, which does not mask */
export function encodeFrame(
  { opcode, isFinal, isCompressed, payload, form }: PlainFrame,
  key: Buffer | null,
): Buffer {
  const sent = isCompressed ? compressedPayload(payload) : payload;
  const rsv = form.rsv === undefined ? (isCompressed ? RSV1 : 0) : form.rsv << 4;
  const mask = form.key === undefined ? key : form.key;
  const header = encodeHeader((isFinal ? FIN : 0) | rsv | opcode, sent.length, form, mask);
  const bytes = Buffer.concat([header, sent]);
  if (mask !== null) for (let i = 0; i < sent.length; i++) bytes[header.length + i]! ^= mask[i & 3]!;
  return bytes;
}

/** Whether the frame may be read as one of a server: the header says what follows, and nothing is masked. */
export function isUsualForm({ rsv, key, lengthBytes, announcedLength }: WrittenForm): boolean {
  const isMasked = key !== undefined && key !== null;
  return rsv === undefined && !isMasked && lengthBytes === undefined && announcedLength === undefined;
}

function encodeHeader(first: number, size: number, form: WrittenForm, mask: Buffer | null): Buffer {
  const { announcedLength = size, lengthBytes } = form;
  const maskSize = mask?.length ?? 0;
  if (lengthBytes === undefined) {
    const header = Buffer.alloc(frameHeaderSize(announcedLength) + maskSize);
    writeFrameHeader(header, 0, first, announcedLength, mask?.readInt32LE());
    return header;
  }
  const header = Buffer.alloc(2 + lengthBytes + maskSize);
  header[0] = first;
  header[1] =
    (mask === null ? 0 : 0x80) | (lengthBytes === 0 ? announcedLength & 0x7f : lengthBytes === 2 ? 126 : 127);
  if (lengthBytes === 2) header.writeUInt16BE(announcedLength & 0xffff, 2);
  if (lengthBytes === 8) header.writeBigUInt64BE(BigInt(announcedLength), 2);
  if (mask !== null) mask.copy(header, 2 + lengthBytes);
  return header;
}

/** A whole message without context takeover (RFC 7692 §7.2.1): the last four octets of the sync flush are left out. */
function compressedPayload(payload: Buffer): Buffer {
  return deflateRawSync(payload, { finishFlush: constants.Z_SYNC_FLUSH }).subarray(0, -4);
}
