/**
 * The HTTP wire. A handshake upgrades the connection to WebSocket. Any other request is answered by a route or a page, and
 * the connection waits for the next one (RFC 9112 §9.3). Requests that arrive before that (pipelining) stay unread.
 */

import { connectNeed } from '../access/needs.ts';
import { admissionRefusal, becomeClientOrThrow, connectRateRefusal } from '../core/admission.ts';
import { closeConnection, dropConnection, endConnection } from '../core/close.ts';
import { charge, startBudget } from '../core/fairness.ts';
import { endIdling, establish } from '../core/places.ts';
import { scheduleRead } from '../core/poll.ts';
import { openSession } from '../core/processData.ts';
import { startReceiving } from '../core/progress.ts';
import { sendBytes } from '../core/send.ts';
import { beginAccess, noteAccess } from '../diagnostics/accessLog.ts';
import { tapRequested } from '../diagnostics/tap.ts';
import { faultHandshake } from '../handlers/faults/faults.ts';
import { isServed, servedNames } from '../handlers/handlers.ts';
import { noHandler } from '../options/configuration.ts';
import { giveBuffer } from '../protocol/buffers.ts';
import { closeCodeFor, ProtocolError } from '../protocol/codes.ts';
import { bodyContent, newBody, readBody, restOfBody } from '../protocol/http/body.ts';
import { looksLikeHttp } from '../protocol/http/detect.ts';
import { hasToken } from '../protocol/http/fields.ts';
import { type Head, parseRequestHead } from '../protocol/http/head.ts';
import { firstSegment } from '../protocol/http/path.ts';
import { requestCost } from '../protocol/limits.ts';
import { newContextOf } from '../protocol/websocket/deflate.ts';
import { newEndpoint } from '../protocol/websocket/endpoint.ts';
import type { DeflateParameters, Extension } from '../protocol/websocket/extensions.ts';
import { acceptHandshake, asksForWebSocket } from '../protocol/websocket/handshake.ts';
import { workUnits } from '../protocol/workUnits.ts';
import type { Entry } from '../records/entry.ts';
import type { Need } from '../records/identity.ts';
import type { Connection, Handler, Server, Wire } from '../records/records.ts';
import { answerPage } from '../web/pages.ts';
import { checkHttpDeadlines, endIdle } from './httpDeadlines.ts';
import { applyForwarded } from './proxy.ts';
import {
  finishRequest,
  type HttpState,
  httpState,
  noteRefusal,
  type Request,
  type Route,
  refuseRequest,
  respond,
  type WaitingRequest,
} from './route.ts';
import { websocket } from './websocket.ts';

/**
 * @param routes in the order in which they are asked; requests that no route takes are for pages
 * @param entry decides which clients may use them; without it, all may
 * @param name the wire's name; the control socket and the listener for metrics use others
 */
export function newHttpWire(
  server: Server,
  routes: readonly Route[],
  entry: Entry | undefined = undefined,
  name = 'http',
): Wire {
  /** Reads one request, or a part of one. @returns where it stopped: at `start` if the rest must wait */
  function read(connection: Connection, state: HttpState, bytes: Buffer, start: number, end: number): number {
    const { request } = state;
    if (request === undefined) return readHead(connection, state, bytes, start, end);
    if (request.waiting !== undefined) return start;
    if (!request.isWhole) return readMoreBody(connection, request, bytes, start, end);
    // The next request waits for the answer to this one. If there will be no next one, what arrives is ignored.
    return request.isKept ? start : end;
  }

  function readHead(
    connection: Connection,
    state: HttpState,
    bytes: Buffer,
    start: number,
    end: number,
  ): number {
    // RFC 9112 §2.2: empty lines before a request are ignored. Old clients sent one after a body.
    if (start + 1 < end && bytes[start] === CR && bytes[start + 1] === LF) return start + 2;
    beginHead(connection, state);
    const parsed = parseRequestHead(bytes, start, end, server.configuration.maxHeader, state.scanned);
    state.scanned = parsed === undefined ? end - start : 0;
    if (parsed === undefined) return start;
    // Besides `requestCost`: a head of 16 KiB takes a hundred times as long as a usual one.
    workUnits.spent += (parsed.end - start) >>> 4;
    state.count++;
    const { head } = parsed;
    if (server.taps.isOn) tapRequested(connection, head);
    const route = asksForWebSocket(head) ? undefined : routes.find(one => one.takes(head));
    state.request = newRequest(head, route, parsed.end - start);
    const { request } = state;
    try {
      if (answerHead(connection, request)) return parsed.end;
    } catch (error) {
      refuseOrRethrow(connection, error);
      return parsed.end;
    }
    return readMoreBody(connection, request, bytes, parsed.end, end);
  }

  /** @returns false if the body must be read now; true if the request is answered, waits, or will be refused by its route */
  function answerHead(connection: Connection, request: Request): boolean {
    const { head, route } = request;
    if (server.accessLog !== undefined) beginAccess(connection, head);
    applyForwarded(connection, head);
    const why = admissionRefusal(connection);
    if (why !== undefined) {
      request.isKept = false;
      throw why;
    }
    const isGuarded = entry?.isOn() === true;
    if (isGuarded) entry.identify(connection, head);
    if (asksForWebSocket(head)) {
      // A refused client tries again with a new connection.
      // RFC 6455 §7.2.2 [7.2.2-1]: a refused handshake ends the connection.
      request.isKept = false;
      if (name === 'metrics') throw new ProtocolError(404, 'there are no WebSockets here');
      return answerHandshake(connection, request, isGuarded);
    }
    if (route !== undefined) {
      const maxBody = route.admit(head, connection);
      const needs = (isGuarded && route.needs?.(head, connection)) || [];
      return authorize(connection, request, needs, refusal => {
        if (refusal !== undefined) throw refusal;
        return !admit(connection, request, route, maxBody);
      });
    }
    establish(connection);
    const endpoints = { has: (path: string) => isServed(server, path) };
    respond(connection, answerPage(head, endpoints, connection.security !== undefined));
    return true;
  }

  function answerHandshake(connection: Connection, request: Request, isGuarded: boolean): true {
    const { head } = request;
    const { origins, compress } = server.configuration;
    const pathHandler = server.handlers.get(firstSegment(head.path));
    const further = pathHandler?.subprotocols;
    // Scripts and replays may have any subprotocol, even that of another handler.
    const own = typeof further === 'function' ? further(head) : undefined;
    const subprotocols = {
      has: (one: string) =>
        own?.includes(one) ?? (isServed(server, one) || (Array.isArray(further) && further.includes(one))),
    };
    let accepted = acceptHandshake(head, { subprotocols, origins, compression: compress });
    const handler =
      own !== undefined && pathHandler !== undefined
        ? pathHandler
        : chooseHandler(server, accepted.subprotocol, accepted.path);
    handler.admit?.(connection, head);
    if (server.configuration.fault.length > 0) faultHandshake(connection, handler);
    if (handler.grantDeflate !== undefined) {
      const compression = (offers: readonly Extension[]) => handler.grantDeflate?.(head, offers);
      accepted = acceptHandshake(head, { subprotocols, origins, compression });
    }
    const tooFast = connectRateRefusal(connection);
    if (tooFast !== undefined) throw tooFast;
    const needs = isGuarded ? handshakeNeeds(handler, head) : [];
    return authorize(connection, request, needs, refusal => {
      const isKnown =
        refusal === undefined || (refusal.code === 401 && handler.awaitsToken?.(connection, head) === true);
      if (!isKnown && server.configuration.refuseWith === 'status') throw refusal;
      becomeClientOrThrow(connection);
      if (!isKnown) noteRefusal(connection, refusal);
      sendBytes(connection, accepted.response);
      if (server.accessLog !== undefined) noteAccess(connection, 101, undefined);
      connection.data = undefined;
      switchToWebSocket(connection, accepted.deflate);
      if (isKnown) openSession(connection, handler, head);
      // Browsers hide the status of a handshake from the page, but not the code and the reason of a close frame.
      else closeConnection(connection, closeCodeFor(refusal.code), refusal.message);
      return true;
    });
  }

  /**
   * Calls `proceed` when the client's rights are decided, at once or in a later turn.
   * @param proceed returns as `answerHead`; throws the refusal, unless it answers in another way
   */
  function authorize<Answered extends boolean>(
    connection: Connection,
    request: Request,
    needs: readonly Need[],
    proceed: (refusal: ProtocolError | undefined) => Answered,
  ): Answered | true {
    if (entry === undefined || needs.length === 0) return proceed(undefined);
    const waiting: WaitingRequest = { since: server.now, proceed, outcome: undefined };
    const isDecided = entry.authorize(connection, needs, refusal => {
      waiting.outcome = refusal ?? null;
      if (request.waiting === waiting) scheduleRead(connection);
    });
    if (isDecided) return proceed(waiting.outcome ?? undefined);
    request.waiting = waiting;
    return true;
  }

  /** Continues a request whose client's rights are decided. @returns where it stopped */
  function resumeRequest(
    connection: Connection,
    request: Request,
    bytes: Buffer,
    start: number,
    end: number,
  ): number {
    const { proceed, outcome } = request.waiting!;
    request.waiting = undefined;
    try {
      if (proceed(outcome ?? undefined)) return start;
    } catch (error) {
      refuseOrRethrow(connection, error);
      return start;
    }
    return readMoreBody(connection, request, bytes, start, end);
  }

  function close(connection: Connection, reason: string): void {
    const request = httpState(connection)?.request;
    // The next request has arrived, or a part of it, and no read has seen it yet.
    if (request === undefined && connection.input !== undefined && server.isDraining)
      refuseRequest(connection, new ProtocolError(503, reason));
    else if (request === undefined) endIdle(connection);
    else if (request.isPromised) request.isKept = false;
    // A client that awaits an answer gets one.
    else if (request.isAdmitted && request.isWhole && request.route?.close !== undefined)
      request.route.close(connection, reason);
    else if (request.isBegun) endConnection(connection);
    else refuseRequest(connection, new ProtocolError(503, reason));
  }

  const wire: Wire = {
    name,

    receive(connection, bytes, start, end) {
      const state = stateOf(connection);
      let at = start;
      startBudget(connection);
      state.isReading = true;
      try {
        if (state.request?.waiting?.outcome !== undefined) {
          at = resumeRequest(connection, state.request, bytes, at, end);
          if (connection.phase !== 'open' || connection.wire !== wire) return at;
        }
        while (at < end && !connection.isThrottled) {
          const next = read(connection, state, bytes, at, end);
          if (connection.phase !== 'open' || connection.wire !== wire) return next;
          if (next === at) break;
          at = next;
          if (state.request !== undefined) continue;
          workUnits.spent += requestCost;
          charge(connection, 0);
        }
      } catch (error) {
        // The head or the body is invalid, so the end of the request is unknown.
        refuseOrRethrow(connection, error);
        return end;
      } finally {
        state.isReading = false;
      }
      return at;
    },

    isPaused: isAwaitingAnswer,

    missing(connection) {
      const { body, waiting } = httpState(connection)?.request ?? {};
      return body === undefined || waiting !== undefined ? 0 : restOfBody(body);
    },

    held(connection) {
      const request = httpState(connection)?.request;
      if (request === undefined) return 0;
      return (
        request.headSize + (request.body?.content.length ?? 0) + (request.route?.held?.(connection) ?? 0)
      );
    },

    matches: looksLikeHttp,
    isUrgent: ({ isControl }) => isControl,
    close: (connection, _code, reason) => close(connection, reason),

    fail(connection, _code, reason) {
      const state = httpState(connection);
      const request = state?.request;
      // Output was discarded, perhaps a part of an answer. A refusal would be read as the rest of that answer.
      const isCut = request !== undefined && (state!.count > 1 || request.isBegun || request.isPromised);
      if (isCut) dropConnection(connection);
      else close(connection, reason);
    },

    onEnd(connection, error) {
      const state = httpState(connection);
      const request = state?.request;
      if (state !== undefined && request !== undefined) {
        const isLost = error !== undefined;
        if (isLost) request.isKept = false;
        if (request.isAdmitted && (request.isWhole || isLost)) request.route?.onEnd?.(connection, error);
        // A client that has ended its direction may still await the answer.
        if (request.isWhole && !isLost) return;
        dropBody(request);
        if (isLost) finishRequest(connection, state);
      }
      endConnection(connection);
    },

    checkDeadlines: checkHttpDeadlines,
  };
  return wire;
}

const CR = 0x0d;
const LF = 0x0a;

function stateOf(connection: Connection): HttpState {
  if (connection.data === undefined) {
    const state: HttpState = {
      request: undefined,
      count: 0,
      peer: connection.address,
      since: connection.acceptedAt,
      scanned: 0,
      isReading: false,
    };
    connection.data = state;
  }
  return connection.data as HttpState;
}

/** The first bytes of a request have arrived: the connection is no longer idle. */
function beginHead(connection: Connection, state: HttpState): void {
  if (state.count === 0 || state.scanned > 0) return;
  state.since = connection.server.now;
  connection.ending = undefined;
  endIdling(connection);
}

function newRequest(head: Head, route: Route | undefined, headSize: number): Request {
  const connection = head.headers.get('connection');
  const isKept = head.version === '1.0' ? hasToken(connection, 'keep-alive') : !hasToken(connection, 'close');
  const isWhole = head.bodyLength === 0;
  return {
    head,
    headSize,
    route,
    body: undefined,
    isWhole,
    isAdmitted: false,
    isKept,
    isBegun: false,
    isPromised: false,
    waiting: undefined,
  };
}

/** The rights that a handshake needs. @param path percent-encoded, without the prefix of a transport */
export function handshakeNeeds(handler: Handler, head: Head, path = head.path): readonly Need[] {
  return [connectNeed(handler.name, path), ...(handler.needs?.(head) ?? [])];
}

/** Begins the request at its route: the route admits it, and its client has the rights. @returns whether the body must be read */
function admit(connection: Connection, request: Request, route: Route, maxBody: number | undefined): boolean {
  const { head } = request;
  if (maxBody !== undefined) request.body = newBody(head, maxBody);
  else if (!request.isWhole) {
    // Without reading this body the server cannot find the next request.
    request.isWhole = true;
    request.isKept = false;
  }
  request.isAdmitted = true;
  route.begin?.(connection, head);
  startReceiving(connection);
  return maxBody !== undefined;
}

/** Whether unread input waits for a decision about this request, or for its answer. */
function isAwaitingAnswer(connection: Connection): boolean {
  const request = httpState(connection)?.request;
  if (request === undefined) return false;
  return request.waiting !== undefined || (request.isKept && request.isWhole);
}

const noContent = Buffer.alloc(0);

/** Frees an incomplete body. A whole body may be owned by the route. */
function dropBody({ body, isWhole }: Request): void {
  if (body === undefined) return;
  if (!isWhole) giveBuffer(body.content);
  body.content = noContent;
}

const continueResponse = Buffer.from('HTTP/1.1 100 Continue\r\n\r\n');

/** Reads more of the body, and answers the request when the body is whole. @returns where it stopped */
function readMoreBody(
  connection: Connection,
  request: Request,
  bytes: Buffer,
  start: number,
  end: number,
): number {
  const { head, route, body } = request;
  if (route === undefined || body === undefined) return end;
  const at = readBody(body, bytes, start, end, () => charge(connection, 0));
  if (!body.isWhole) {
    if (start === end && body.size === 0) inviteBody(connection, request);
    return at;
  }
  request.isWhole = true;
  establish(connection);
  try {
    route.answer(connection, head, bodyContent(body));
  } catch (error) {
    refuseOrRethrow(connection, error);
  }
  return at;
}

/** RFC 9110 §10.1.1: a client that expects 100 (Continue) gets it, unless its body has already begun to arrive. */
function inviteBody(connection: Connection, { head: { headers, version } }: Request): void {
  if (version === '1.1' && hasToken(headers.get('expect'), '100-continue'))
    sendBytes(connection, continueResponse);
}

/** Refuses the request if the error is a `ProtocolError`; rethrows any other error, which is internal. */
function refuseOrRethrow(connection: Connection, error: unknown): void {
  if (!(error instanceof ProtocolError)) throw error;
  // RFC 6455 §4.2.1, §4.2.2, §10.7 [4.2.1-1, 4.2.2-5, 10.7-4]: an HTTP status gives the reason.
  refuseRequest(connection, error);
}

/**
 * The handler named by the subprotocol, else by the first segment of the path, else by `--default-handler`.
 * @throws ProtocolError 404; only the log lists the handlers
 */
export function chooseHandler(server: Server, subprotocol: string | undefined, path: string): Handler {
  const { handlers, configuration } = server;
  const { defaultHandler } = configuration;
  const handler =
    handlers.get(subprotocol ?? '') ??
    handlers.get(firstSegment(path)) ??
    (defaultHandler === noHandler ? undefined : handlers.get(defaultHandler));
  if (handler !== undefined) return handler;
  const names = servedNames(server).join(', ');
  // RFC 6455 §4.2.2, 4 [4.2.2-7]: 404 if the service is not available.
  throw new ProtocolError(404, 'no handler for this path', {}, undefined, { handlers: names });
}

function switchToWebSocket(connection: Connection, deflate: DeflateParameters | undefined): void {
  // RFC 6455 §5.8 [5.8-1]: the endpoint compresses only if both sides agreed to it.
  connection.endpoint = newEndpoint(
    'server',
    connection.server.configuration.maxMessage,
    newContextOf(deflate, 'client'),
    newContextOf(deflate, 'server'),
  );
  connection.wire = websocket;
}
