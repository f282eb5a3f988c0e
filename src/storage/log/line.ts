/**
 * One line of the log: a JSON object for a message, or for the start of a segment or of a server. Made for
 * `tail -F messages.jsonl | jq 'select(.channel == "pond")'`, so only messages and forgets have a channel.
 *
 *     {"epoch":"k3x9","next":12,"time":"…","boot":"…","fsync":"everysec"}
 *     {"id":"k3x9-12","time":"…","channel":"pond","from":"Zoë","uid":7,"text":"hello"}
 *     {"id":"k3x9-13","time":"…","channel":"pond","forget":true,"newest":12}
 */
import type { Fsync } from '../sync.ts';
import type { LogMessage, LogRecord, MessageKind } from './records.ts';

/**
 * The state of the sequence. Written at the beginning of each segment and at each start of a server, and at its end with
 * `isClosed`.
 */
export interface LogMark {
  readonly epoch: string;
  /** All later messages have this number or a higher one. */
  readonly next: number;
  /** Identifies the boot of the system, to notice a crash of it. */
  readonly boot?: string | undefined;
  readonly fsync?: Fsync | undefined;
  /** Messages before this line may have been lost. */
  readonly isLossy?: boolean | undefined;
  /** The server ended here in the regular way. */
  readonly isClosed?: boolean | undefined;
}

/** Control characters that JSON does not escape. The text is untrusted and may reach a terminal. */
const unsafe = /[\x7f-\x9f\u2028\u2029]/g;

const escaped = (character: string) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`;

/** In a longer line, a regular expression takes seconds to replace millions of characters. */
const shortLine = 16 * 1024;

function escapeUnsafe(line: string): string {
  if (line.length <= shortLine) return line.replace(unsafe, escaped);
  return line.search(unsafe) < 0 ? line : escapeBytes(Buffer.from(line)).toString();
}

const maxEscape = 6;
const lowerU = 0x75;
const hexDigits = Buffer.from('0123456789abcdef');

/** As `escapeUnsafe`, in UTF-8. */
function escapeBytes(line: Buffer): Buffer {
  let size = 0;
  for (let at = 0; at < line.length; at++) size += unsafeLength(line, at) === 0 ? 1 : maxEscape;
  const result = Buffer.allocUnsafe(size);
  let to = 0;
  for (let at = 0; at < line.length; ) {
    const length = unsafeLength(line, at);
    if (length === 0) {
      result[to++] = line[at++]!;
      continue;
    }
    const last = line[at + length - 1]!;
    const code = length === 3 ? 0x2000 | (last & 0x3f) : last;
    result[to++] = backslash;
    result[to++] = lowerU;
    for (let shift = 12; shift >= 0; shift -= 4) result[to++] = hexDigits[(code >> shift) & 0xf]!;
    at += length;
  }
  return result.subarray(0, to);
}

/** The length of the unsafe character that begins here, in UTF-8: DEL, C2 80 to C2 9F, E2 80 A8, E2 80 A9. @returns 0 for any other */
function unsafeLength(line: Buffer, at: number): number {
  const byte = line[at]!;
  if (byte === 0x7f) return 1;
  if (byte === 0xc2) return line[at + 1]! < 0xa0 ? 2 : 0;
  return byte === 0xe2 && line[at + 1] === 0x80 && (line[at + 2]! & 0xfe) === 0xa8 ? 3 : 0;
}

/** The mark's line, with its newline. */
export function formatMark({ epoch, next, boot, fsync, isLossy, isClosed }: LogMark, time: number): string {
  const fields = { epoch, next, time: isoTime(time), boot, fsync, lossy: isLossy, closed: isClosed };
  return `${JSON.stringify(fields)}\n`;
}

/** The record's line, with its newline. */
export function formatRecord(epoch: string, record: LogRecord): string {
  const channel = JSON.stringify(record.channel);
  let line = `{"id":"${epoch}-${record.seq}","time":"${isoTime(record.time)}","channel":${channel}`;
  if ('isForget' in record) {
    const newest = record.newest === undefined ? '' : `,"newest":${record.newest}`;
    return escapeUnsafe(`${line},"forget":true${newest}}\n`);
  }
  const { from, uid, event, expiresAt, key, publisher, subscribers } = record;
  if (from !== undefined) line += `,"from":${JSON.stringify(from)}`;
  if (uid !== undefined) line += `,"uid":${uid}`;
  if (event !== undefined) line += `,"event":${JSON.stringify(event)}`;
  if (expiresAt !== undefined) line += `,"expires":"${isoTime(expiresAt)}"`;
  if (key !== undefined) line += `,"key":${JSON.stringify(key)}`;
  if (publisher !== undefined) line += `,"publisher":${JSON.stringify(publisher)}`;
  if (key !== undefined && subscribers !== undefined) line += `,"subscribers":${subscribers}`;
  return escapeUnsafe(`${line},${formatData(record)}}\n`);
}

function formatData({ kind, data }: LogMessage): string {
  if (kind === 'bytes') return `"base64":"${data.toString('base64')}"`;
  const text = data.toString('utf8');
  // In JSON, line ends are only white space between values.
  return kind === 'text' ? `"text":${JSON.stringify(text)}` : `"data":${text.replace(/[\r\n]/g, ' ')}`;
}

let lastTime = Number.NaN;
let lastIso = '';

/** Most messages of a turn have the same time. */
function isoTime(time: number): string {
  if (time !== lastTime) lastIso = new Date(time).toISOString();
  lastTime = time;
  return lastIso;
}

/** The beginning of a message's line: enough to decide whether the message is needed. */
export interface LineHead {
  readonly epoch: string;
  readonly seq: number;
  readonly channel: string;
}

const headPattern =
  /^\{"id":"([0-9a-z]+)-([1-9]\d{0,15})","time":"[^"]{20,30}","channel":("(?:[^"\\]|\\.)*")/;

/** A channel's name has at most 200 characters, each up to 12 bytes if escaped. */
const maxHead = 4096;

/** @param line its first 4,096 bytes are enough @returns undefined if it is not the line of a message or a forget */
export function readHead(line: Buffer): LineHead | undefined {
  const [, epoch, digits, quoted] =
    headPattern.exec(line.toString('latin1', 0, Math.min(maxHead, line.length))) ?? [];
  if (epoch === undefined || digits === undefined || quoted === undefined) return readOddHead(line);
  const seq = Number(digits);
  if (!Number.isSafeInteger(seq)) return undefined;
  const isPlain = /^"[ -[\]-~]*"$/.test(quoted);
  const channel = isPlain ? quoted.slice(1, -1) : parseJson(Buffer.from(quoted, 'latin1').toString('utf8'));
  return typeof channel === 'string' ? { epoch, seq, channel } : undefined;
}

/** Another program may have changed the order or the white space of a line. */
function readOddHead(line: Buffer): LineHead | undefined {
  if (!line.includes('"id"') || !line.includes('"channel"')) return undefined;
  const { id, channel } = parseLineObject(line) ?? {};
  if (typeof id !== 'string' || typeof channel !== 'string') return undefined;
  const [, epoch, digits] = /^([0-9a-z]+)-([1-9]\d{0,15})$/.exec(id) ?? [];
  const seq = Number(digits);
  return epoch !== undefined && Number.isSafeInteger(seq) ? { epoch, seq, channel } : undefined;
}

/** @returns undefined if it is not a mark */
export function parseMark(line: Buffer): LogMark | undefined {
  if (!line.includes('"epoch"')) return undefined;
  const { epoch, next, boot, fsync, lossy, closed } = parseLineObject(line) ?? {};
  if (typeof epoch !== 'string' || !/^[0-9a-z]+$/.test(epoch)) return undefined;
  if (!Number.isSafeInteger(next) || (next as number) < 1) return undefined;
  return {
    epoch,
    next: next as number,
    boot: typeof boot === 'string' ? boot : undefined,
    fsync: fsync === 'always' || fsync === 'everysec' || fsync === 'no' ? fsync : undefined,
    isLossy: lossy === true,
    isClosed: closed === true,
  };
}

/** @param head of the same line @returns undefined if the line is damaged */
export function parseRecord(line: Buffer, { seq, channel }: LineHead): LogRecord | undefined {
  const text = line.toString('utf8');
  const { fields, data: json } = splitData(text) ?? { fields: parseJson(text), data: undefined };
  if (typeof fields !== 'object' || fields === null) return undefined;
  const { forget, newest, from, uid, event, expires, key, publisher, subscribers, ...rest } =
    fields as Fields;
  const time = timeOf(rest.time);
  if (time === undefined) return undefined;
  if (forget === true) return { seq, time, channel, isForget: true, newest: numberOf(newest) };
  const content = json === undefined ? contentOf(rest) : { kind: 'json' as const, data: Buffer.from(json) };
  if (content === undefined) return undefined;
  return {
    seq,
    time,
    channel,
    kind: content.kind,
    data: content.data,
    from: stringOf(from),
    uid: numberOf(uid),
    event: stringOf(event),
    expiresAt: timeOf(expires),
    key: stringOf(key),
    publisher: stringOf(publisher),
    subscribers: numberOf(subscribers),
  };
}

/** What a line may have. */
type FieldName =
  | ('epoch' | 'next' | 'boot' | 'fsync' | 'lossy' | 'closed')
  | ('id' | 'time' | 'channel' | 'forget' | 'newest' | 'from' | 'uid' | 'nick' | 'event' | 'expires')
  | ('key' | 'publisher' | 'subscribers' | 'text' | 'base64' | 'data');

type Fields = { readonly [Name in FieldName]?: unknown };

/**
 * Separates a JSON value from the other fields, to keep it as it was published: numbers may be too long for JavaScript. In the
 * strings before it, quotes are escaped, so they cannot contain its key.
 */
function splitData(text: string): { fields: unknown; data: string } | undefined {
  const at = text.indexOf(',"data":');
  if (at < 0) return undefined;
  const data = text.slice(at + ',"data":'.length, text.lastIndexOf('}'));
  const fields = parseJson(`${text.slice(0, at)}}`);
  return fields === undefined || parseJson(data) === undefined ? undefined : { fields, data };
}

function contentOf({ text, base64, data }: Fields): { kind: MessageKind; data: Buffer } | undefined {
  if (typeof text === 'string') return { kind: 'text', data: Buffer.from(text) };
  if (typeof base64 === 'string') return { kind: 'bytes', data: Buffer.from(base64, 'base64') };
  return data === undefined ? undefined : { kind: 'json', data: Buffer.from(JSON.stringify(data)) };
}

const stringOf = (value: unknown) => (typeof value === 'string' ? value : undefined);
const numberOf = (value: unknown) => (Number.isSafeInteger(value) ? (value as number) : undefined);

function timeOf(value: unknown): number | undefined {
  const time = typeof value === 'string' ? Date.parse(value) : Number.NaN;
  return Number.isNaN(time) ? undefined : time;
}

/** @returns undefined if it is not JSON, or not an object */
export function parseLineObject(line: Buffer): Fields | undefined {
  const value = parseJson(line.toString('utf8'));
  return typeof value === 'object' && value !== null ? (value as Fields) : undefined;
}

/** @returns the length of the JSON object at the start of the line; 0 without a complete object */
export function objectEnd(line: Buffer): number {
  let depth = 0;
  let isInString = false;
  for (let at = 0; at < line.length; at++) {
    const byte = line[at]!;
    if (isInString) {
      if (byte === backslash) at++;
      else if (byte === quote) isInString = false;
    } else if (byte === quote) isInString = true;
    else if (byte === openingBrace) depth++;
    else if (byte === closingBrace) depth--;
    if (depth === 0) return parseLineObject(line.subarray(0, at + 1)) === undefined ? 0 : at + 1;
  }
  return 0;
}

const quote = 0x22;
const backslash = 0x5c;
export const openingBrace = 0x7b;
const closingBrace = 0x7d;

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
