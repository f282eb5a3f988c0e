/**
 * A recording: one WebSocket session, as a file of JSON lines. The first line is the header; each other line is an event with
 * its time (`at`, milliseconds since `time`) and its sender (`from`):
 *
 *     {"pollywog":"recording","version":1,"time":"2026-11-27T05:06:38.412Z","side":"server","id":7}
 *     {"at":0.113,"from":"client","request":"/echo","headers":{"host":"localhost:8080", …}}
 *     {"at":1.852,"from":"server","status":101,"headers":{"upgrade":"websocket", …}}
 *     {"at":2.406,"turn":31,"from":"client","opcode":"text","text":"hello","raw":"8185…"}
 *     {"at":2.617,"turn":31,"from":"server","opcode":"text","text":"hello","raw":"8105…"}
 *     {"at":9.020,"from":"client","opcode":"close","code":1000,"text":"bye","raw":"8885…"}
 *     {"at":9.871,"end":"client","why":"the peer closed the connection"}
 *
 * `raw` has a frame's exact bytes in hexadecimal digits. `text` (or `hex`, for other data) has the uncompressed content of a control
 * frame, or of the message that this frame completes. `fin` is false if more frames of the message follow. `turn` is the turn of the
 * server's loop that read or sent it. `bytes` has bytes that are not frames. A `redacted` frame contained a credential, and has no
 * `raw`.
 */
import { isUtf8 } from 'node:buffer';
import { isObject } from '../options/json.ts';
import { Opcode, opcodeNames } from '../protocol/codes.ts';
import { maxRecordingName } from '../protocol/recordingLimits.ts';

export type Side = 'client' | 'server';

/** The first line. */
export interface RecordingHeader {
  /** ISO time in UTC; all times of the recording are relative to it. */
  readonly time: string;
  /** The side that recorded it. */
  readonly side: Side;
  /** The connection's id in the server that recorded it. */
  readonly id?: number;
  /** The server's URL, without credentials. */
  readonly url?: string;
}

/** Names in lower case; fields of the same name are joined with commas. */
export type RecordedHeaders = Readonly<Record<string, string>>;

interface Timed {
  /** Milliseconds since `time` of the header. */
  readonly at: number;
  /** The recorded server's turn that read or sent it. */
  readonly turn?: number;
}

export interface RequestEvent extends Timed {
  readonly kind: 'request';
  readonly from: 'client';
  /** Path and query. */
  readonly target: string;
  readonly headers: RecordedHeaders;
}

export interface ResponseEvent extends Timed {
  readonly kind: 'response';
  readonly from: 'server';
  readonly status: number;
  readonly headers: RecordedHeaders;
}

/** The content of a control frame or of a message, unmasked and inflated. */
export interface Content {
  readonly isText: boolean;
  readonly bytes: Buffer;
}

export interface FrameEvent extends Timed {
  readonly kind: 'frame';
  readonly from: Side;
  /** The frame's opcode: a fragment after the first has `Opcode.Continuation`. */
  readonly opcode: number;
  readonly isFinal: boolean;
  readonly isCompressed: boolean;
  /** Undefined if the frame completes no message, or its message was not inflated. */
  readonly content: Content | undefined;
  /** The frame's bytes; undefined if it was redacted. */
  readonly raw: Buffer | undefined;
  /** The length of the payload, if `raw` has only the beginning of a long frame. Not in recordings. */
  readonly length?: number;
}

/** An invalid frame, and all bytes after it. */
export interface BytesEvent extends Timed {
  readonly kind: 'bytes';
  readonly from: Side;
  readonly bytes: Buffer;
}

/** The end of the connection. */
export interface EndEvent extends Timed {
  readonly kind: 'end';
  /** The side that ended it, as in the command `why`. */
  readonly by: string;
  readonly why: string;
}

/** The recording ends before the connection does. */
export interface CutEvent extends Timed {
  readonly kind: 'cut';
  readonly why: string;
}

export type RecordedEvent = RequestEvent | ResponseEvent | FrameEvent | BytesEvent | EndEvent | CutEvent;

/** An estimate of an event's objects, without its payload and raw bytes. */
const eventOverhead = 400;

/** Bytes of memory that an event takes until it is written. */
export function eventMemory(event: RecordedEvent): number {
  if (event.kind === 'bytes') return eventOverhead + event.bytes.length;
  if (event.kind !== 'frame') return eventOverhead;
  return eventOverhead + (event.raw?.length ?? 0) + (event.content?.bytes.length ?? 0);
}

/** An event, and the number of its line in the file, from 1. */
export type NumberedEvent = RecordedEvent & { readonly line: number };

export interface Recording {
  readonly name: string;
  readonly header: RecordingHeader;
  /** In order of time. */
  readonly events: readonly NumberedEvent[];
}

/** Names of recordings have no other characters, so no name is a path. */
export function isRecordingName(name: string): boolean {
  return name.length <= maxRecordingName && /^[A-Za-z0-9_-]+$/.test(name);
}

/** The extension of a recording's file. */
export const recordingExtension = '.jsonl';

export function showHeader(header: RecordingHeader): string {
  return `${JSON.stringify({ pollywog: 'recording', version: 1, ...header })}\n`;
}

/** An event as a line of the file, with its line end. */
export function showEvent(event: RecordedEvent): string {
  const at = Math.round(event.at * 1000) / 1000;
  const { turn } = event;
  return `${JSON.stringify({ at, ...(turn === undefined ? {} : { turn }), ...fieldsOf(event) })}\n`;
}

function fieldsOf(event: RecordedEvent): object {
  switch (event.kind) {
    case 'request':
      return { from: event.from, request: event.target, headers: event.headers };
    case 'response':
      return { from: event.from, status: event.status, headers: event.headers };
    case 'frame':
      return { from: event.from, ...frameFields(event) };
    case 'bytes':
      return { from: event.from, bytes: event.bytes.toString('hex') };
    case 'end':
      return { end: event.by, why: event.why };
    case 'cut':
      return { cut: event.why };
  }
}

function frameFields({ opcode, isFinal, isCompressed, content, raw }: FrameEvent): object {
  return {
    opcode: opcodeNames.get(opcode) ?? String(opcode),
    ...(isFinal ? {} : { fin: false }),
    ...(isCompressed ? { compressed: true } : {}),
    ...(content === undefined ? {} : contentFields(opcode, content)),
    ...(raw === undefined ? { redacted: true } : { raw: raw.toString('hex') }),
  };
}

function contentFields(opcode: number, { isText, bytes }: Content): object {
  if (opcode === Opcode.Close && bytes.length >= 2) {
    const reason = bytes.subarray(2);
    const shown = isUtf8(reason) ? { text: reason.toString('utf8') } : { hex: reason.toString('hex') };
    return { code: bytes.readUInt16BE(), ...(reason.length === 0 ? {} : shown) };
  }
  // A text that is not valid UTF-8 fails the connection, so no receiver reads it as text.
  if (isText && isUtf8(bytes)) return { text: bytes.toString('utf8') };
  return { hex: bytes.toString('hex') };
}

/**
 * Reads the text of a recording's file.
 * @throws Error that names the line, such as `line 3: it has no "at"`
 */
export function parseRecording(name: string, text: string): Recording {
  const lines = text.split('\n');
  const header = parseHeader(lines[0] ?? '');
  const events: NumberedEvent[] = [];
  for (const [index, line] of lines.entries()) {
    if (index === 0 || line.trim() === '') continue;
    // If the server was killed, the last line may be incomplete.
    const isTorn = index === lines.length - 1;
    const event = isTorn ? tryTo(() => parseEvent(line, index + 1)) : parseEvent(line, index + 1);
    if (event !== undefined) events.push(event);
  }
  return { name, header, events: events.sort((one, other) => one.at - other.at) };
}

function tryTo<Result>(act: () => Result): Result | undefined {
  try {
    return act();
  } catch {
    return undefined;
  }
}

function fault(line: number, why: string): Error {
  return new Error(`line ${line}: ${why}`);
}

function readObject(line: string, number: number): Record<string, unknown> {
  const value = tryTo(() => JSON.parse(line) as unknown);
  if (!isObject(value)) throw fault(number, 'it is not a JSON object');
  return value;
}

function parseHeader(line: string): RecordingHeader {
  const fields = readObject(line, 1);
  if (fields['pollywog'] !== 'recording') throw fault(1, 'it is not the first line of a recording');
  if (fields['version'] !== 1) throw fault(1, 'the version of the recording is not 1');
  const { time, side, id, url } = fields;
  if (typeof time !== 'string' || Number.isNaN(Date.parse(time))) throw fault(1, '"time" is not a time');
  return {
    time,
    side: side === 'client' ? 'client' : 'server',
    ...(typeof id === 'number' ? { id } : {}),
    ...(typeof url === 'string' ? { url } : {}),
  };
}

function parseEvent(text: string, line: number): NumberedEvent {
  const fields = readObject(text, line);
  const { turn } = fields;
  return { ...parseFields(fields, line), ...(typeof turn === 'number' ? { turn } : {}) };
}

function parseFields(fields: Record<string, unknown>, line: number): NumberedEvent {
  const { at, from, request, status, opcode, bytes, end, cut } = fields;
  if (typeof at !== 'number' || !Number.isFinite(at)) throw fault(line, '"at" is not a number');
  if (typeof cut === 'string') return { kind: 'cut', line, at, why: cut };
  if (typeof end === 'string') return { kind: 'end', line, at, by: end, why: String(fields['why'] ?? '') };
  if (from !== 'client' && from !== 'server') throw fault(line, '"from" is neither "client" nor "server"');
  if (typeof bytes === 'string') return { kind: 'bytes', line, at, from, bytes: parseHex(bytes, line) };
  if (typeof request === 'string' && from === 'client')
    return { kind: 'request', line, at, from, target: request, headers: parseHeaders(fields, line) };
  if (typeof status === 'number' && from === 'server')
    return { kind: 'response', line, at, from, status, headers: parseHeaders(fields, line) };
  if (typeof opcode !== 'string')
    throw fault(line, 'it is not an event: it has no request, status, opcode or bytes');
  return { ...parseFrame(fields, opcode, line), line, at, from };
}

function parseHeaders({ headers }: Record<string, unknown>, line: number): RecordedHeaders {
  if (headers === undefined) return {};
  if (!isObject(headers)) throw fault(line, '"headers" is not an object');
  const given = Object.entries(headers).filter(
    (entry): entry is [string, string] => typeof entry[1] === 'string',
  );
  return Object.fromEntries(given.map(([name, value]) => [name.toLowerCase(), value]));
}

function parseFrame(
  fields: Record<string, unknown>,
  name: string,
  line: number,
): Omit<FrameEvent, 'at' | 'from'> {
  const opcode = [...opcodeNames].find(([, known]) => known === name)?.[0] ?? Number(name);
  if (!(Number.isInteger(opcode) && opcode >= 0 && opcode <= 15))
    throw fault(line, `"${name}" is not the name of an opcode`);
  const { fin, compressed, raw } = fields;
  if (raw !== undefined && typeof raw !== 'string')
    throw fault(line, '"raw" is not a text of hexadecimal digits');
  return {
    kind: 'frame',
    opcode,
    isFinal: fin !== false,
    isCompressed: compressed === true,
    content: parseContent(fields, opcode, line),
    raw: raw === undefined ? undefined : parseHex(raw, line),
  };
}

function parseContent(
  { text, hex, code }: Record<string, unknown>,
  opcode: number,
  line: number,
): Content | undefined {
  const payload =
    typeof text === 'string' ? Buffer.from(text) : typeof hex === 'string' ? parseHex(hex, line) : undefined;
  if (opcode === Opcode.Close) {
    if (typeof code !== 'number') return payload && { isText: false, bytes: payload };
    const head = Buffer.alloc(2);
    head.writeUInt16BE(code & 0xffff);
    return { isText: false, bytes: Buffer.concat([head, payload ?? Buffer.alloc(0)]) };
  }
  return payload && { isText: typeof text === 'string', bytes: payload };
}

function parseHex(digits: string, line: number): Buffer {
  if (digits.length % 2 !== 0 || !/^[0-9a-fA-F]*$/.test(digits))
    throw fault(line, 'it has an odd number of hexadecimal digits, or other characters');
  return Buffer.from(digits, 'hex');
}
