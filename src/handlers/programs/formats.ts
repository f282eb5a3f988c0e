/**
 * What a program is told, and what it says: records on its stdin and stdout. In which form, its entry says; a program that
 * serves all connections (shared) has in each record the id of the connection that it is about.
 */
import { isUtf8 } from 'node:buffer';
import { isObject } from '../../options/json.ts';
import type { ProgramFormat } from '../../options/values.ts';
import { decodeBase64 } from '../../protocol/base64.ts';
import { CloseCode, isSendableCloseCode, ProtocolError } from '../../protocol/codes.ts';
import { maxJsonEscape, maxRecipients } from '../../protocol/limits.ts';
import { base64Size, textSize, writeContent } from '../../protocol/polling.ts';
import type { Message } from '../../protocol/websocket/message.ts';
import type { Variables } from './environment.ts';

const LF = 0x0a;
const nothing = Buffer.alloc(0);

/** One record of a program's. */
export interface Said {
  readonly what: 'text' | 'binary' | 'close';
  /** Ids, or everyone; empty where the program has one connection only. */
  readonly to: readonly number[] | 'all';
  /** The message, on loan; a text's is UTF-8. */
  readonly bytes: Uint8Array;
  readonly start: number;
  readonly end: number;
  /** Of a close: a code that may be sent, and the reason. */
  readonly code: number;
  readonly reason: string;
}

export interface Format {
  /** A record ends before this byte; `undefined` where records begin with their length. */
  readonly delimiter: number | undefined;
  /** Bytes before the payload, of which the first four are its length; 0 where there is a delimiter. */
  readonly headerSize: number;
  /** Bytes that a record may take for a message of `size`. */
  longest(size: number): number;
  /**
   * A message, as a record; `id` is the connection's where the program is shared.
   * @throws ProtocolError 1003 or 1007 where the format has no place for it
   */
  message(message: Message, id: number): Buffer;
  /** Someone came or left: for shared programs, in formats that have events. */
  opened?(id: number, variables: Variables): Buffer;
  closed?(id: number, code: number, reason: string): Buffer;
  /**
   * Reads the record `bytes[start, end)`, which is without its delimiter.
   * @returns `undefined` for a record that says nothing, such as a blank line between JSON objects
   * @throws Error, a sentence
   */
  read(bytes: Buffer, start: number, end: number): Said | undefined;
}

export function newFormat(format: ProgramFormat, isShared: boolean): Format {
  switch (format) {
    case 'line':
      return newDelimitedFormat(0x0a, 'lines', isShared);
    case 'null':
      return newDelimitedFormat(0x00, 'texts without a NUL', isShared);
    case 'length':
      return newLengthFormat(isShared);
    case 'json':
      return newJsonFormat(isShared);
  }
}

/** What a program said, checked: it must not make us send what no one may send. */

/** @throws Error, a sentence, where a text is not UTF-8 */
export function messageSaid(
  to: Said['to'],
  isText: boolean,
  bytes: Buffer,
  start: number,
  end: number,
): Said {
  if (isText && !isUtf8(bytes.subarray(start, end))) throw new Error('a text that is not UTF-8');
  return { what: isText ? 'text' : 'binary', to, bytes, start, end, code: 0, reason: '' };
}

/** @throws Error, a sentence, where the code must not be sent */
export function closeSaid(to: Said['to'], code: number = CloseCode.NormalClosure, reason = ''): Said {
  if (!isSendableCloseCode(code)) throw new Error(`close code ${code}, which must not be sent`);
  return { what: 'close', to, bytes: nothing, start: 0, end: 0, code, reason };
}

/** @throws Error, a sentence, where these are no ids, or too many */
export function checkRecipients(ids: readonly unknown[]): readonly number[] {
  if (ids.length > maxRecipients) throw new Error(`more than ${maxRecipients} recipients`);
  if (!ids.every(id => Number.isSafeInteger(id))) throw new Error('an id that is no whole number');
  return ids as readonly number[];
}

/** Texts with a byte between them: lines, or NUL-separated texts. A shared program's begin with ids and a space. */

const CR = 0x0d;
const space = 0x20;

/** Room for the ids before a text. */
const idRoom = 64 * 1024;

/** @param kind what messages have to be, for whoever sends another */
export function newDelimitedFormat(delimiter: number, kind: string, isShared: boolean): Format {
  return {
    delimiter,
    headerSize: 0,
    longest: size => size + idRoom,

    // A message with the delimiter inside would be several to the program, and the client would choose how they begin.
    message({ isText, bytes, start, end }, id) {
      if (!isText)
        throw new ProtocolError(CloseCode.UnsupportedData, `messages here are ${kind}, not binary`);
      const text = bytes.subarray(start, delimiter === LF ? lineEnd(bytes, start, end) : end);
      if (text.includes(delimiter))
        throw new ProtocolError(CloseCode.InvalidPayload, `messages here are ${kind}`);
      const prefix = isShared ? `${id} ` : '';
      const record = Buffer.allocUnsafe(prefix.length + text.length + 1);
      record.write(prefix, 'latin1');
      record.set(text, prefix.length);
      record[record.length - 1] = delimiter;
      return record;
    },

    read(bytes, start, end) {
      const stop = delimiter === LF ? withoutCr(bytes, start, end) : end;
      if (!isShared) return messageSaid([], true, bytes, start, stop);
      const found = bytes.subarray(start, stop).indexOf(space);
      const idsEnd = found < 0 ? stop : start + found;
      const to = readIdList(bytes.toString('latin1', start, Math.min(idsEnd, start + idRoom)));
      return messageSaid(to, true, bytes, Math.min(idsEnd + 1, stop), stop);
    },
  };
}

/** Where a client's line ends: many send it with the line end (LF or CR LF) that they read it with. */
function lineEnd(bytes: Uint8Array, start: number, end: number): number {
  return end > start && bytes[end - 1] === LF ? withoutCr(bytes, start, end - 1) : end;
}

function withoutCr(bytes: Uint8Array, start: number, end: number): number {
  return end > start && bytes[end - 1] === CR ? end - 1 : end;
}

/** `7`, `7,9` or `*`. */
function readIdList(word: string): Said['to'] {
  if (word === '*') return 'all';
  if (!/^\d{1,10}(?:,\d{1,10})*$/.test(word))
    throw new Error('a text that does not begin with ids and a space');
  return checkRecipients(word.split(',').map(Number));
}

/**
 * A JSON object a line, for any bytes: `{"text":"hello"}`, `{"base64":"AAE="}`, `{"close":1000,"reason":""}`; with an
 * `"id"` where the program is shared, in answers a list of them or `"*"`, too. `{"id":7,"open":{…}}` says who came.
 */

/** Room for what is not the message. */
const frameRoom = 64 * 1024;

export function newJsonFormat(isShared: boolean): Format {
  const record = (id: number, fields: object) =>
    Buffer.from(`${JSON.stringify(isShared ? { id, ...fields } : fields)}\n`);

  return {
    delimiter: LF,
    headerSize: 0,
    // `é` is two bytes, and `\u00e9` six.
    longest: size => 3 * size + frameRoom,

    message({ isText, bytes, start, end }, id) {
      const head = `{${isShared ? `"id":${id},` : ''}"${isText ? 'text' : 'base64'}":"`;
      const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
      const size = isText ? textSize(buffer, start, end) : base64Size(end - start);
      // From bytes to bytes: a string of 16 MiB of control characters takes 200 MB on its way, and most of a second.
      const line = Buffer.allocUnsafe(head.length + size + maxJsonEscape);
      let at = line.write(head, 'latin1');
      at = writeContent({ isText, bytes: buffer, from: start, to: end }, line, at, line.length);
      at += line.write('"}\n', at, 'latin1');
      return line.subarray(0, at);
    },

    opened: (id, variables) => record(id, { open: variables }),
    closed: (id, code, reason) => record(id, { close: code, reason }),

    read(bytes, start, end) {
      const line = lineText(bytes.subarray(start, end));
      if (isBlank(line)) return undefined;
      const { id, text, base64, close, reason, ...others } = parseObject(line);
      const to = isShared ? readIdMember(id) : [];
      const [unknown] = Object.keys(others);
      if (unknown !== undefined)
        throw new Error(`a member ${JSON.stringify(unknown.slice(0, 40))}, which there is not`);
      if ([text, base64, close].filter(member => member !== undefined).length !== 1) {
        throw new Error('an object without one of "text", "base64" and "close", or with several');
      }
      if (typeof text === 'string') return wholeMessage(to, true, Buffer.from(text));
      if (typeof base64 === 'string') return wholeMessage(to, false, readBase64(base64));
      if (typeof close === 'number' && (reason === undefined || typeof reason === 'string')) {
        return closeSaid(to, close, reason);
      }
      throw new Error('a member of the wrong type');
    },
  };
}

function wholeMessage(to: Said['to'], isText: boolean, bytes: Buffer): Said {
  return messageSaid(to, isText, bytes, 0, bytes.length);
}

/** A line without a byte order mark, which editors put at the start of scripts, and PHP prints (RFC 8259 §8.1 allows to ignore it). */
function lineText(bytes: Buffer): string {
  if (!isUtf8(bytes)) throw new Error('a line that is not UTF-8');
  const text = bytes.toString();
  return text.startsWith('\ufeff') ? text.slice(1) : text;
}

/** Whether a line has nothing but JSON's own whitespace (RFC 8259 §2). */
function isBlank(line: string): boolean {
  return !/[^ \t\r]/.test(line);
}

function parseObject(line: string): Readonly<Record<string, unknown>> {
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch {
    throw new Error('a line that is not JSON');
  }
  if (!isObject(value)) throw new Error('a line that is not a JSON object');
  return value;
}

function readIdMember(id: unknown): Said['to'] {
  if (id === '*') return 'all';
  return checkRecipients(Array.isArray(id) ? id : [id]);
}

function readBase64(text: string): Buffer {
  const bytes = decodeBase64(text);
  if (bytes === undefined) throw new Error('"base64" that is not base64');
  return bytes;
}

/**
 * Records that begin with their length, for any bytes: four bytes with the payload's length, where the program is shared
 * four with the id, one with the kind, and the payload. Numbers are big-endian.
 */

/** Kinds of records: as the opcodes of RFC 6455 where they are the same. */
const Kind = { Opened: 0, Text: 1, Binary: 2, Close: 8 } as const;

/** Stands for everyone. */
const everyone = 0;

export function newLengthFormat(isShared: boolean): Format {
  const headerSize = isShared ? 9 : 5;

  function record(kind: number, id: number, payload: Uint8Array): Buffer {
    const bytes = Buffer.allocUnsafe(headerSize + payload.length);
    bytes.writeUInt32BE(payload.length, 0);
    if (isShared) bytes.writeUInt32BE(id, 4);
    bytes[headerSize - 1] = kind;
    bytes.set(payload, headerSize);
    return bytes;
  }

  return {
    delimiter: undefined,
    headerSize,
    longest: size => size + headerSize,

    message: ({ isText, bytes, start, end }, id) =>
      record(isText ? Kind.Text : Kind.Binary, id, bytes.subarray(start, end)),

    opened: (id, variables) => record(Kind.Opened, id, Buffer.from(JSON.stringify(variables))),

    closed(id, code, reason) {
      const payload = Buffer.alloc(2 + Buffer.byteLength(reason));
      payload.writeUInt16BE(code);
      payload.write(reason, 2);
      return record(Kind.Close, id, payload);
    },

    read(bytes, start, end) {
      const payload = start + headerSize;
      const id = isShared ? bytes.readUInt32BE(start + 4) : everyone;
      const to: Said['to'] = !isShared ? [] : id === everyone ? 'all' : [id];
      const kind = bytes[payload - 1];
      if (kind === Kind.Text || kind === Kind.Binary) {
        return messageSaid(to, kind === Kind.Text, bytes, payload, end);
      }
      if (kind !== Kind.Close) throw new Error(`a record of the kind ${kind}, which there is not`);
      if (end === payload) return closeSaid(to, CloseCode.NormalClosure, '');
      if (end === payload + 1) throw new Error('half a close code');
      return closeSaid(to, bytes.readUInt16BE(payload), bytes.toString('utf8', payload + 2, end));
    },
  };
}

/** Cuts records out of what a program writes, however the system cut that. */

export interface Records {
  /** What came and is not read yet is `[start, end)`; of that, no delimiter lies before `searched`. */
  bytes: Buffer;
  start: number;
  end: number;
  searched: number;
  /** The record that `nextRecord` found. */
  recordStart: number;
  recordEnd: number;
}

export function newRecords(): Records {
  return { bytes: nothing, start: 0, end: 0, searched: 0, recordStart: 0, recordEnd: 0 };
}

/** Forgets all input that no record was read from yet. */
export function clearRecords(records: Records): void {
  Object.assign(records, newRecords());
}

/** @param chunk given away */
export function addChunk(records: Records, chunk: Buffer): void {
  const { bytes, start, end } = records;
  const size = end - start;
  if (size === 0) {
    Object.assign(records, { bytes: chunk, start: 0, end: chunk.length, searched: 0 });
    return;
  }
  if (end + chunk.length > bytes.length) {
    // Doubles, so that one long record in many pieces costs no more than a few copies.
    const grown = Buffer.allocUnsafeSlow(Math.max(2 * size, size + chunk.length));
    bytes.copy(grown, 0, start, end);
    records.bytes = grown;
    records.start = 0;
    records.searched -= start;
    records.end = size;
  }
  chunk.copy(records.bytes, records.end);
  records.end += chunk.length;
}

/**
 * Finds the next whole record: `bytes[recordStart, recordEnd)`, on loan until more is added.
 * @param longest bytes that a record may have
 * @returns whether there is one
 * @throws Error, a sentence, where it is longer than that, or will be
 */
export function nextRecord(records: Records, { delimiter, headerSize }: Format, longest: number): boolean {
  const { bytes, start, end } = records;
  if (start === end) {
    // All is read: nothing is to be kept for long.
    clearRecords(records);
    return false;
  }
  let stop: number;
  if (delimiter === undefined) {
    if (end - start < headerSize) return false;
    stop = start + headerSize + bytes.readUInt32BE(start);
    checkLength(stop - start, longest);
    if (stop > end) return false;
    records.start = stop;
  } else {
    const from = Math.max(start, records.searched);
    const found = (end === bytes.length ? bytes : bytes.subarray(0, end)).indexOf(delimiter, from);
    if (found < 0) {
      records.searched = end;
      checkLength(end - start, longest);
      return false;
    }
    stop = found;
    checkLength(stop - start, longest);
    records.start = stop + 1;
  }
  records.recordStart = start;
  records.recordEnd = stop;
  return true;
}

function checkLength(length: number, longest: number): void {
  if (length > longest) throw new Error(`more than ${longest} bytes without an end`);
}

/**
 * Nothing more comes: what is there without a delimiter is a record, too. @returns whether there is one
 * @throws Error, a sentence, where the record is cut short
 */
export function lastRecord(records: Records, { delimiter }: Format): boolean {
  const { start, end } = records;
  if (start === end) return false;
  records.recordStart = start;
  records.recordEnd = end;
  records.start = end;
  if (delimiter === undefined) throw new Error('a record that is cut short');
  return true;
}
