/** Client frames: masking, and how `--verbose` shows handshakes. */

import { Buffer } from 'node:buffer';
import { randomFillSync } from 'node:crypto';
import type { FrameDirection } from '../explain/frameLine.ts';
import { frameHeaderSize, writeFrameHeader } from '../protocol/websocket/frame.ts';
import { unmask } from '../protocol/websocket/mask.ts';

const keySize = 4;

/**
 * RFC 6455 §10.3 [5.3-3, 10.3-1]: masking keys must be unpredictable. One call draws many keys: a call per key would cost
 * more than a frame.
 */
const keys = Buffer.alloc(1024 * keySize);
let usedKeys = keys.length;

/** RFC 6455 §5.3 [5.3-2]: every frame needs a fresh masking key. */
function freshKey(): number {
  if (usedKeys === keys.length) {
    randomFillSync(keys);
    usedKeys = 0;
  }
  usedKeys += keySize;
  return keys.readInt32LE(usedKeys - keySize);
}

/**
 * @param first FIN, RSV1 and opcode, as on the wire
 * @returns a new buffer with the frame, whose payload is a copy of `bytes[start, end)`
 */
export function maskedFrame(first: number, bytes: Uint8Array, start: number, end: number): Buffer {
  const key = freshKey();
  const frame = Buffer.allocUnsafe(frameHeaderSize(end - start) + keySize + end - start);
  // RFC 6455 §5.1, §6.1 [5.1-1, 6.1-8]: a client masks every frame.
  const payload = writeFrameHeader(frame, 0, first, end - start, key);
  frame.set(bytes.subarray(start, end), payload);
  unmask(frame, payload, frame.length, key);
  return frame;
}

export function headLines(direction: FrameDirection, head: Buffer): string[] {
  const lines = head.toString('latin1').trimEnd().split('\r\n');
  return lines.map(line => `${direction} ${line}`);
}
