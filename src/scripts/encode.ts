/** Encodes the frames of a script, even invalid ones (RFC 6455 §5.2). */
import { encodeAnyFrame } from '../protocol/websocket/anyFrame.ts';
import { deflateMessage, newDeflateContext } from '../protocol/websocket/deflate.ts';
import { FIN, RSV1 } from '../protocol/websocket/frame.ts';
import type { WrittenForm } from './script.ts';

export interface PlainFrame {
  readonly opcode: number;
  readonly isFinal: boolean;
  readonly isCompressed: boolean;
  readonly payload: Buffer;
  readonly form: WrittenForm;
}

/** @param key the masking key, unless the form has its own; `null` for a server */
export function encodeFrame(
  { opcode, isFinal, isCompressed, payload, form }: PlainFrame,
  key: Buffer | null,
): Buffer {
  const { announcedLength: announced, lengthBytes, key: ownKey = key } = form;
  const rsv = form.rsv === undefined ? (isCompressed ? RSV1 : 0) : form.rsv << 4;
  return encodeAnyFrame({
    first: (isFinal ? FIN : 0) | rsv | opcode,
    payload: isCompressed ? compressedPayload(payload) : payload,
    key: ownKey?.readInt32LE(),
    announced,
    lengthBytes,
  });
}

/** Whether the frame has the usual form: its header is correct, and it is not masked by an option. */
export function isUsualForm({ rsv, key, lengthBytes, announcedLength }: WrittenForm): boolean {
  const isMasked = key !== undefined && key !== null;
  return rsv === undefined && !isMasked && lengthBytes === undefined && announcedLength === undefined;
}

/** A whole message without context takeover. */
function compressedPayload(payload: Buffer): Buffer {
  return deflateMessage(newDeflateContext(false, maxWindowBits), payload, 0, payload.length);
}

const maxWindowBits = 15;
