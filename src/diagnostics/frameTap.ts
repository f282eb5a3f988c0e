/** A tap that sees the frames of both directions and, on a wire without frames, the bytes. */
import { Buffer } from 'node:buffer';
import type { ShownFrame } from '../explain/frameLine.ts';
import { frameEnd, payloadStart } from '../protocol/websocket/frame.ts';
import type { Tap, Tapped } from './tap.ts';

/** @param onFrame owns the frame; its `head` is a copy of at most `headSize` bytes */
export function newFrameTap(
  onFrame: (connection: Tapped, frame: ShownFrame) => void,
  headSize: number,
): Required<Pick<Tap, 'read' | 'sent'>> {
  return {
    read(connection, first, { bytes, start, end, length, key, size }) {
      const head = Buffer.from(bytes.subarray(start, Math.min(end, start + headSize)));
      for (let i = 0; i < head.length; i++) head[i]! ^= key >>> (8 * (i & 3));
      // RFC 6455 §5.2: the MASK bit is in the second byte. Decoding removes the mask, and clears the key.
      const isMasked = size !== undefined && bytes[start - size + 1]! >= 0x80;
      onFrame(connection, { direction: '<', first, isMasked, length, head });
    },

    sent(connection, bytes, start, end) {
      const isFramed = connection.endpoint !== undefined;
      for (let at = start; at < end; ) {
        const next = isFramed ? frameEnd(bytes, at) : end;
        const payload = isFramed ? payloadStart(bytes, at) : at;
        const head = Buffer.from(bytes.subarray(payload, Math.min(next, payload + headSize)));
        const first = isFramed ? bytes[at]! : undefined;
        onFrame(connection, { direction: '>', first, isMasked: false, length: next - payload, head });
        at = next;
      }
    },
  };
}
