/**
 * Messages of clients without WebSocket, as pure code: JSON where they come and go over HTTP, frames inside. What is sent
 * is numbered from 1 on; an answer to a poll is
 *
 *     {"messages":[{"seq":1,"text":"hello"},{"seq":2,"binary":"AAEC"}],"closed":{"code":1001,"reason":"…"}}
 *
 * with `closed` behind the last message of all only. `binary` is base64.
 */
import { Buffer, isUtf8 } from 'node:buffer';
import { decodeBase64 } from './base64.ts';
import { maxFrameHeader, maxPostedLines } from './bounds.ts';
import { CloseCode, Opcode, ProtocolError } from './codes.ts';
import { newFrameHeader, readFrameHeader, writeFrameHeader } from './frame.ts';

/** The path of a session, its token being the first group. */
export const sessionPath = /^\/poll\/s\/(.*)$/;

/** A path as others may see it: whoever has the token has the session. */
export function withoutToken(path: string): string {
  return path.replace(/^(\/poll\/s\/).+/, '$1…');
}

/** A message to the client. */
export interface Numbered {
  readonly seq: number;
  /** As `showContent` shows it: shared by all who are sent the same. */
  readonly content: string;
}

export function showContent(isText: boolean, bytes: Buffer, start: number, end: number): string {
  if (isText) return `"text":${JSON.stringify(bytes.toString('utf8', start, end))}`;
  return `"binary":"${bytes.toString('base64', start, end)}"`;
}

function showMessage({ seq, content }: Numbered): string {
  return `{"seq":${seq},${content}}`;
}

/** The end, and why, behind the last message. */
export function showClosing(code: number, reason: string): string {
  return JSON.stringify({ code, reason });
}

export function showAnswer(messages: readonly Numbered[], closing: string | undefined): string {
  const list = messages.map(showMessage).join(',');
  return `{"messages":[${list}]${closing === undefined ? '' : `,"closed":${closing}`}}\n`;
}

/** The message as an event of a stream (HTML Living Standard §9.2.5): JSON has no line end that would cut it. */
export function showEvent(message: Numbered): string {
  return `id: ${message.seq}\ndata: ${showMessage(message)}\n\n`;
}

const header = newFrameHeader();

/**
 * Reads whole frames, as a server writes them where nothing is compressed.
 * @param said is told where the payload of each message lies
 * @param closed is given the content of a close frame
 */
export function readSent(
  bytes: Buffer,
  start: number,
  end: number,
  said: (isText: boolean, from: number, to: number) => void,
  closed: (closing: string) => void,
): void {
  for (let at = start; at < end; ) {
    const from = at + readFrameHeader(header, 'client', false, bytes, at, end);
    const to = from + header.length;
    const { opcode } = header;
    if (opcode === Opcode.Text || opcode === Opcode.Binary) said(opcode === Opcode.Text, from, to);
    else if (opcode === Opcode.Close) {
      const code = to - from < 2 ? CloseCode.NoStatusReceived : bytes.readUInt16BE(from);
      closed(showClosing(code, bytes.toString('utf8', Math.min(to, from + 2), to)));
    }
    at = to;
  }
}

/** Messages in one request, each as the frame of a client. */
export type Posted = readonly Buffer[];

/** Whether a request with this Content-Type has a message a line. */
export function areLines(type: string | undefined): boolean {
  return mediaType(type) === 'application/x-ndjson';
}

function mediaType(type = ''): string {
  return type.split(';', 1)[0]!.trim().toLowerCase();
}

/**
 * The messages in the body of a request: one of bytes (application/octet-stream), one a line, as JSON
 * (application/x-ndjson), or, whatever else it says, one of text: `curl -d` says what HTML forms do, and means nothing.
 * @throws ProtocolError 400, 413
 */
export function readPosted(type: string | undefined, body: Buffer): Posted {
  if (areLines(type)) return readLines(body);
  if (mediaType(type) === 'application/octet-stream') return [clientFrame(Opcode.Binary, body)];
  if (!isUtf8(body)) {
    throw new ProtocolError(400, 'text is UTF-8; bytes are sent with Content-Type: application/octet-stream');
  }
  return [clientFrame(Opcode.Text, body)];
}

function readLines(body: Buffer): Buffer[] {
  if (body.length > maxPostedLines)
    throw new ProtocolError(413, `lines of JSON are at most ${maxPostedLines} bytes a request`);
  if (!isUtf8(body)) throw new ProtocolError(400, 'JSON is UTF-8');
  // Some editors and shells begin a text with a byte order mark.
  const lines = body
    .toString('utf8')
    .replace(/^\ufeff/, '')
    .split('\n');
  if (lines.at(-1) === '') lines.pop();
  return lines.map((line, index) => {
    const frame = readLine(line);
    if (frame !== undefined) return frame;
    throw new ProtocolError(400, `line ${index + 1} is not of the form {"text":"…"} or {"binary":"base64"}`);
  });
}

function readLine(line: string): Buffer | undefined {
  try {
    const { text, binary } = JSON.parse(line) as Record<string, unknown>;
    // Half a surrogate pair has no UTF-8.
    if (typeof text === 'string' && binary === undefined && !/\p{Surrogate}/u.test(text))
      return clientFrame(Opcode.Text, Buffer.from(text));
    const bytes = decodeBase64(binary);
    if (bytes !== undefined && text === undefined) return clientFrame(Opcode.Binary, bytes);
  } catch {}
  return undefined;
}

/** Masked with the key 0, which changes nothing. */
function clientFrame(opcode: number, payload: Buffer): Buffer {
  const bytes = Buffer.allocUnsafe(maxFrameHeader);
  const end = writeFrameHeader(bytes, 0, 0x80 | opcode, payload.length, 0);
  return Buffer.concat([bytes.subarray(0, end), payload]);
}
