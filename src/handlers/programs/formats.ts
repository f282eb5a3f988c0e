/**
 * The four formats of records on a program's stdin and stdout: `line`, `null`, `json` and `length`. Records of a shared
 * program, which serves all connections, have the id of the connection.
 */
import { isUtf8 } from 'node:buffer';
import { isObject } from '../../options/json.ts';
import type { ProgramFormat } from '../../options/values.ts';
import { decodeBase64 } from '../../protocol/base64.ts';
import { CloseCode, isSendableCloseCode, ProtocolError } from '../../protocol/codes.ts';
import { maxJsonEscape, maxRecipients } from '../../protocol/limits.ts';
import { base64Size, textSize, writeContent } from '../../protocol/polling.ts';
import type { Message } from '../../protocol/websocket/message.ts';
import {
  type JsonObject,
  publicationMembers,
  readChannelName,
  readPublication,
} from '../channels/publicationObject.ts';
import type { Publication } from '../channels/records.ts';
import type { Variables } from './environment.ts';

const LF = 0x0a;
const nothing = Buffer.alloc(0);

/** A decoded record of a program's output. */
export interface OutputRecord {
  readonly kind: 'text' | 'binary' | 'close' | 'publish';
  /** The ids of the recipients, or all. Empty for `publish`, and if the program serves one connection. */
  readonly to: readonly number[] | 'all';
  /** The message, valid until more output is read. A text is valid UTF-8. */
  readonly bytes: Uint8Array;
  readonly start: number;
  readonly end: number;
  /** For `close`: a code that may be sent, and the reason. */
  readonly code: number;
  readonly reason: string;
  /** Defined for `publish`. */
  readonly publication: Publication | undefined;
}

export interface Format {
  /** The byte that ends a record; `undefined` if records begin with their length. */
  readonly delimiter: number | undefined;
  /** Bytes before the payload, of which the first four are its length; 0 if there is a delimiter. */
  readonly headerSize: number;
  /** The largest record for a message of `size` bytes. */
  maxRecordSize(size: number): number;
  /**
   * @param id the connection's id, for shared programs
   * @throws ProtocolError 1003 or 1007 if the format cannot carry the message
   */
  encodeMessage(message: Message, id: number): Buffer;
  /** Events of connections, for shared programs; only some formats have them. */
  encodeOpened?(id: number, variables: Variables): Buffer;
  encodeClosed?(id: number, code: number, reason: string): Buffer;
  /**
   * Decodes `bytes[start, end)`, a record without its delimiter.
   * @returns `undefined` for an empty record, such as a blank line between JSON objects
   * @throws Error, a sentence
   */
  decode(bytes: Buffer, start: number, end: number): OutputRecord | undefined;
}

export function newFormat(format: ProgramFormat, isShared: boolean): Format {
  switch (format) {
    case 'line':
      return newDelimitedFormat(0x0a, 'single lines', isShared);
    case 'null':
      return newDelimitedFormat(0x00, 'texts without a NUL', isShared);
    case 'length':
      return newLengthFormat(isShared);
    case 'json':
      return newJsonFormat(isShared);
  }
}

const noMessage = { bytes: nothing, start: 0, end: 0 } as const;
const noClose = { code: 0, reason: '' } as const;
const noPublication = { publication: undefined } as const;

// A program's output is checked: it must not make the server send invalid frames.

/** @throws Error, a sentence, if a text is not valid UTF-8 */
export function messageRecord(
  to: OutputRecord['to'],
  isText: boolean,
  bytes: Buffer,
  start: number,
  end: number,
): OutputRecord {
  if (isText && !isUtf8(bytes.subarray(start, end))) throw new Error('the text is not valid UTF-8');
  return { kind: isText ? 'text' : 'binary', to, bytes, start, end, ...noClose, ...noPublication };
}

/** @throws Error, a sentence, if the code must not be sent */
export function closeRecord(
  to: OutputRecord['to'],
  code: number = CloseCode.NormalClosure,
  reason = '',
): OutputRecord {
  // RFC 6455 §7.4.1 [7.4.1-4]: reserved codes must not be sent.
  if (!isSendableCloseCode(code)) throw new Error(`close code ${code} must not be sent`);
  return { kind: 'close', to, ...noMessage, code, reason, ...noPublication };
}

/** @throws Error, a sentence, if these are not ids, or too many */
export function checkRecipients(ids: readonly unknown[]): readonly number[] {
  if (ids.length > maxRecipients) throw new Error(`more than ${maxRecipients} recipients`);
  if (!ids.every(id => Number.isSafeInteger(id))) throw new Error('an id is not a whole number');
  return ids as readonly number[];
}

/* `line` and `null`: texts, each ended by a delimiter. With a shared program each begins with ids and a space. */

const CR = 0x0d;
const space = 0x20;

/** Room for the ids before a text. */
const idRoom = 64 * 1024;

/** @param kind the accepted messages, for the close reason of others */
export function newDelimitedFormat(delimiter: number, kind: string, isShared: boolean): Format {
  return {
    delimiter,
    headerSize: 0,
    maxRecordSize: size => size + idRoom,

    // A delimiter inside a message would let the client forge records.
    encodeMessage({ isText, bytes, start, end }, id) {
      if (!isText)
        throw new ProtocolError(CloseCode.UnsupportedData, `only ${kind} are accepted, not binary messages`);
      const text = bytes.subarray(start, delimiter === LF ? lineEnd(bytes, start, end) : end);
      if (text.includes(delimiter))
        throw new ProtocolError(CloseCode.InvalidPayload, `only ${kind} are accepted`);
      const prefix = isShared ? `${id} ` : '';
      const record = Buffer.allocUnsafe(prefix.length + text.length + 1);
      record.write(prefix, 'latin1');
      record.set(text, prefix.length);
      record[record.length - 1] = delimiter;
      return record;
    },

    decode(bytes, start, end) {
      const stop = delimiter === LF ? withoutCr(bytes, start, end) : end;
      if (!isShared) return messageRecord([], true, bytes, start, stop);
      const found = bytes.subarray(start, stop).indexOf(space);
      const idsEnd = found < 0 ? stop : start + found;
      const to = readIdList(bytes.toString('latin1', start, Math.min(idsEnd, start + idRoom)));
      return messageRecord(to, true, bytes, Math.min(idsEnd + 1, stop), stop);
    },
  };
}

/** The end of a client's line without a line end (LF or CR LF), which many clients send with it. */
function lineEnd(bytes: Uint8Array, start: number, end: number): number {
  return end > start && bytes[end - 1] === LF ? withoutCr(bytes, start, end - 1) : end;
}

function withoutCr(bytes: Uint8Array, start: number, end: number): number {
  return end > start && bytes[end - 1] === CR ? end - 1 : end;
}

/** `7`, `7,9` or `*`. */
function readIdList(word: string): OutputRecord['to'] {
  if (word === '*') return 'all';
  if (!/^\d{1,10}(?:,\d{1,10})*$/.test(word)) throw new Error('the text does not begin with ids and a space');
  return checkRecipients(word.split(',').map(Number));
}

/*
 * `json`: an object per line: `{"text":"hello"}`, `{"base64":"AAE="}`, `{"close":1000,"reason":""}`. With a shared program it
 * has an `"id"`, which in output may be a list of ids or `"*"`, and `{"id":7,"open":{…}}` announces a connection. A program
 * may also publish in a channel: `{"publish":"orders","data":…}`.
 */

/** Room for everything but the message. */
const frameRoom = 64 * 1024;

export function newJsonFormat(isShared: boolean): Format {
  const record = (id: number, fields: object) =>
    Buffer.from(`${JSON.stringify(isShared ? { id, ...fields } : fields)}\n`);

  return {
    delimiter: LF,
    headerSize: 0,
    // An escape (`\u00e9`, 6 bytes) takes at most three times the bytes of its character (`é`, 2 bytes).
    maxRecordSize: size => 3 * size + frameRoom,

    encodeMessage({ isText, bytes, start, end }, id) {
      const head = `{${isShared ? `"id":${id},` : ''}"${isText ? 'text' : 'base64'}":"`;
      const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
      const size = isText ? textSize(buffer, start, end) : base64Size(end - start);
      // Without strings in between: 16 MiB of control characters would take 200 MB and most of a second.
      const line = Buffer.allocUnsafe(head.length + size + maxJsonEscape);
      let at = line.write(head, 'latin1');
      at = writeContent({ isText, bytes: buffer, from: start, to: end }, line, at, line.length);
      at += line.write('"}\n', at, 'latin1');
      return line.subarray(0, at);
    },

    encodeOpened: (id, variables) => record(id, { open: variables }),
    encodeClosed: (id, code, reason) => record(id, { close: code, reason }),

    decode(bytes, start, end) {
      const line = lineText(bytes.subarray(start, end));
      if (isBlank(line)) return undefined;
      const object = parseObject(line);
      if (object['publish'] !== undefined) return publishRecord(object, line);
      const { id, text, base64, close, reason, ...others } = object;
      const to = isShared ? readIdMember(id) : [];
      checkNoOthers(others);
      if ([text, base64, close].filter(member => member !== undefined).length !== 1) {
        throw new Error('the object does not have exactly one of "text", "base64", "close" and "publish"');
      }
      if (typeof text === 'string') return wholeMessage(to, true, Buffer.from(text));
      if (typeof base64 === 'string') return wholeMessage(to, false, readBase64(base64));
      if (typeof close === 'number' && (reason === undefined || typeof reason === 'string')) {
        return closeRecord(to, close, reason);
      }
      throw new Error('a member has the wrong type');
    },
  };
}

function publishRecord(object: JsonObject, line: string): OutputRecord {
  const channel = readChannelName(object, 'publish');
  checkNoOthers(object, ['publish', ...publicationMembers]);
  const publication = { channel, ...readPublication(object, line) };
  return { kind: 'publish', to: [], ...noMessage, ...noClose, publication };
}

function checkNoOthers(object: JsonObject, known: readonly string[] = []): void {
  const unknown = Object.keys(object).find(name => !known.includes(name));
  if (unknown !== undefined) throw new Error(`unknown member ${JSON.stringify(unknown.slice(0, 40))}`);
}

function wholeMessage(to: OutputRecord['to'], isText: boolean, bytes: Buffer): OutputRecord {
  return messageRecord(to, isText, bytes, 0, bytes.length);
}

/** Ignores a byte order mark (RFC 8259 §8.1), which some editors put at the start of a script, and PHP prints. */
function lineText(bytes: Buffer): string {
  if (!isUtf8(bytes)) throw new Error('the line is not valid UTF-8');
  const text = bytes.toString();
  return text.startsWith('\ufeff') ? text.slice(1) : text;
}

/** Whether a line has only JSON whitespace (RFC 8259 §2). */
function isBlank(line: string): boolean {
  return !/[^ \t\r]/.test(line);
}

function parseObject(line: string): JsonObject {
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch {
    throw new Error('the line is not valid JSON');
  }
  if (!isObject(value)) throw new Error('the line is not a JSON object');
  return value;
}

function readIdMember(id: unknown): OutputRecord['to'] {
  if (id === '*') return 'all';
  return checkRecipients(Array.isArray(id) ? id : [id]);
}

function readBase64(text: string): Buffer {
  const bytes = decodeBase64(text);
  if (bytes === undefined) throw new Error('"base64" is not valid base64');
  return bytes;
}

/*
 * `length`: four bytes with the payload's length, four with the id if the program is shared, one with the kind, and the
 * payload. Numbers are big-endian.
 */

/** Kinds of records. Text, binary and close have the opcodes of RFC 6455. */
const Kind = { Opened: 0, Text: 1, Binary: 2, Close: 8 } as const;

/** The id that stands for all connections. */
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
    maxRecordSize: size => size + headerSize,

    encodeMessage: ({ isText, bytes, start, end }, id) =>
      record(isText ? Kind.Text : Kind.Binary, id, bytes.subarray(start, end)),

    encodeOpened: (id, variables) => record(Kind.Opened, id, Buffer.from(JSON.stringify(variables))),

    encodeClosed(id, code, reason) {
      const payload = Buffer.alloc(2 + Buffer.byteLength(reason));
      payload.writeUInt16BE(code);
      payload.write(reason, 2);
      return record(Kind.Close, id, payload);
    },

    decode(bytes, start, end) {
      const payload = start + headerSize;
      const id = isShared ? bytes.readUInt32BE(start + 4) : everyone;
      const to: OutputRecord['to'] = !isShared ? [] : id === everyone ? 'all' : [id];
      const kind = bytes[payload - 1];
      if (kind === Kind.Text || kind === Kind.Binary) {
        return messageRecord(to, kind === Kind.Text, bytes, payload, end);
      }
      if (kind !== Kind.Close) throw new Error(`unknown record kind ${kind}`);
      if (end === payload) return closeRecord(to, CloseCode.NormalClosure, '');
      if (end === payload + 1) throw new Error('the close code has only one byte');
      return closeRecord(to, bytes.readUInt16BE(payload), bytes.toString('utf8', payload + 2, end));
    },
  };
}

/* Reassembles records from chunks of a program's output. */

export interface RecordBuffer {
  /** Unread output is `[start, end)`; there is no delimiter in it before `searched`. */
  bytes: Buffer;
  start: number;
  end: number;
  searched: number;
  /** The record that `nextRecord` found. */
  recordStart: number;
  recordEnd: number;
}

export function newRecordBuffer(): RecordBuffer {
  return { bytes: nothing, start: 0, end: 0, searched: 0, recordStart: 0, recordEnd: 0 };
}

/** Drops all unread output. */
export function clearRecordBuffer(records: RecordBuffer): void {
  Object.assign(records, newRecordBuffer());
}

/** @param chunk taken over */
export function addChunk(records: RecordBuffer, chunk: Buffer): void {
  const { bytes, start, end } = records;
  const size = end - start;
  if (size === 0) {
    Object.assign(records, { bytes: chunk, start: 0, end: chunk.length, searched: 0 });
    return;
  }
  if (end + chunk.length > bytes.length) {
    // Double the size: one long record in many chunks then costs only a few copies.
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
 * Finds the next whole record, `bytes[recordStart, recordEnd)`, which is valid until the next `addChunk`.
 * @param longest the largest record in bytes
 * @returns whether there is one
 * @throws Error, a sentence, if the record is or will be longer than that
 */
export function nextRecord(
  records: RecordBuffer,
  { delimiter, headerSize }: Format,
  longest: number,
): boolean {
  const { bytes, start, end } = records;
  if (start === end) {
    // Everything is read: release the buffer.
    clearRecordBuffer(records);
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
  if (length > longest) throw new Error(`a record is longer than ${longest} bytes`);
}

/**
 * At the end of the output: the rest is a record even without a delimiter. @returns whether there is one
 * @throws Error, a sentence, if the record is truncated
 */
export function lastRecord(records: RecordBuffer, { delimiter }: Format): boolean {
  const { start, end } = records;
  if (start === end) return false;
  records.recordStart = start;
  records.recordEnd = end;
  records.start = end;
  if (delimiter === undefined) throw new Error('the last record is truncated');
  return true;
}
