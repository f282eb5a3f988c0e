/**
 * Routes answer HTTP requests that are not for the server's pages: polls, channels, commands, metrics, files of a site.
 *
 * A connection has one request at a time. Its next request is read when the answer to this one is queued completely, so
 * answers leave in the order of the requests. A route answers in one of two ways:
 *
 * - `respond` queues the whole answer;
 * - `beginResponse` queues the head, `sendBytes` or a `Producer` the body, and `endResponse` says that it is complete.
 *
 * Both decide whether the connection is kept, and write the header field `Connection`. Routes never end a connection
 * themselves, unless an answer cannot be completed: then they drop it.
 */

import { logForAddress } from '../core/addressLog.ts';
import { endConnection } from '../core/close.ts';
import { forgetClient } from '../core/connection.ts';
import { updateHeld } from '../core/memory.ts';
import { becomeIdle, changeAddress } from '../core/places.ts';
import { scheduleRead } from '../core/poll.ts';
import { startSending } from '../core/progress.ts';
import { sendBytes } from '../core/send.ts';
import { beginAccess, endAccess, noteAccess } from '../diagnostics/accessLog.ts';
import { recordRefused } from '../diagnostics/closedConnections.ts';
import { noteEnding } from '../diagnostics/closeReason.ts';
import { countRefused } from '../diagnostics/metrics.ts';
import { flagName } from '../options/option.ts';
import type { ProtocolError } from '../protocol/codes.ts';
import type { Body } from '../protocol/http/body.ts';
import { encodeResponse, type Head, type HttpResponse } from '../protocol/http/head.ts';
import { redact } from '../protocol/http/redact.ts';
import { asksForWebSocket } from '../protocol/websocket/handshake.ts';
import type { Need } from '../records/identity.ts';
import type { Connection } from '../records/records.ts';

/** Header fields of a response. */
export type Fields = Readonly<Record<string, string>>;

export interface Route {
  /** Whether this route answers requests with this head. */
  takes(head: Head): boolean;
  /**
   * Checks the head, before any of the body is read.
   * @returns the maximum length of the body; undefined if the route will refuse the request later, in `checkDeadlines`: then
   *   no body is read
   * @throws ProtocolError, whose code is the HTTP status of the refusal
   */
  admit(head: Head, connection: Connection): number | undefined;
  /** The rights that an admitted request needs. Without it, the request needs none. */
  needs?(head: Head, connection: Connection): readonly Need[];
  /** The request is admitted; its body may still be arriving. From then on `finished` is certain to be called. */
  begin?(connection: Connection, head: Head): void;
  /**
   * Answers a whole request, at once or later.
   * @param body owned by the route afterwards
   * @throws ProtocolError as `admit`
   */
  answer(connection: Connection, head: Head, body: Buffer): void;
  /** A refusal in the format of this route. Without it, refusals are plain text. */
  formatRefusal?(error: ProtocolError, head: Head): HttpResponse;
  /** The peer has ended its direction and may still await an answer, or the connection is lost (`error`). */
  onEnd?(connection: Connection, error: string | undefined): void;
  /**
   * The request is over: its answer is queued completely and the connection goes on, perhaps with a request of another route,
   * or the connection is gone. Called once for every request for which `begin` was called.
   */
  finished?(connection: Connection): void;
  /** The server ends a whole request that is not answered yet. Without this, the request is refused with 503. */
  close?(connection: Connection, reason: string): void;
  /** Checks a whole request that is not answered yet against `server.now`. */
  checkDeadlines?(connection: Connection): void;
  /** Bytes of memory that the route holds for the request, besides its body. */
  held?(connection: Connection): number;
}

/** A request whose head has arrived. */
export interface Request {
  readonly head: Head;
  /** Bytes of the head on the wire: roughly the memory of its strings. */
  readonly headSize: number;
  /** Undefined for handshakes and pages. */
  readonly route: Route | undefined;
  /** The body as far as it has arrived, if the route reads one. */
  body: Body | undefined;
  /** Nothing more of it will be read. */
  isWhole: boolean;
  /** The route admitted it. */
  isAdmitted: boolean;
  /** The connection goes on after the answer, as far as known. */
  isKept: boolean;
  /** The head of the answer is queued: the request can no longer be refused. */
  isBegun: boolean;
  /** Its route will complete the answer, even while the server drains; only a deadline can prevent that. */
  isPromised: boolean;
  /** Set while the app or the rules decide whether the client may make it. Nothing else happens to it meanwhile. */
  waiting: WaitingRequest | undefined;
}

export interface WaitingRequest {
  /** As `server.now`. */
  readonly since: number;
  /** Continues the request. @returns false if its body must be read @throws ProtocolError to refuse it */
  readonly proceed: (refusal: ProtocolError | undefined) => boolean;
  /** The decision: undefined until there is one, `null` if the request is allowed. */
  outcome: ProtocolError | null | undefined;
}

/** What the HTTP wire stores in `connection.data`. */
export interface HttpState {
  /** The request that is being read or answered. */
  request: Request | undefined;
  /** Requests whose heads have arrived. */
  count: number;
  /** The peer's address. A proxy that keeps its connection sends requests of several clients, each with its own address. */
  readonly peer: string;
  /** When the last answer was queued, or the first byte of the next request arrived. */
  since: number;
  /** Bytes at the start of the input in which no complete head was found. */
  scanned: number;
  /** The wire is reading, and goes on by itself after an answer. */
  isReading: boolean;
}

/** The HTTP state of the connection; undefined if no byte of HTTP was read, as in a refusal of a PROXY header. */
export function httpState({ data }: Connection): HttpState | undefined {
  return data as HttpState | undefined;
}

/** Answers the request. */
export function respond(connection: Connection, response: HttpResponse): void {
  if (connection.phase !== 'open') return;
  beginResponse(connection, response.status, response.headers, response.body);
  endResponse(connection);
}

/**
 * Queues the head of the answer, and the body if it is given. Otherwise the body follows as `headers` describe, by
 * `Content-Length` or `Transfer-Encoding`, or the end of the connection ends it. An answer to HEAD has no body. `endResponse` must
 * follow.
 */
export function beginResponse(
  connection: Connection,
  status: number,
  headers: Fields,
  body?: string | Uint8Array,
): void {
  const request = httpState(connection)?.request;
  const isHead = request?.head.method === 'HEAD';
  const isKept =
    request !== undefined &&
    mayKeep(connection, request) &&
    (isHead || hasEnd(status, headers, body !== undefined));
  const more = persistence(connection, request, isKept, headers['Connection']);
  if (request !== undefined) {
    request.isKept = isKept;
    request.isBegun = true;
    if (headers['Content-Length'] !== undefined) promiseResponse(connection);
  }
  // RFC 9110 §9.3.2: the answer to a HEAD has no content, but the fields that describe it.
  if (isHead && body !== undefined) {
    const described = { 'Content-Length': String(Buffer.byteLength(body)), ...headers };
    sendBytes(connection, encodeResponse(status, described, '', more));
    noteAccess(connection, status, 0);
  } else {
    sendBytes(connection, encodeResponse(status, headers, body, more));
    noteAccess(connection, status, body === undefined ? undefined : Buffer.byteLength(body));
  }
}

/**
 * The route will complete the answer, even if the server drains meanwhile: nothing else answers this request. If the client
 * does not read it, `--close-timeout` ends the connection.
 */
export function promiseResponse(connection: Connection): void {
  const request = httpState(connection)?.request;
  if (request === undefined || request.isPromised) return;
  request.isPromised = true;
  startSending(connection);
}

/** The connection ends after this answer. */
export function endAfterResponse(connection: Connection): void {
  const request = httpState(connection)?.request;
  if (request !== undefined) request.isKept = false;
}

/** Whether the connection may be kept after the answer. */
function mayKeep({ server, isControl }: Connection, { isKept, isWhole }: Request): boolean {
  return isKept && isWhole && server.configuration.keepAlive > 0 && (isControl || !server.isDraining);
}

/** RFC 9112 §6.3: whether the client can tell the end of the response from its head. */
function hasEnd(status: number, headers: Fields, hasBody: boolean): boolean {
  return (
    hasBody ||
    status === 204 ||
    status === 304 ||
    'Content-Length' in headers ||
    'Transfer-Encoding' in headers
  );
}

/**
 * RFC 9112 §9.3: HTTP/1.1 keeps connections unless one side says `close`; HTTP/1.0 only if both say `keep-alive`. The field
 * Keep-Alive tells when an idle connection ends. Node's clients do not reuse a connection that is about to end.
 * @param other an option besides (RFC 9110 §7.8: `Upgrade`)
 */
function persistence(
  { server }: Connection,
  request: Request | undefined,
  isKept: boolean,
  other: string | undefined,
): Record<string, string> {
  const prefix = other === undefined ? '' : `${other}, `;
  if (!isKept) return { Connection: `${prefix}close` };
  const seconds = Math.floor(server.configuration.keepAlive / 1000);
  const fields: Record<string, string> = seconds > 0 ? { 'Keep-Alive': `timeout=${seconds}` } : {};
  if (request?.head.version === '1.0') fields['Connection'] = `${prefix}keep-alive`;
  return fields;
}

/** The answer is queued completely. The connection goes on with the next request, or ends. */
export function endResponse(connection: Connection): void {
  if (connection.phase !== 'open') return;
  const state = httpState(connection);
  const request = state?.request;
  // Unread input is read next. That of an ending connection is discarded: otherwise a reset could destroy the answer.
  const isWaiting = connection.input !== undefined || connection.hasPeerEnded;
  if (isWaiting && state?.isReading !== true) scheduleRead(connection);
  if (state === undefined || request === undefined || !request.isKept) return endConnection(connection);
  finishRequest(connection, state);
  if (connection.phase !== 'open') return;
  recordRefused(connection);
  // The reason, if the connection ends before the next request.
  noteEnding(connection, 'server', 'its request was answered', { isRoutine: true, cause: 'answered' });
  state.since = connection.server.now;
  startSending(connection);
  if (connection.address !== state.peer) changeAddress(connection, state.peer);
  becomeIdle(connection);
}

/** The request is answered, or lost. */
export function finishRequest(connection: Connection, state: HttpState): void {
  const { request } = state;
  state.request = undefined;
  endAccess(connection);
  if (connection.identity !== undefined || connection.claim !== undefined) forgetClient(connection);
  if (request?.isAdmitted) request.route?.finished?.(connection);
  // The next read may be long after this: an idle connection does not count what its request held.
  if (!state.isReading) updateHeld(connection);
}

/** A refusal in plain text. @param fields header fields to add */
export function refusalResponse(error: ProtocolError, fields: Fields = {}): HttpResponse {
  const headers = { 'Content-Type': 'text/plain; charset=utf-8', ...fields, ...error.headers };
  return { status: error.code, headers, body: `${error.message}\n` };
}

/** Maximum length of a path in the log: a refused request must not fill the log. */
const maxShownPath = 128;

/** The option and the rule behind a refusal, for `why`; empty without both. */
export function ruleOf({ option, details }: ProtocolError): string {
  const named = Object.entries(details).map(([name, value]) => `${name} ${value}`);
  if (option !== undefined) named.unshift(flagName(option));
  return named.length === 0 ? '' : ` (${named.join(', ')})`;
}

/** Logs and counts a refusal of the current request, and notes it as the reason why the connection ends. */
export function noteRefusal(connection: Connection, error: ProtocolError): void {
  const { id, address, server } = connection;
  const { code: status, message: reason } = error;
  const { head } = httpState(connection)?.request ?? {};
  if (head === undefined) beginAccess(connection, undefined);
  countRefused(server, `status_${status}`);
  // Requests for favicon.ico, bot probes and health checks are logged at debug level.
  const isPage = head !== undefined && !asksForWebSocket(head) && error.option === undefined;
  const isRoutine = isPage && (status === 404 || status === 405 || status === 426);
  logForAddress(connection, isRoutine ? 'debug' : 'info', 'refused', {
    id,
    address,
    status,
    reason,
    path: head && redact(head.path).slice(0, maxShownPath),
    user: connection.identity?.user,
    ...error.details,
  });
  const what = head !== undefined && asksForWebSocket(head) ? 'handshake' : 'request';
  noteEnding(connection, 'server', `the ${what} was refused with ${status}: ${reason}${ruleOf(error)}`, {
    status,
    isRoutine,
  });
}

/** Answers with the error's status and reason. If the request was not read to its end, the connection ends. */
export function refuseRequest(connection: Connection, error: ProtocolError): void {
  noteRefusal(connection, error);
  const { head, route } = httpState(connection)?.request ?? {};
  const formatted = head === undefined ? undefined : route?.formatRefusal?.(error, head);
  respond(connection, formatted ?? refusalResponse(error));
}
