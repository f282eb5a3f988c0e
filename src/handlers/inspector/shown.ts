/** Decoded events as the page shows them. */
import { isUtf8 } from 'node:buffer';
import { StringDecoder } from 'node:string_decoder';
import { Opcode } from '../../protocol/codes.ts';
import { maxShownContent } from '../../protocol/inspectorLimits.ts';
import { frameEnd, payloadStart } from '../../protocol/websocket/frame.ts';
import type {
  BytesEvent,
  Content,
  FrameEvent,
  RequestEvent,
  ResponseEvent,
} from '../../recordings/recording.ts';
import type { InspectedFrame } from './messages.ts';

type Writable<Record> = { -readonly [Key in keyof Record]: Record[Key] };

/** A frame that is not sent yet. */
export type PendingFrame = Writable<InspectedFrame>;

/** A frame without its content. @param raw its bytes, or at least its header */
export function showFrameHeader(
  frame: number,
  time: number,
  { from, length }: FrameEvent,
  raw: Buffer,
): PendingFrame {
  const isMasked = (raw[1]! & 0x80) !== 0;
  const header = payloadStart(raw, 0) + (isMasked ? 4 : 0);
  const wireLength = length === undefined ? raw.length : header + length;
  return {
    ...{ frame, time, direction: from === 'client' ? 'in' : 'out', kind: 'frame' },
    first: raw[0]!,
    isMasked,
    length: wireLength - header,
    wireLength,
  };
}

/** Adds the content of a control frame, or of the message that the frame completes. */
export function addContent(shown: PendingFrame, opcode: number, { isText, bytes }: Content): void {
  if (opcode === Opcode.Close && bytes.length >= 2) {
    shown.code = bytes.readUInt16BE();
    addBytes(shown, bytes.subarray(2), true);
    return;
  }
  if (bytes.length !== shown.length) shown.contentLength = bytes.length;
  addBytes(shown, bytes, isText);
}

function addBytes(shown: PendingFrame, bytes: Buffer, isText: boolean): void {
  const part = bytes.subarray(0, maxShownContent);
  if (part.length < bytes.length) shown.isCut = true;
  // A text that is not valid UTF-8 fails the connection, so no receiver reads it as text.
  if (isText && isUtf8(bytes)) shown.text = wholeCharacters(part);
  else shown.hex = part.toString('hex');
}

function wholeCharacters(bytes: Buffer): string {
  return new StringDecoder('utf8').write(bytes);
}

/** Bytes that are not a valid frame. */
export function showBytes(frame: number, time: number, { from, bytes }: BytesEvent): PendingFrame {
  const direction = from === 'client' ? 'in' : 'out';
  const shown: PendingFrame = {
    ...{ frame, time, direction, kind: 'bytes' },
    length: bytes.length,
    wireLength: bytes.length,
  };
  addBytes(shown, bytes, false);
  return shown;
}

/** The head of a handshake, as it was received, except for the order and the spelling of its fields. */
export function showHead(frame: number, time: number, event: RequestEvent | ResponseEvent): PendingFrame {
  const line = event.kind === 'request' ? `GET ${event.target} HTTP/1.1` : `HTTP/1.1 ${event.status}`;
  const fields = Object.entries(event.headers).map(([name, value]) => `${name}: ${value}`);
  return showText(
    frame,
    time,
    { kind: 'head', isIn: event.kind === 'request' },
    [line, ...fields].join('\n'),
  );
}

/** A row of text, without bytes of the connection. */
export function showText(
  frame: number,
  time: number,
  { kind, isIn }: { kind: 'head' | 'fault' | 'end'; isIn: boolean },
  text: string,
): PendingFrame {
  const part = text.slice(0, maxShownContent);
  return {
    ...{ frame, time, direction: isIn ? 'in' : 'out', kind, length: 0, wireLength: 0, text: part },
    ...(part.length < text.length ? { isCut: true } : {}),
  };
}

/** The number of frames in `bytes[start, end)`, without reading their payloads. */
export function countFrames(bytes: Uint8Array, start: number, end: number, isMasked: boolean): number {
  let count = 0;
  for (let at = start; at < end; count++) at = frameEnd(bytes, at) + (isMasked ? 4 : 0);
  return count;
}
