/**
 * Polling over HTTP, as pure code: JSON on the wire, WebSocket frames inside the server. Messages to the client are numbered
 * from 1. The answer to a poll is
 *
 *     {"messages":[{"seq":1,"text":"hello"},{"seq":2,"binary":"AAEC"}],"closed":{"code":1001,"reason":"…"}}
 *
 * with `closed` only after the session's last message. `binary` is base64.
 */
import { Buffer, isUtf8 } from 'node:buffer';
import { decodeBase64 } from './base64.ts';
import { minLongBuffer, newBuffer } from './buffers.ts';
import { CloseCode, Opcode, ProtocolError } from './codes.ts';
import { maxFrameHeader, maxJsonEscape, maxPostedLinesBytes } from './limits.ts';
import { frameHeaderSize, newFrameHeader, readFrameHeader, writeFrameHeader } from './websocket/frame.ts';

/** The path of a session; the first group is its token. */
export const sessionPath = /^\/poll\/s\/(.*)$/;

/** The value of `closed`. */
export function showClosing(code: number, reason: string): string {
  return JSON.stringify({ code, reason });
}

/** A summary of complete, uncompressed server frames. */
export interface FrameSummary {
  /** How many of the frames are messages. */
  messages: number;
  /** What the close frame says, from `showClosing`, if the frames include one. */
  closing: string | undefined;
}

const header = newFrameHeader();

export function summarizeFrames(bytes: Buffer, start: number, end: number): FrameSummary {
  const summary: FrameSummary = { messages: 0, closing: undefined };
  for (let at = start; at < end; ) {
    const from = at + readFrameHeader(header, { bytes, start: at, end }, 'client', false);
    const to = from + header.length;
    const { opcode } = header;
    if (opcode === Opcode.Text || opcode === Opcode.Binary) summary.messages++;
    else if (opcode === Opcode.Close) {
      const code = to - from < 2 ? CloseCode.NoStatusReceived : bytes.readUInt16BE(from);
      summary.closing = showClosing(code, bytes.toString('utf8', Math.min(to, from + 2), to));
    }
    at = to;
  }
  return summary;
}

/** The payload of a message to the client: `bytes[from, to)`. */
export interface MessagePayload {
  isText: boolean;
  bytes: Buffer;
  from: number;
  to: number;
}

/**
 * Reads the frame at `bytes[start, end)`.
 * @param payload receives the payload, if the frame is a message
 * @returns the index after the frame, inverted (`~end`) for a control frame
 */
export function readSentFrame(payload: MessagePayload, bytes: Buffer, start: number, end: number): number {
  const from = start + readFrameHeader(header, { bytes, start, end }, 'client', false);
  const to = from + header.length;
  if (header.opcode !== Opcode.Text && header.opcode !== Opcode.Binary) return ~to;
  payload.isText = header.opcode === Opcode.Text;
  payload.bytes = bytes;
  payload.from = from;
  payload.to = to;
  return to;
}

/** The beginning of every answer to a poll. */
export const answerStart = '{"messages":[';

export function answerEnd(closing: string | undefined): string {
  return `]${closing === undefined ? '' : `,"closed":${closing}`}}\n`;
}

/** The JSON before and after the content of a message, in ASCII. */
export function messageStart(seq: number, isText: boolean): string {
  return `{"seq":${seq},"${isText ? 'text' : 'binary'}":"`;
}
export const messageEnd = '"}';

/** The same for an event stream (HTML Living Standard §9.2.5). JSON contains no line end that would split the event. */
export function eventStart(seq: number, isText: boolean): string {
  return `id: ${seq}\ndata: ${messageStart(seq, isText)}`;
}
export const eventEnd = `${messageEnd}\n\n`;

/** At least the length of `eventStart` and `eventEnd` together. */
export const maxEventOverhead = 128;

export function closedEvent(closing: string): string {
  return `event: closed\ndata: ${closing}\n\n`;
}

/** Characters with a short escape in JSON (RFC 8259 §7). */
const shortEscapes = new Map([
  [0x08, 'b'],
  [0x09, 't'],
  [0x0a, 'n'],
  [0x0c, 'f'],
  [0x0d, 'r'],
  [0x22, '"'],
  [0x5c, '\\'],
]);

/** By byte: 0 if it needs no escape, 1 for `\u00xx`, else the second character of its escape. */
const escapes = new Uint8Array(256);
/** By byte: how many bytes its escape adds. */
const growth = new Uint8Array(256);
for (let byte = 0; byte < 0x80; byte++) {
  const short = shortEscapes.get(byte);
  escapes[byte] = short !== undefined ? short.charCodeAt(0) : byte < 0x20 ? 1 : 0;
  growth[byte] = short !== undefined ? 1 : byte < 0x20 ? 5 : 0;
}

const hexDigits = Buffer.from('0123456789abcdef');

/** The length of the UTF-8 `bytes[from, to)` within a JSON string. */
export function textSize(bytes: Buffer, from: number, to: number): number {
  let size = to - from;
  for (let at = from; at < to; at++) size += growth[bytes[at]!]!;
  return size;
}

/** The length of `length` bytes in base64. */
export function base64Size(length: number): number {
  return 4 * Math.ceil(length / 3);
}

/**
 * Writes as much of the payload to `target[at, limit)` as fits, as escaped JSON or base64, and advances `payload.from`.
 * @returns the index after the last byte written
 */
export function writeContent(payload: MessagePayload, target: Buffer, at: number, limit: number): number {
  return payload.isText ? writeText(payload, target, at, limit) : writeBase64(payload, target, at, limit);
}

function writeText(payload: MessagePayload, target: Buffer, at: number, limit: number): number {
  const { bytes, to } = payload;
  const last = limit - maxJsonEscape;
  let from = payload.from;
  let next = at;
  while (from < to && next <= last) {
    const byte = bytes[from++]!;
    const code = escapes[byte]!;
    if (code === 0) {
      target[next++] = byte;
    } else if (code > 1) {
      target[next++] = 0x5c;
      target[next++] = code;
    } else {
      target[next++] = 0x5c;
      target[next++] = 0x75;
      target[next++] = 0x30;
      target[next++] = 0x30;
      target[next++] = hexDigits[byte >> 4]!;
      target[next++] = hexDigits[byte & 15]!;
    }
  }
  payload.from = from;
  return next;
}

function writeBase64(payload: MessagePayload, target: Buffer, at: number, limit: number): number {
  const { bytes, from, to } = payload;
  // Groups of three bytes, so that the pieces concatenate to valid base64.
  const end = Math.min(to, from + 3 * Math.max(0, Math.floor((limit - at) / 4)));
  if (end === from) return at;
  payload.from = end;
  return at + target.write(bytes.toString('base64', from, end), at, 'latin1');
}

/** The messages of one request, each as a client's frame. */
export type Posted = readonly Buffer[];

/** Whether this Content-Type means one message per line. */
export function areLines(type: string | undefined): boolean {
  return mediaType(type) === 'application/x-ndjson';
}

function mediaType(type = ''): string {
  return type.split(';', 1)[0]!.trim().toLowerCase();
}

/**
 * The messages in a request's body: one binary message (application/octet-stream), one message per line of JSON
 * (application/x-ndjson), or, with any other type, one text message: `curl -d` sends the type of HTML forms for any data.
 * @param hasRoom whether `maxFrameHeader` bytes before the body are free; then the frame of a long message is the body itself
 * @throws ProtocolError 400, 413
 */
export function readPosted(type: string | undefined, body: Buffer, hasRoom = false): Posted {
  const newFrame = hasRoom && body.length >= minLongBuffer ? frameInPlace : clientFrame;
  if (areLines(type)) return readLines(body);
  if (mediaType(type) === 'application/octet-stream') return [newFrame(Opcode.Binary, body)];
  if (!isUtf8(body)) {
    throw new ProtocolError(
      400,
      'text must be UTF-8; send bytes with Content-Type: application/octet-stream',
    );
  }
  return [newFrame(Opcode.Text, body)];
}

function readLines(body: Buffer): Buffer[] {
  if (body.length > maxPostedLinesBytes)
    throw new ProtocolError(
      413,
      `the lines of JSON in one request are limited to ${maxPostedLinesBytes} bytes`,
    );
  if (!isUtf8(body)) throw new ProtocolError(400, 'JSON must be UTF-8');
  return body
    .toString('utf8')
    .split('\n')
    .flatMap((line, index) => {
      // `trim` also removes byte order marks, which editors add and joined files have in the middle.
      const json = line.trim();
      if (json === '') return [];
      const frame = readLine(json);
      if (frame !== undefined) return [frame];
      throw new ProtocolError(
        400,
        `line ${index + 1} is not of the form {"text":"…"} or {"binary":"base64"}`,
      );
    });
}

function readLine(line: string): Buffer | undefined {
  try {
    const { text, binary } = JSON.parse(line) as Record<string, unknown>;
    // UTF-8 cannot encode an unpaired surrogate.
    if (typeof text === 'string' && binary === undefined && !/\p{Surrogate}/u.test(text))
      return clientFrame(Opcode.Text, Buffer.from(text));
    const bytes = decodeBase64(binary);
    if (bytes !== undefined && text === undefined) return clientFrame(Opcode.Binary, bytes);
  } catch {}
  return undefined;
}

/** A frame with masking key 0, which leaves the payload unchanged. */
function clientFrame(opcode: number, payload: Buffer): Buffer {
  const bytes = newBuffer(maxFrameHeader + payload.length);
  const start = writeFrameHeader(bytes, 0, 0x80 | opcode, payload.length, 0);
  return bytes.subarray(0, start + payload.copy(bytes, start));
}

/** The same, but the frame begins in the bytes before the payload. */
function frameInPlace(opcode: number, payload: Buffer): Buffer {
  const size = frameHeaderSize(payload.length) + 4;
  const bytes = Buffer.from(payload.buffer, payload.byteOffset - size, size + payload.length);
  writeFrameHeader(bytes, 0, 0x80 | opcode, payload.length, 0);
  return bytes;
}
