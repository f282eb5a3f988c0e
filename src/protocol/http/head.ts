/**
 * HTTP/1.1 heads (RFC 9112) as pure code: bytes to a record, a record to bytes. Bodies are not read here.
 * What is malformed is refused, never repaired: two readers of one repaired head can disagree, and that is how requests
 * are smuggled.
 */
import { Buffer } from 'node:buffer';
import { CloseCode, ProtocolError } from '../codes.ts';
import { absoluteMaxHeader } from '../limits.ts';
import { type Headers, isHost, isToken, parseFields, tokenBytes } from './fields.ts';

/** The head of a request. All strings are copies: nothing refers to the bytes it was read from. */
export interface Head {
  /** A method of RFC 9110 §9 or PATCH, case-sensitive. */
  readonly method: string;
  /** As it was sent: origin-form or absolute-form, visible ASCII, no fragment. */
  readonly target: string;
  /** From the target: starts with `/`, still percent-encoded. */
  readonly path: string;
  /** From the target: what stands behind the first `?`, or the empty string. */
  readonly query: string;
  /** RFC 9110 §2.5: a later 1.x counts as 1.1. */
  readonly version: '1.0' | '1.1';
  readonly headers: Headers;
  /** Bytes of body that follow; Infinity when only its chunks will tell. */
  readonly bodyLength: number;
  /** The host that a trusted proxy says it was asked for. */
  forwardedHost?: string;
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
 * Whether `bytes[start, end)` begin with a method that HTTP has, and a space; `undefined` while they may still turn out to.
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
 * @param maxHeader most bytes of head, its last empty line included; Infinity: as many as `absoluteMaxHeader`.
 * @param seen how many of these bytes an earlier call found incomplete: they are not checked again.
 * @returns the head and the index in `bytes` of the first byte behind it; undefined while it is incomplete.
 * @throws ProtocolError with 400, 414, 431, 501 or 505, as soon as the bytes cannot become a head any more.
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
  // RFC 9112 §2.2: an empty line before the request line is ignored. One is: some clients sent it behind a body.
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
 * Reads the head of a response; parameters and result as those of `parseRequestHead`.
 * @throws ProtocolError with 1002, as a client has nobody to send an HTTP status to.
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
    if (!'HTTP/1.'.startsWith(view.toString('latin1', 0, 7))) throw malformed('this is no HTTP/1.1 response');
    if (emptyLine === -1) {
      if (view.length < limit) return undefined;
      throw malformed(`the response head is longer than ${limit} bytes`);
    }
    const text = view.toString('latin1', 0, emptyLine + 2);
    const lineEnd = text.indexOf('\r\n');
    // RFC 9112 §4: the reason may be empty; some servers leave out the space before it, too.
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

/** Refuses what can stand nowhere in a head. It looks back by one byte, so each byte is checked once, wherever cut. */
function checkBytes(view: Uint8Array, from: number, to: number): void {
  let previous = from > 0 ? view[from - 1]! : 0;
  for (let i = from; i < to; i++) {
    const byte = view[i]!;
    // RFC 9112 §2.2: a recipient may take a bare LF for a line's end; the strict do not. A bare CR is invalid.
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

/** Refuses the start of a request line that no method begins like. Looks at a few bytes only, however many there are. */
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
  // RFC 9110 §9.1: 501 for a method that is not known; one that is known and not allowed here gets its 405 later.
  if (!methods.has(method)) throw new ProtocolError(501, 'unknown method');
  if (targetEnd === -1) throw malformed('the request line is not of the form "GET /path HTTP/1.1"');
  const version = readVersion(line.slice(targetEnd + 1));
  const target = line.slice(methodEnd + 1, targetEnd);
  return { method, target, version, ...splitTarget(target, method) };
}

function readVersion(text: string): Head['version'] {
  if (text === 'HTTP/1.1') return '1.1';
  if (text === 'HTTP/1.0') return '1.0';
  if (!/^HTTP\/\d\.\d$/.test(text)) throw malformed('the request line does not end in an HTTP version');
  if (text.startsWith('HTTP/1.')) return '1.1';
  throw new ProtocolError(505, `this server speaks HTTP/1.1, not ${text}`);
}

/** RFC 9112 §3.2: origin-form, or absolute-form, which a server must accept, too. */
function splitTarget(target: string, method: string): Pick<Head, 'path' | 'query'> {
  // RFC 9112 §3.2.4: asterisk-form asks about the server as a whole.
  if (target === '*' && method === 'OPTIONS') return { path: '*', query: '' };
  let from = 0;
  if (!target.startsWith('/')) {
    const absolute = /^(?:http|ws)s?:\/\/([^/?]*)/i.exec(target);
    if (absolute === null || !isHost(absolute[1]!)) throw malformed('the request target is not a path');
    from = absolute[0].length;
  }
  // RFC 9112 §3.2: no white space. RFC 6455 §3: no fragment. Browsers send some more than RFC 3986 has, such as `|`.
  if (/[^\x21\x22\x24-\x7e]/.test(target))
    throw malformed('the request target has a character that it must not');
  const question = target.indexOf('?', from);
  if (question === -1) return { path: target.slice(from) || '/', query: '' };
  return { path: target.slice(from, question) || '/', query: target.slice(question + 1) };
}

/** RFC 9112 §3.2: a request of HTTP/1.1 has exactly one Host, and a valid one. */
function checkHost(headers: Headers, version: Head['version']): void {
  const host = headers.get('host');
  if (host === undefined && version === '1.1') throw malformed('there is no Host header');
  if (host !== undefined && !isHost(host)) throw malformed('the Host header is not a host');
}

/** RFC 9112 §6: how long the body is. Whatever two readers could understand differently is refused. */
function readBodyLength(headers: Headers, version: Head['version']): number {
  const length = headers.get('content-length');
  const coding = headers.get('transfer-encoding');
  if (coding !== undefined) {
    // RFC 9112 §6.1: with both, or in HTTP/1.0, the message may be an attempt at smuggling. §6.3 permits to refuse it.
    if (length !== undefined) throw malformed('there are both Content-Length and Transfer-Encoding');
    if (version === '1.0') throw malformed('there is a Transfer-Encoding in HTTP/1.0');
    // RFC 9112 §6.1: 501 for a coding that is not understood.
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
  413: 'Content Too Large',
  414: 'URI Too Long',
  415: 'Unsupported Media Type',
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
 * A whole response: a refusal, or a small page. It gets a Content-Length and `Connection: close`, unless `headers` has
 * them in this spelling, as it does for the answer to a HEAD. A text is sent as UTF-8. The result is the caller's.
 * @param body undefined: it follows, as `headers` say
 */
export function encodeResponse(
  status: number,
  headers: Readonly<Record<string, string>>,
  body: string | Uint8Array | undefined,
): Buffer {
  const content = typeof body === 'string' ? Buffer.from(body) : (body ?? Buffer.alloc(0));
  // RFC 9110 §8.6: a 204 has no Content-Length, and a 304 that of the page which it does not carry.
  const hasLength = status !== 204 && status !== 304 && body !== undefined;
  const length = hasLength ? { 'Content-Length': String(content.length) } : {};
  const all = { ...length, Connection: 'close', ...headers };
  let head = `HTTP/1.1 ${status} ${reasonPhrases[status] ?? ''}\r\n`;
  for (const [name, value] of Object.entries(all)) {
    // RFC 9110 §5.5: CR, LF and NUL in a value are dangerous; each becomes a space.
    head += `${name}: ${value.replace(/[\r\n\0]/g, ' ')}\r\n`;
  }
  return Buffer.concat([Buffer.from(`${head}\r\n`, 'latin1'), content]);
}
