/** Frames that several loads share. */
import { constants, deflateRawSync } from 'node:zlib';
import { type FrameOptions, frame, opcode } from '../../support/rawFrame.ts';

export const KiB = 1024;
export const MiB = 1024 * KiB;

/** The default of `--max-message`. */
export const maxMessage = 16 * MiB;

const key = Buffer.from([0x37, 0xfa, 0x21, 0x3d]);

export const textFrame = (payload: string | Uint8Array, options: FrameOptions = {}) =>
  frame(opcode.text, payload, { key, ...options });

export const binaryFrame = (payload: Uint8Array, options: FrameOptions = {}) =>
  frame(opcode.binary, payload, { key, ...options });

/** The size of the echo, one unmasked frame. */
export function echoSize(payloadSize: number): number {
  return payloadSize + (payloadSize < 126 ? 2 : payloadSize < 65_536 ? 4 : 10);
}

export const deflateHeaders = { 'Sec-WebSocket-Extensions': 'permessage-deflate' };

/** A payload as permessage-deflate carries it (RFC 7692 §7.2.1): without the empty block at its end. */
export function deflated(payload: Uint8Array): Buffer {
  return deflateRawSync(payload, { finishFlush: constants.Z_SYNC_FLUSH }).subarray(0, -4);
}

/** RSV1: the message is compressed. */
export const compressed = { rsv: 4 } as const;
