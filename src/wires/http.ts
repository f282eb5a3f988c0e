/**
 * The HTTP wire. A handshake upgrades the connection to WebSocket. Any other request is answered by a route or a page, and
 * the connection ends.
 */

import { admissionRefusal, becomeClientOrThrow } from '../core/admission.ts';
import { dropConnection, endConnection } from '../core/close.ts';
import { charge, startBudget } from '../core/fairness.ts';
import { establish } from '../core/places.ts';
import { openSession } from '../core/processData.ts';
import { hasInputStalled, startReceiving } from '../core/progress.ts';
import { sendBytes } from '../core/send.ts';
import { noteDeadline } from '../diagnostics/closeReason.ts';
import { giveBuffer } from '../protocol/buffers.ts';
import { ProtocolError } from '../protocol/codes.ts';
import { type Body, bodyContent, newBody, readBody } from '../protocol/http/body.ts';
import { hasToken } from '../protocol/http/fields.ts';
import { type Head, parseRequestHead } from '../protocol/http/head.ts';
import { maxFirstLine, minRate } from '../protocol/limits.ts';
import { beginsTelnet } from '../protocol/telnet.ts';
import { newDeflateContext } from '../protocol/websocket/deflate.ts';
import { newEndpoint } from '../protocol/websocket/endpoint.ts';
import type { DeflateParameters } from '../protocol/websocket/extensions.ts';
import { acceptHandshake, asksForWebSocket } from '../protocol/websocket/handshake.ts';
import type { Connection, Handler, Server, Wire } from '../records/records.ts';
import { answerPage } from '../web/pages.ts';
import { applyForwarded } from './proxy.ts';
import { type Route, refuseRequest, respond } from './route.ts';
import { websocket } from './websocket.ts';

/** A request for a route whose head has arrived. */
interface Request {
  readonly head: Head;
  readonly route: Route;
  readonly body: Body;
}

/**
 * @param routes in the order in which they are asked; requests that no route takes are for pages
 * @param name the wire's name; the control socket uses another
 */
export function newHttpWire(server: Server, routes: readonly Route[], name = 'http'): Wire {
  function receive(connection: Connection, bytes: Buffer, start: number, end: number): number {
    const request = connection.data as Request | undefined;
    // Bytes after a whole request are ignored: the connection ends with the answer.
    if (request !== undefined)
      return request.body.isWhole ? end : readMoreBody(connection, request, bytes, start, end);
    const { maxHeader } = server.configuration;
    const parsed = parseRequestHead(bytes, start, end, maxHeader, connection.inputScanned);
    if (parsed === undefined) return start;
    const { head } = parsed;
    const isHandshake = asksForWebSocket(head);
    const route = isHandshake ? undefined : routes.find(one => one.takes(head));
    try {
      applyForwarded(connection, head);
      const why = admissionRefusal(connection);
      if (why !== undefined) throw why;
      if (isHandshake) upgrade(connection, head);
      else if (route === undefined) {
        establish(connection);
        respond(connection, answerPage(head, server.handlers, connection.security !== undefined));
      } else return beginRequest(connection, route, bytes, parsed, end);
    } catch (error) {
      refuseOrRethrow(connection, error, head, route);
      return end;
    }
    return parsed.end;
  }

  function upgrade(connection: Connection, head: Head): void {
    const { origins, compress } = server.configuration;
    const subprotocols = server.handlers;
    const accepted = acceptHandshake(head, { subprotocols, origins, compression: compress });
    const handler = chooseHandler(server, accepted.subprotocol, accepted.path);
    becomeClientOrThrow(connection);
    sendBytes(connection, accepted.response);
    switchToWebSocket(connection, accepted.deflate);
    openSession(connection, handler, head);
  }

  return {
    name,

    receive(connection, bytes, start, end) {
      try {
        return receive(connection, bytes, start, end);
      } catch (error) {
        refuseOrRethrow(connection, error);
        return end;
      }
    },

    held: ({ data }) => (data as Request | undefined)?.body.content.length ?? 0,
    matches: looksLikeHttp,
    isUrgent: ({ isControl }) => isControl,
    close(connection, _code, reason) {
      const request = connection.data as Request | undefined;
      // A client that awaits an answer gets one.
      if (request?.body.isWhole && request.route.close !== undefined) request.route.close(connection, reason);
      else if (request !== undefined)
        refuseRequest(connection, new ProtocolError(503, reason), request.head, request.route);
      else endConnection(connection);
      if (request !== undefined) dropBody(request.body);
    },

    onEnd(connection, error) {
      const request = connection.data as Request | undefined;
      // A client that has ended its direction may still await the answer.
      if (request !== undefined && (request.body.isWhole || error !== undefined))
        request.route.onEnd?.(connection, error);
      if (request?.body.isWhole) return;
      if (request !== undefined) dropBody(request.body);
      endConnection(connection);
    },

    checkDeadlines(connection) {
      const { handshakeTimeout } = server.configuration;
      const request = connection.data as Request | undefined;
      if (request?.body.isWhole) {
        // --idle-timeout does not apply to requests.
        connection.messageAt = server.now;
        request.route.checkDeadlines?.(connection);
        return;
      }
      if (request !== undefined) {
        // RFC 9110 §15.5.9: 408. A body may take any time as long as it keeps the minimum rate.
        connection.messageAt = server.now;
        if (!hasInputStalled(connection, handshakeTimeout)) return;
        const reason = `the body arrived at less than ${minRate} bytes a second for ${handshakeTimeout / 1000} s`;
        const error = new ProtocolError(408, reason, {}, 'handshakeTimeout');
        return refuseRequest(connection, error, request.head, request.route);
      }
      if (handshakeTimeout === 0 || server.now - connection.acceptedAt < handshakeTimeout) return;
      if (connection.input === undefined) {
        noteDeadline(connection, 'nothing arrived', 'handshakeTimeout');
        dropConnection(connection);
      } else {
        const reason = `no whole request within ${handshakeTimeout / 1000} s`;
        const error = new ProtocolError(408, reason, {}, 'handshakeTimeout');
        refuseRequest(connection, error);
      }
    },
  };
}

const noContent = Buffer.alloc(0);

/** Frees an incomplete body. A whole body may be owned by the route. */
function dropBody(body: Body): void {
  if (!body.isWhole) giveBuffer(body.content);
  body.content = noContent;
}

/** Starts a request for a route. @returns where reading stopped */
function beginRequest(
  connection: Connection,
  route: Route,
  bytes: Buffer,
  { head, end: at }: { head: Head; end: number },
  end: number,
): number {
  const maxBody = route.admit(head, connection);
  const request = {
    head,
    route,
    body: newBody(maxBody === undefined ? withoutBody(head) : head, maxBody ?? 0),
  };
  connection.data = request;
  route.begin?.(connection, head);
  startReceiving(connection);
  if (maxBody === undefined) return end;
  // RFC 9110 §10.1.1: a client that expects 100 (Continue) gets it, unless its body has already begun to arrive.
  if (at === end && !request.body.isWhole && hasToken(head.headers.get('expect'), '100-continue'))
    sendBytes(connection, continueResponse);
  return readMoreBody(connection, request, bytes, at, end);
}

const withoutBody = (head: Head): Head => ({ ...head, bodyLength: 0 });

const continueResponse = Buffer.from('HTTP/1.1 100 Continue\r\n\r\n');

/** Reads more of the body, and answers the request when the body is whole. */
function readMoreBody(
  connection: Connection,
  request: Request,
  bytes: Buffer,
  start: number,
  end: number,
): number {
  const { head, route, body } = request;
  try {
    startBudget(connection);
    const at = readBody(body, bytes, start, end, () => charge(connection, 0));
    if (!body.isWhole) return at;
    establish(connection);
    route.answer(connection, head, bodyContent(body));
  } catch (error) {
    refuseOrRethrow(connection, error, head, route);
  }
  return end;
}

/** Refuses the request if the error is a `ProtocolError`; rethrows any other error, which is internal. */
function refuseOrRethrow(connection: Connection, error: unknown, head?: Head, route?: Route): void {
  if (!(error instanceof ProtocolError)) throw error;
  refuseRequest(connection, error, head, route);
}

/** `GET ` as a number. */
const getAndSpace = 0x47455420;

/** The length of an empty line, the longest method, and a space. */
const longestMethodPrefix = 2 + 'OPTIONS '.length;

/**
 * Whether the first bytes are HTTP: a method and a space, or a first line that ends in a version. HTTP also claims bytes that
 * are not text, and answers them with an error.
 */
function looksLikeHttp(bytes: Buffer, start: number, end: number): boolean | undefined {
  // Fast path: nearly all requests begin with GET, and nearly all others with another method.
  if (end - start >= 4 && bytes.readUInt32BE(start) === getAndSpace) return true;
  const beginning = bytes.toString('latin1', start, Math.min(end, start + longestMethodPrefix));
  if (/^(?:\r\n)?(?:GET|HEAD|POST|PUT|DELETE|CONNECT|OPTIONS|TRACE|PATCH) /.test(beginning)) return true;
  if (beginsTelnet(bytes, start, end) === true) return false;
  const head = bytes.toString('latin1', start, Math.min(end, start + maxFirstLine));
  // RFC 9112 §2.2 forbids a bare CR in a head; telnet's CR NUL ends a line.
  if (/^[^\n]*\r\0/.test(head)) return false;
  if (/^[\0-\x09\x0b\x0c\x0e-\x1f\x7f]/.test(head)) return true;
  const line = /^(?:\r\n)?([^\n]*)\n/.exec(head)?.[1];
  if (line === undefined) return head.length === maxFirstLine ? true : undefined;
  return / HTTP\/\d\S*\r?$/i.test(line);
}

/** The handler named by the subprotocol, else by the first segment of the path, else by `--default-handler`. */
export function chooseHandler(server: Server, subprotocol: string | undefined, path: string): Handler {
  const { handlers, configuration } = server;
  const handler =
    handlers.get(subprotocol ?? '') ??
    handlers.get(firstSegment(path)) ??
    handlers.get(configuration.defaultHandler);
  if (handler === undefined) throw new ProtocolError(404, 'no handler for this path');
  return handler;
}

function firstSegment(path: string): string {
  const from = path.indexOf('/') + 1;
  if (from === 0) return '';
  const end = path.indexOf('/', from);
  return end === -1 ? path.slice(from) : path.slice(from, end);
}

function switchToWebSocket(connection: Connection, deflate: DeflateParameters | undefined): void {
  connection.endpoint = newEndpoint(
    'server',
    connection.server.configuration.maxMessage,
    deflate && newDeflateContext(!deflate.clientNoContextTakeover, deflate.clientMaxWindowBits),
    deflate && newDeflateContext(!deflate.serverNoContextTakeover, deflate.serverMaxWindowBits),
  );
  connection.wire = websocket;
}
