/**
 * HTTP/1.1 heads (RFC 9112) as pure code: parsing and writing, without bodies. Malformed heads are rejected, never repaired:
 * if two parsers repair a head differently, an attacker can smuggle a request.
 */
import { Buffer } from 'node:buffer';
import { CloseCode, ProtocolError } from '../codes.ts';
import { absoluteMaxHeader } from '../limits.ts';
import { type Headers, isHost, isToken, parseFields, tokenBytes } from './fields.ts';

/** The head of a request. Its strings are copies, so the parsed bytes may be reused. */
export interface Head {
  /** A method of RFC 9110 §9 or PATCH, case-sensitive. */
  readonly method: string;
  /** The request target as sent: origin-form or absolute-form, visible ASCII, no fragment. */
  readonly target: string;
  /** The path of the target: starts with `/`, percent-encoded. */
  readonly path: string;
  /** The query of the target, without `?`; may be empty. */
  readonly query: string;
  /** RFC 9110 §2.5: a later 1.x counts as 1.1. */
  readonly version: '1.0' | '1.1';
  readonly headers: Headers;
  /** The length of the body; Infinity if it is chunked. */
  readonly bodyLength: number;
  /** The X-Forwarded-Host of a trusted proxy. */
  forwardedHost?: string;
}

/** A response of this server, without the fields that depend on its connection. */
export interface HttpResponse {
  readonly status: number;
  /** By their usual spelling. `Content-Length` is added. */
  readonly headers: Readonly<Record<string, string>>;
  /** The content. An answer to HEAD leaves it out. */
  readonly body: string | Uint8Array;
}

/** The head of a response. */
export interface ResponseHead {
  readonly version: '1.0' | '1.1';
  /** 100 to 999. */
  readonly status: number;
  /** The reason phrase; may be empty. */
  readonly reason: string;
  readonly headers: Headers;
}

const methods = new Set(['GET', 'HEAD', 'POST', 'PUT', 'DELETE', 'CONNECT', 'OPTIONS', 'TRACE', 'PATCH']);
const longestMethod = 7;

/**
 * Whether `bytes[start, end)` start with an HTTP method and a space; `undefined` if there are too few bytes to tell.
 */
export function beginsAsRequest(bytes: Buffer, start: number, end: number): boolean | undefined {
  const word = bytes
    .toString('latin1', start, Math.min(end, start + longestMethod + 3))
    .replace(/^\r\n?/, '');
  const space = word.indexOf(' ');
  if (space >= 0) return methods.has(word.slice(0, space));
  return [...methods].some(method => method.startsWith(word)) ? undefined : false;
}

const HTAB = 0x09;
const LF = 0x0a;
const CR = 0x0d;
const SP = 0x20;
const DEL = 0x7f;

/**
 * Reads the head of a request from `bytes[start, end)`.
 * @param maxHeader the limit in bytes, including the final empty line; at most `absoluteMaxHeader`.
 * @param seen bytes that an earlier call found incomplete, which are not checked again.
 * @returns the head and the index after it in `bytes`; undefined if it is incomplete.
 * @throws ProtocolError 400, 414, 431, 501 or 505, as soon as the bytes cannot become a valid head.
 */
export function parseRequestHead(
  bytes: Uint8Array,
  start: number,
  end: number,
  maxHeader: number,
  seen = 0,
): { head: Head; end: number } | undefined {
  const limit = Math.min(maxHeader, absoluteMaxHeader);
  const view = Buffer.from(bytes.buffer, bytes.byteOffset + start, Math.min(end - start, limit));
  // RFC 9112 §2.2: a server should ignore an empty line before the request line. Old clients sent one after a body.
  const from = view[0] === CR && (view.length === 1 || view[1] === LF) ? Math.min(2, view.length) : 0;
  const emptyLine = view.indexOf('\r\n\r\n', Math.max(from, seen - 3), 'latin1');
  if (emptyLine === -1) {
    checkBytes(view, seen, view.length);
    const lineEnd = view.indexOf('\r\n', from, 'latin1');
    if (lineEnd === -1) checkMethodSoFar(view, from);
    else if (lineEnd + 2 > seen) parseRequestLine(view.toString('latin1', from, lineEnd));
    if (view.length < limit) return undefined;
    if (lineEnd === -1) throw tooLong(414, `the request line is longer than ${limit} bytes`);
    throw tooLong(431, `the request head is longer than ${limit} bytes`);
  }
  checkBytes(view, seen, emptyLine + 2);
  const text = view.toString('latin1', from, emptyLine + 2);
  const lineEnd = text.indexOf('\r\n');
  const { method, target, path, query, version } = parseRequestLine(text.slice(0, lineEnd));
  const headers = parseFields(text, lineEnd + 2);
  checkHost(headers, version);
  const bodyLength = readBodyLength(headers, version);
  const head: Head = { method, target, path, query, version, headers, bodyLength };
  return { head, end: start + emptyLine + 4 };
}

function tooLong(status: number, reason: string): ProtocolError {
  return new ProtocolError(status, reason, {}, 'maxHeader');
}

/**
 * Reads the head of a response, with the parameters and the result of `parseRequestHead`.
 * @throws ProtocolError 1002, because a client cannot answer with an HTTP status.
 */
export function parseResponseHead(
  bytes: Uint8Array,
  start: number,
  end: number,
  maxHeader: number,
  seen = 0,
): { head: ResponseHead; end: number } | undefined {
  const limit = Math.min(maxHeader, absoluteMaxHeader);
  const view = Buffer.from(bytes.buffer, bytes.byteOffset + start, Math.min(end - start, limit));
  try {
    const emptyLine = view.indexOf('\r\n\r\n', Math.max(0, seen - 3), 'latin1');
    checkBytes(view, seen, emptyLine === -1 ? view.length : emptyLine + 2);
    if (!'HTTP/1.'.startsWith(view.toString('latin1', 0, 7)))
      throw malformed('this is not an HTTP/1.x response');
    if (emptyLine === -1) {
      if (view.length < limit) return undefined;
      throw malformed(`the response head is longer than ${limit} bytes`);
    }
    const text = view.toString('latin1', 0, emptyLine + 2);
    const lineEnd = text.indexOf('\r\n');
    // RFC 9112 §4: the reason may be empty. Some servers omit the space before it, too.
    const line = /^HTTP\/1\.(\d) ([1-9]\d\d)(?: (.*))?$/.exec(text.slice(0, lineEnd));
    if (line === null) throw malformed('the status line is not of the form "HTTP/1.1 101 Reason"');
    const version = line[1] === '0' ? '1.0' : '1.1';
    const headers = parseFields(text, lineEnd + 2);
    return {
      head: { version, status: Number(line[2]), reason: line[3] ?? '', headers },
      end: start + emptyLine + 4,
    };
  } catch (error) {
    if (error instanceof ProtocolError) throw new ProtocolError(CloseCode.ProtocolError, error.message);
    throw error;
  }
}

function malformed(reason: string): ProtocolError {
  return new ProtocolError(400, reason);
}

/** Rejects bytes that no head may contain. Looks back by one byte, so that each byte is checked once, however the input is split. */
function checkBytes(view: Uint8Array, from: number, to: number): void {
  let previous = from > 0 ? view[from - 1]! : 0;
  for (let i = from; i < to; i++) {
    const byte = view[i]!;
    // RFC 9112 §2.2: a recipient may accept a bare LF as a line end; we do not. A bare CR is invalid.
    if (previous === CR && byte !== LF) throw malformed('a CR without LF in the head');
    if (byte < SP && byte !== CR && byte !== HTAB) {
      if (byte !== LF) throw malformed('a control character in the head');
      if (previous !== CR) throw malformed('a line of the head ends in LF, not in CRLF');
    }
    // RFC 9110 §5.5: control characters are invalid in fields.
    if (byte === DEL) throw malformed('a control character in the head');
    previous = byte;
  }
}

/** Rejects a request line that starts with no known method, after a few bytes. */
function checkMethodSoFar(view: Uint8Array, from: number): void {
  const to = Math.min(view.length, from + longestMethod + 1);
  for (let i = from; i < to; i++) {
    if (view[i] === SP && i > from) return;
    if (tokenBytes[view[i]!] !== 1) throw malformed('the request does not start with a method');
  }
  if (to === from + longestMethod + 1) throw new ProtocolError(501, 'unknown method');
}

/** RFC 9112 §3: method, target and version with one space between each. */
function parseRequestLine(line: string): Pick<Head, 'method' | 'target' | 'path' | 'query' | 'version'> {
  const methodEnd = line.indexOf(' ');
  const targetEnd = line.indexOf(' ', methodEnd + 1);
  const method = line.slice(0, Math.max(methodEnd, 0));
  if (!isToken(method)) throw malformed('the request does not start with a method');
  // RFC 9110 §9.1: 501 for an unknown method. A known method that is not allowed gets a 405 later.
  if (!methods.has(method)) throw new ProtocolError(501, 'unknown method');
  if (targetEnd === -1) throw malformed('the request line is not of the form "GET /path HTTP/1.1"');
  const version = readVersion(line.slice(targetEnd + 1));
  const target = line.slice(methodEnd + 1, targetEnd);
  const { path, query } = splitTarget(target, method);
  return { method, target, version, path, query };
}

function readVersion(text: string): Head['version'] {
  if (text === 'HTTP/1.1') return '1.1';
  if (text === 'HTTP/1.0') return '1.0';
  if (!/^HTTP\/\d\.\d$/.test(text)) throw malformed('the request line does not end in an HTTP version');
  if (text.startsWith('HTTP/1.')) return '1.1';
  throw new ProtocolError(505, `this server speaks HTTP/1.1, not ${text}`);
}

/** RFC 9112 §3.2: origin-form or absolute-form; a server must accept both. */
function splitTarget(target: string, method: string): Pick<Head, 'path' | 'query'> {
  // RFC 9112 §3.2.4: asterisk-form is about the server as a whole.
  if (target === '*' && method === 'OPTIONS') return { path: '*', query: '' };
  let from = 0;
  if (!target.startsWith('/')) {
    const absolute = /^(?:http|ws)s?:\/\/([^/?]*)/i.exec(target);
    if (absolute === null || !isHost(absolute[1]!)) throw malformed('the request target is not a path');
    from = absolute[0].length;
  }
  // RFC 9112 §3.2: no white space. RFC 6455 §3 [3-2, 3-3]: no fragment. Browsers send a few characters that RFC 3986
  // forbids, such as `|`.
  if (/[^\x21\x22\x24-\x7e]/.test(target))
    throw malformed('the request target contains a character that is not allowed');
  const question = target.indexOf('?', from);
  if (question === -1) return { path: target.slice(from) || '/', query: '' };
  return { path: target.slice(from, question) || '/', query: target.slice(question + 1) };
}

/** RFC 9112 §3.2: an HTTP/1.1 request has exactly one valid Host. */
function checkHost(headers: Headers, version: Head['version']): void {
  const host = headers.get('host');
  // RFC 6455 §4.2.1, 2 [4.1-21]: a handshake has a Host header, like every HTTP/1.1 request.
  if (host === undefined && version === '1.1') throw malformed('there is no Host header');
  if (host !== undefined && !isHost(host)) throw malformed('the Host header is not a host');
}

/** RFC 9112 §6: the length of the body. Anything that two parsers could read differently is rejected. */
function readBodyLength(headers: Headers, version: Head['version']): number {
  const length = headers.get('content-length');
  const coding = headers.get('transfer-encoding');
  if (coding !== undefined) {
    // RFC 9112 §6.1: both fields, or chunked in HTTP/1.0, may be request smuggling. §6.3 permits rejecting it.
    if (length !== undefined) throw malformed('there are both Content-Length and Transfer-Encoding');
    if (version === '1.0') throw malformed('there is a Transfer-Encoding in HTTP/1.0');
    // RFC 9112 §6.1: 501 for an unknown transfer coding.
    if (coding.toLowerCase() !== 'chunked')
      throw new ProtocolError(501, 'the Transfer-Encoding is not "chunked"');
    return Number.POSITIVE_INFINITY;
  }
  if (length === undefined) return 0;
  if (!/^\d{1,15}$/.test(length)) throw malformed('the Content-Length is not a number');
  return Number(length);
}

const reasonPhrases: Readonly<Record<number, string>> = {
  200: 'OK',
  201: 'Created',
  202: 'Accepted',
  204: 'No Content',
  206: 'Partial Content',
  301: 'Moved Permanently',
  302: 'Found',
  304: 'Not Modified',
  400: 'Bad Request',
  401: 'Unauthorized',
  403: 'Forbidden',
  404: 'Not Found',
  405: 'Method Not Allowed',
  408: 'Request Timeout',
  409: 'Conflict',
  410: 'Gone',
  412: 'Precondition Failed',
  413: 'Content Too Large',
  414: 'URI Too Long',
  415: 'Unsupported Media Type',
  416: 'Range Not Satisfiable',
  426: 'Upgrade Required',
  429: 'Too Many Requests',
  431: 'Request Header Fields Too Large',
  500: 'Internal Server Error',
  501: 'Not Implemented',
  503: 'Service Unavailable',
  504: 'Gateway Timeout',
  505: 'HTTP Version Not Supported',
};

/**
 * A complete response: a rejection or a small page. Adds Content-Length unless `headers` already has it, in this
 * spelling, as in an answer to HEAD. Text is sent as UTF-8. The caller owns the result.
 * @param body undefined if the body follows separately, as `headers` describe
 * @param more further fields; they replace fields of the same name in `headers`
 */
export function encodeResponse(
  status: number,
  headers: Readonly<Record<string, string>>,
  body: string | Uint8Array | undefined,
  more: Readonly<Record<string, string>> = noFields,
): Buffer {
  // RFC 9110 §8.6: a 204 has no Content-Length; a 304 has that of the omitted page.
  const hasLength = status !== 204 && status !== 304 && body !== undefined;
  const length = body === undefined ? 0 : Buffer.byteLength(body);
  let head = `HTTP/1.1 ${status} ${reasonPhrases[status] ?? ''}\r\n`;
  if (hasLength && !Object.hasOwn(headers, 'Content-Length') && !Object.hasOwn(more, 'Content-Length'))
    head += `Content-Length: ${length}\r\n`;
  // Merging the records would take longer than the rest of this function.
  for (const name in headers) if (!Object.hasOwn(more, name)) head += fieldLine(name, headers[name]!);
  for (const name in more) head += fieldLine(name, more[name]!);
  head += '\r\n';
  const bytes = Buffer.allocUnsafe(head.length + length);
  bytes.write(head, 0, 'latin1');
  if (typeof body === 'string') bytes.write(body, head.length);
  else if (body !== undefined) bytes.set(body, head.length);
  return bytes;
}

const noFields = {};

/** RFC 9110 §5.5: CR, LF and NUL are dangerous in a value. A space replaces each. */
function fieldLine(name: string, value: string): string {
  return `${name}: ${value.replace(/[\r\n\0]/g, ' ')}\r\n`;
}
