/** Routes answer HTTP requests that are not for pages: the polling transport and the command API. */

import { endConnection } from '../core/close.ts';
import { sendBytes } from '../core/send.ts';
import { noteEnding } from '../diagnostics/closeReason.ts';
import { log } from '../log/log.ts';
import { flagName } from '../options/option.ts';
import type { ProtocolError } from '../protocol/codes.ts';
import { encodeResponse, type Head } from '../protocol/http/head.ts';
import { withoutToken } from '../protocol/polling.ts';
import { asksForWebSocket } from '../protocol/websocket/handshake.ts';
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
  /**
   * The request is admitted; its body may still be arriving. From then on
   * `onEnd` is certain to be called, finally with an `error`.
   */
  begin?(connection: Connection, head: Head): void;
  /**
   * Answers a whole request with `respond`, or with `sendBytes` and a final `endConnection`: at once, or later if
   * `connection.phase` is still 'open' then.
   * @param body owned by the route afterwards
   * @throws ProtocolError as `admit`
   */
  answer(connection: Connection, head: Head, body: Buffer): void;
  /** A refusal in the format of this route. Without it, refusals are plain text. */
  encodeRefusal?(error: ProtocolError, head: Head): Buffer;
  /**
   * The peer has ended its direction and may still await an answer, or is gone (`error`). Every request for which `begin` was
   * called ends with a call that has an `error`.
   */
  onEnd?(connection: Connection, error: string | undefined): void;
  /** The server ends a whole request that is not answered yet. Without this, the request is refused with 503. */
  close?(connection: Connection, reason: string): void;
  /** Checks a whole request that is not answered yet against `server.now`. */
  checkDeadlines?(connection: Connection): void;
}

/** Sends the response and ends the connection. */
export function respond(connection: Connection, response: Buffer): void {
  if (connection.phase !== 'open') return;
  sendBytes(connection, response);
  endConnection(connection);
}

/** A refusal in plain text. @param fields header fields to add */
export function refusalResponse(error: ProtocolError, method: string, fields: Fields = {}): Buffer {
  const sentence = `${error.message}\n`;
  const headers = {
    'Content-Type': 'text/plain; charset=utf-8',
    'Content-Length': String(Buffer.byteLength(sentence)),
    ...fields,
    ...error.headers,
  };
  // RFC 9110 §9.3.2: the answer to a HEAD has no content.
  return encodeResponse(error.code, headers, method === 'HEAD' ? '' : sentence);
}

/** Maximum length of a path in the log: a refused request must not fill the log. */
const maxShownPath = 128;

/** Answers with the error's status and reason, and ends the connection. */
export function refuseRequest(
  connection: Connection,
  error: ProtocolError,
  head?: Head,
  route?: Route,
): void {
  const { id, address, server } = connection;
  const { code: status, message: reason } = error;
  server.counters.refused++;
  // Requests for favicon.ico, bot probes and health checks are logged at debug level.
  const isPage = head !== undefined && !asksForWebSocket(head) && error.option === undefined;
  const isRoutine = isPage && (status === 404 || status === 405 || status === 426);
  log(isRoutine ? 'debug' : 'info', 'refused', {
    id,
    address,
    status,
    reason,
    path: head && withoutToken(head.path).slice(0, maxShownPath),
  });
  const what = head !== undefined && asksForWebSocket(head) ? 'handshake' : 'request';
  const rule = error.option === undefined ? '' : ` (${flagName(error.option)})`;
  noteEnding(connection, 'server', `the ${what} was refused with ${status}: ${reason}${rule}`, {
    status,
    isRoutine,
  });
  const formatted = head === undefined ? undefined : route?.encodeRefusal?.(error, head);
  respond(connection, formatted ?? refusalResponse(error, head?.method ?? ''));
}
