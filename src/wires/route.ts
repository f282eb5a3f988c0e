/** What is answered over HTTP beside the pages: by the head of the request, which may have a body, now or later. */
import type { Connection } from '../core/connection.ts';
import { endConnection } from '../core/outbox.ts';
import { sendBytes } from '../core/send.ts';
import { noteEnding } from '../diagnostics/closeReason.ts';
import { log } from '../log/log.ts';
import { flagName } from '../options/option.ts';
import type { ProtocolError } from '../protocol/codes.ts';
import { encodeResponse, type Head } from '../protocol/http/head.ts';
import { withoutToken } from '../protocol/polling.ts';
import { asksForWebSocket } from '../protocol/websocket/handshake.ts';

/** Header fields of a response. */
export type Fields = Readonly<Record<string, string>>;

export interface Route {
  /** Whether requests with this head are its. */
  takes(head: Head): boolean;
  /**
   * The head is there, the body is not: looks whether the request is welcome.
   * @returns the most bytes of body that it may have; undefined if the route refuses the request later, in `checkDeadlines`,
   *   and no body is read for it
   * @throws ProtocolError, whose code is the HTTP status of the refusal
   */
  admit(head: Head, connection: Connection): number | undefined;
  /** The request is welcome, and its body may still be on its way. From here on `lost` is called in the end. */
  begin?(connection: Connection, head: Head): void;
  /**
   * The whole request is there. It is answered by `respond`, or with `sendBytes` and at last `endConnection`: at once, or
   * later, if `connection.phase` is still 'open' then.
   * @param body the route's own from now on
   * @throws ProtocolError as `admit`
   */
  answer(connection: Connection, head: Head, body: Buffer): void;
  /** A refusal as whoever asks this route reads it, where that is not a sentence in plain text. */
  encodeRefusal?(error: ProtocolError, head: Head): Buffer;
  /**
   * The peer has ended its direction, or is gone (`error`); it may not be answered yet, and without `error` it may still
   * be. Called for every request that has begun in the end, with an `error`.
   */
  onEnd?(connection: Connection, error: string | undefined): void;
  /** Not answered yet, and the server wants to end it. Without this it is refused with 503 and the reason. */
  close?(connection: Connection, reason: string): void;
  /** Not answered yet: looks at `server.now` whether it is overdue. */
  checkDeadlines?(connection: Connection): void;
}

/** The one answer to a request; the connection ends with it. */
export function respond(connection: Connection, response: Buffer): void {
  if (connection.phase !== 'open') return;
  sendBytes(connection, response);
  endConnection(connection);
}

/** A refusal as it is told: a sentence. @param fields further ones */
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

/** Characters of a path in the log: refusing a long one must not cost a long line. */
const maxShownPath = 128;

/** Tells why, in the words of HTTP, and ends the connection. */
export function refuseRequest(
  connection: Connection,
  error: ProtocolError,
  head?: Head,
  route?: Route,
): void {
  const { id, address, server } = connection;
  const { code: status, message: reason } = error;
  server.counters.refused++;
  // Browsers ask for pages that do not exist (favicon.ico), bots for many more, and health checks for endpoints.
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
  const its = head === undefined ? undefined : route?.encodeRefusal?.(error, head);
  respond(connection, its ?? refusalResponse(error, head?.method ?? ''));
}
