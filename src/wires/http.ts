/**
 * The HTTP wire. A handshake turns the connection into a WebSocket; anything else gets one answer, of a route or a page,
 * and the connection ends.
 */
import { checkRoom, whyNotAdmitted } from '../core/admission.ts';
import type { Connection } from '../core/connection.ts';
import { charge, startBudget } from '../core/fairness.ts';
import type { Handler } from '../core/handler.ts';
import { dropConnection, endConnection } from '../core/outbox.ts';
import { establish } from '../core/places.ts';
import { openSession } from '../core/processData.ts';
import { hasInputStalled, startReceiving } from '../core/progress.ts';
import { websocket } from '../core/readSocketData.ts';
import { sendBytes } from '../core/send.ts';
import type { Server } from '../core/server.ts';
import type { Wire } from '../core/wire.ts';
import { noteDeadline } from '../diagnostics/closeReason.ts';
import { giveBuffer } from '../protocol/buffers.ts';
import { ProtocolError } from '../protocol/codes.ts';
import { type Body, bodyContent, newBody, readBody } from '../protocol/http/body.ts';
import { hasToken } from '../protocol/http/fields.ts';
import { type Head, parseRequestHead } from '../protocol/http/head.ts';
import { maxFirstLine, minRate } from '../protocol/limits.ts';
import { beginsTelnet } from '../protocol/telnet.ts';
import { newDeflateState } from '../protocol/websocket/deflate.ts';
import { newEndpoint } from '../protocol/websocket/endpoint.ts';
import type { DeflateParameters } from '../protocol/websocket/extensions.ts';
import { acceptHandshake, asksForWebSocket } from '../protocol/websocket/handshake.ts';
import { answerPage } from '../web/pages.ts';
import { believeForwarded } from './proxy.ts';
import { type Route, refuseRequest, respond } from './route.ts';

/** A request for a route, from its head until it is answered. */
interface Request {
  readonly head: Head;
  readonly route: Route;
  readonly body: Body;
}

/**
 * @param routes asked in this order; what none of them takes is a page
 * @param name of the wire, where it is another one with other routes
 */
export function newHttpWire(server: Server, routes: readonly Route[], name = 'http'): Wire {
  function receive(connection: Connection, bytes: Buffer, start: number, end: number): number {
    const request = connection.data as Request | undefined;
    // What comes behind a whole request is nobody's: the connection ends with the answer.
    if (request !== undefined)
      return request.body.isWhole ? end : readOn(connection, request, bytes, start, end);
    const { maxHeader } = server.configuration;
    const parsed = parseRequestHead(bytes, start, end, maxHeader, connection.inputScanned);
    if (parsed === undefined) return start;
    const { head } = parsed;
    const isHandshake = asksForWebSocket(head);
    const route = isHandshake ? undefined : routes.find(one => one.takes(head));
    try {
      believeForwarded(connection, head);
      const why = whyNotAdmitted(connection);
      if (why !== undefined) throw why;
      if (isHandshake) shakeHands(connection, head);
      else if (route === undefined) {
        establish(connection);
        respond(connection, answerPage(head, server.handlers, connection.security !== undefined));
      } else return begin(connection, head, route, bytes, parsed.end, end);
    } catch (error) {
      throwOn(connection, error, head, route);
      return end;
    }
    return parsed.end;
  }

  function shakeHands(connection: Connection, head: Head): void {
    const { origins, compress } = server.configuration;
    const subprotocols = server.handlers;
    const accepted = acceptHandshake(head, { subprotocols, origins, compression: compress });
    const handler = chooseHandler(server, accepted.subprotocol, accepted.path);
    checkRoom(connection);
    sendBytes(connection, accepted.response);
    becomeWebSocket(connection, accepted.deflate);
    openSession(connection, handler, head);
  }

  return {
    name,

    receive(connection, bytes, start, end) {
      try {
        return receive(connection, bytes, start, end);
      } catch (error) {
        throwOn(connection, error);
        return end;
      }
    },

    held: ({ data }) => (data as Request | undefined)?.body.content.length ?? 0,
    matches: looksLikeHttp,
    isUrgent: ({ isControl }) => isControl,
    close(connection, _code, reason) {
      const request = connection.data as Request | undefined;
      // A client that waits for an answer gets one.
      if (request?.body.isWhole && request.route.close !== undefined) request.route.close(connection, reason);
      else if (request !== undefined)
        refuseRequest(connection, new ProtocolError(503, reason), request.head, request.route);
      else endConnection(connection);
      if (request !== undefined) dropBody(request.body);
    },

    onEnd(connection, error) {
      const request = connection.data as Request | undefined;
      // A client that has ended its direction may still wait for the answer.
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
        // A request says no more: --idle-timeout is for clients.
        connection.messageAt = server.now;
        request.route.checkDeadlines?.(connection);
        return;
      }
      if (request !== undefined) {
        // RFC 9110 §15.5.9. A body may take as long as it needs while it comes.
        connection.messageAt = server.now;
        if (!hasInputStalled(connection, handshakeTimeout)) return;
        const reason = `the body came at less than ${minRate} bytes a second for ${handshakeTimeout / 1000} s`;
        const error = new ProtocolError(408, reason, {}, 'handshakeTimeout');
        return refuseRequest(connection, error, request.head, request.route);
      }
      if (handshakeTimeout === 0 || server.now - connection.acceptedAt < handshakeTimeout) return;
      if (connection.input === undefined) {
        noteDeadline(connection, 'nothing came', 'handshakeTimeout');
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

/** The part of a body that has arrived is of no use any more. A whole body may be the route's. */
function dropBody(body: Body): void {
  if (!body.isWhole) giveBuffer(body.content);
  body.content = noContent;
}

/** The head of a request for a route is there. */
function begin(
  connection: Connection,
  head: Head,
  route: Route,
  bytes: Buffer,
  at: number,
  end: number,
): number {
  const most = route.admit(head, connection);
  const request = { head, route, body: newBody(most === undefined ? withoutBody(head) : head, most ?? 0) };
  connection.data = request;
  route.begin?.(connection, head);
  startReceiving(connection);
  if (most === undefined) return end;
  // RFC 9110 §10.1.1: a client that asks first whether its body is wanted gets a 100, unless it has sent the body already.
  if (at === end && !request.body.isWhole && hasToken(head.headers.get('expect'), '100-continue'))
    sendBytes(connection, goOn);
  return readOn(connection, request, bytes, at, end);
}

const withoutBody = (head: Head): Head => ({ ...head, bodyLength: 0 });

const goOn = Buffer.from('HTTP/1.1 100 Continue\r\n\r\n');

/** More of the body, and once it is whole, the answer. */
function readOn(connection: Connection, request: Request, bytes: Buffer, start: number, end: number): number {
  const { head, route, body } = request;
  try {
    startBudget(connection);
    const at = readBody(body, bytes, start, end, () => charge(connection, 0));
    if (!body.isWhole) return at;
    establish(connection);
    route.answer(connection, head, bodyContent(body));
  } catch (error) {
    throwOn(connection, error, head, route);
  }
  return end;
}

/** A refusal is told; anything else is a fault of ours. */
function throwOn(connection: Connection, error: unknown, head?: Head, route?: Route): void {
  if (!(error instanceof ProtocolError)) throw error;
  refuseRequest(connection, error, head, route);
}

/** `GET `, as a number. */
const getAndSpace = 0x47455420;

/** An empty line, the longest method, and a space. */
const longestBeginning = 2 + 'OPTIONS '.length;

/**
 * A method that HTTP has and a space, or a first line that ends in a version. What is not text is HTTP's, too, which says
 * what is wrong with it.
 */
function looksLikeHttp(bytes: Buffer, start: number, end: number): boolean | undefined {
  // Nearly all begin with GET.
  if (end - start >= 4 && bytes.readUInt32BE(start) === getAndSpace) return true;
  // The others have a method, too: the line is not looked at for these.
  const beginning = bytes.toString('latin1', start, Math.min(end, start + longestBeginning));
  if (/^(?:\r\n)?(?:GET|HEAD|POST|PUT|DELETE|CONNECT|OPTIONS|TRACE|PATCH) /.test(beginning)) return true;
  if (beginsTelnet(bytes, start, end) === true) return false;
  const head = bytes.toString('latin1', start, Math.min(end, start + maxFirstLine));
  // RFC 9112 §2.2: a bare CR has no place in a head; telnet's CR NUL ends a line.
  if (/^[^\n]*\r\0/.test(head)) return false;
  if (/^[\0-\x09\x0b\x0c\x0e-\x1f\x7f]/.test(head)) return true;
  const line = /^(?:\r\n)?([^\n]*)\n/.exec(head)?.[1];
  if (line === undefined) return head.length === maxFirstLine ? true : undefined;
  return / HTTP\/\d\S*\r?$/i.test(line);
}

/** The subprotocol decides, else the first segment of the path, else `--default-handler`. */
export function chooseHandler(server: Server, subprotocol: string | undefined, path: string): Handler {
  const { handlers, configuration } = server;
  const handler =
    handlers.get(subprotocol ?? '') ??
    handlers.get(firstSegment(path)) ??
    handlers.get(configuration.defaultHandler);
  if (handler === undefined) throw new ProtocolError(404, 'nothing answers here');
  return handler;
}

function firstSegment(path: string): string {
  const from = path.indexOf('/') + 1;
  if (from === 0) return '';
  const end = path.indexOf('/', from);
  return end === -1 ? path.slice(from) : path.slice(from, end);
}

function becomeWebSocket(connection: Connection, deflate: DeflateParameters | undefined): void {
  connection.endpoint = newEndpoint(
    'server',
    connection.server.configuration.maxMessage,
    deflate && newDeflateState(!deflate.clientNoContextTakeover, deflate.clientMaxWindowBits),
    deflate && newDeflateState(!deflate.serverNoContextTakeover, deflate.serverMaxWindowBits),
  );
  connection.wire = websocket;
}
