/**
 * The HTTP routes for clients without WebSocket: they open a session, fetch its messages and post messages to it. Handlers see
 * an ordinary connection.
 *
 *     POST   /poll/NAME               opens a session with the handler NAME: {"session":"TOKEN"}
 *     GET    /poll/s/TOKEN?ack=N      waits for messages after the Nth; an event stream with Accept: text/event-stream
 *     POST   /poll/s/TOKEN?seq=N      posts the client's Nth message, or several starting with the Nth
 *     DELETE /poll/s/TOKEN            ends the session
 */
import { randomBytes } from 'node:crypto';
import { checkRoomForPolled } from '../../core/admission.ts';
import { dropConnection } from '../../core/close.ts';
import { addConnection } from '../../core/connection.ts';
import { becomeClient } from '../../core/places.ts';
import { closeSession, openSession } from '../../core/processData.ts';
import { noteEnding } from '../../diagnostics/closeReason.ts';
import { giveBuffer } from '../../protocol/buffers.ts';
import { CloseCode, ProtocolError } from '../../protocol/codes.ts';
import { admittedFields, preflightFields } from '../../protocol/http/crossOrigin.ts';
import type { Head, HttpResponse } from '../../protocol/http/head.ts';
import { checkOrigin } from '../../protocol/http/origin.ts';
import { maxIgnoredBody, maxPostedLinesBytes } from '../../protocol/limits.ts';
import { areLines, readPosted, sessionPath } from '../../protocol/polling.ts';
import { newEndpoint } from '../../protocol/websocket/endpoint.ts';
import type { Entry } from '../../records/entry.ts';
import type { Need } from '../../records/identity.ts';
import type { Connection, Handler, Server } from '../../records/records.ts';
import { chooseHandler, handshakeNeeds } from '../http.ts';
import { type Fields, type Route, refusalResponse, respond } from '../route.ts';
import { PolledSocket, pollWire, sseWire } from './polledSocket.ts';

/** The token has 192 random bits, encoded as base64url. */
const tokenBytes = 24;

/**
 * Fields that client libraries add: EventSource and its polyfills send `Cache-Control` and `Last-Event-ID`; wrappers of fetch
 * and XMLHttpRequest send the others.
 */
const clientFields =
  'Content-Type, Last-Event-ID, Cache-Control, Pragma, X-Requested-With, Authorization, Accept';

const preflight = preflightFields('GET, POST, DELETE', clientFields);

/** @param entry checks who may open sessions; without it, every client may */
export function newPollRoute(server: Server, entry?: Entry): Route {
  /** By token. V8 hashes strings with a random seed, so the time of a lookup reveals nothing about existing tokens. */
  const sessions = new Map<string, PolledSocket>();
  /** The session of each request that is in progress. */
  const requests = new Map<Connection, PolledSocket>();
  /** The handlers of sessions that are about to open. */
  const openings = new WeakMap<Head, Handler>();

  function find(head: Head): PolledSocket {
    const found = sessions.get(sessionPath.exec(head.path)?.[1] ?? '');
    // The same answer for a session that never existed and for one that has ended.
    if (found === undefined) throw new ProtocolError(404, 'no such session; it may be over');
    return found;
  }

  /** @returns the maximum length of the body */
  function admit(head: Head, request: Connection): number {
    const { method, path, headers } = head;
    if (method === 'OPTIONS') return maxIgnoredBody;
    if (!sessionPath.test(path)) {
      if (method === 'POST') {
        admitSession(head, request);
        return maxIgnoredBody;
      }
      throw new ProtocolError(405, 'open a session with POST', { Allow: 'POST, OPTIONS' });
    }
    find(head);
    if (method === 'GET' || method === 'DELETE') return maxIgnoredBody;
    const Allow = 'GET, POST, DELETE, OPTIONS';
    if (method !== 'POST') throw new ProtocolError(405, `a session does not support ${method}`, { Allow });
    const { maxMessage } = server.configuration;
    return areLines(headers.get('content-type')) ? Math.min(maxMessage, maxPostedLinesBytes) : maxMessage;
  }

  function admitSession(head: Head, request: Connection): void {
    const subprotocol = new URLSearchParams(head.query).get('protocol') ?? undefined;
    const handler = chooseHandler(server, subprotocol, head.path.slice('/poll'.length));
    handler.admit?.(request, head);
    openings.set(head, handler);
  }

  /** Requests of an open session need no rights: its token is the credential. */
  function needs(head: Head): readonly Need[] {
    const handler = openings.get(head);
    return handler === undefined ? [] : handshakeNeeds(handler, head, head.path.slice('/poll'.length));
  }

  function answer(request: Connection, head: Head, body: Buffer): void {
    const fields = answerFields(head);
    if (head.method === 'OPTIONS')
      respond(request, { status: 204, headers: { ...fields, ...preflight }, body: '' });
    else if (!sessionPath.test(head.path)) open(request, head, fields);
    else {
      const socket = find(head);
      socket.seenAt = server.now;
      const whose = `the request belonged to the polling session of connection ${socket.connection.id}`;
      noteEnding(request, 'client', whose, { isRoutine: true });
      socket.acknowledge(numberIn(head, 'ack') ?? 0);
      if (head.method === 'GET') wait(request, head, socket, fields);
      else if (head.method === 'POST') receivePost(request, head, body, socket, fields);
      else end(request, socket, fields);
    }
  }

  function open(request: Connection, head: Head, fields: Fields): void {
    if (server.isDraining) throw new ProtocolError(503, 'the server is shutting down');
    checkRoomForPolled(request);
    const handler = openings.get(head)!;
    const token = randomBytes(tokenBytes).toString('base64url');
    const socket = new PolledSocket(server, request.address, () => {
      sessions.delete(token);
      server.polling.clients--;
    });
    sessions.set(token, socket);
    server.polling.clients++;
    const connection = addConnection(server, socket, pollWire);
    becomeClient(connection);
    connection.security = request.security;
    connection.identity = request.identity;
    connection.claim = request.claim;
    connection.endpoint = newEndpoint('server', server.configuration.maxMessage);
    const headers = { ...fields, 'Content-Type': 'application/json', Location: `/poll/s/${token}` };
    respond(request, { status: 201, headers, body: `{"session":"${token}"}\n` });
    openSession(connection, handler, head);
  }

  /** Lets a poll or an event stream wait for messages. */
  function wait(request: Connection, head: Head, socket: PolledSocket, fields: Fields): void {
    const isStream = /\btext\/event-stream\b/i.test(head.headers.get('accept') ?? '');
    if (isStream) socket.acknowledge(lastEventId(head));
    socket.connection.wire = isStream ? sseWire : pollWire;
    socket.attach(request, fields, isStream);
  }

  /** Accepts the client's messages. Messages that were accepted before are skipped. */
  function receivePost(
    request: Connection,
    head: Head,
    body: Buffer,
    socket: PolledSocket,
    fields: Fields,
  ): void {
    if (socket.connection.endpoint?.state !== 'OPEN') throw new ProtocolError(410, 'the session is closed');
    if (socket.pendingPost !== undefined) {
      throw new ProtocolError(429, 'an earlier POST still waits; fetch messages, then send this one again');
    }
    if (socket.isReadPaused()) {
      // Backpressure: the POST waits until the socket is resumed.
      const retry = () => attempt(request, head, () => receivePost(request, head, body, socket, fields));
      const reject = () => attempt(request, head, refuseLate);
      socket.pendingPost = { connection: request, since: server.now, retry, reject };
      return;
    }
    const seq = numberIn(head, 'seq') ?? socket.acceptedSeq + 1;
    const posted = readPosted(head.headers.get('content-type'), body, true);
    // Frames that are copies no longer need the body.
    if (posted[0]?.buffer !== body.buffer) giveBuffer(body);
    const isNext = seq >= 1 && seq <= socket.acceptedSeq + 1;
    if (isNext) socket.receive(posted.slice(socket.acceptedSeq + 1 - seq));
    const headers = { ...fields, 'Content-Type': 'application/json' };
    respond(request, { status: isNext ? 200 : 409, headers, body: `{"seq":${socket.acceptedSeq}}\n` });
  }

  function end(request: Connection, { connection }: PolledSocket, fields: Fields): void {
    if (connection.endpoint?.state === 'OPEN') {
      noteEnding(connection, 'client', 'the client ended its session');
      connection.endpoint.state = 'CLOSED';
      closeSession(connection, CloseCode.NormalClosure, '');
    }
    dropConnection(connection);
    respond(request, { status: 204, headers: fields, body: '' });
  }

  /** Header fields of every answer. */
  function answerFields(head: Head): Fields {
    const admitted = admittedFields(head, entry?.isOn(), server.configuration.origins);
    return { 'Cache-Control': 'no-store', 'X-Content-Type-Options': 'nosniff', ...admitted };
  }

  /** A refusal that the page may read, unless its origin is refused. */
  function readableRefusal(error: ProtocolError, head: Head): HttpResponse {
    return refusalResponse(error, error.option === 'origin' ? {} : answerFields(head));
  }

  /** Calls `act` for a request that has waited, and answers it if `act` throws a `ProtocolError`. */
  function attempt(request: Connection, head: Head, act: () => void): void {
    try {
      act();
    } catch (error) {
      if (!(error instanceof ProtocolError)) throw error;
      respond(request, readableRefusal(error, head));
    }
  }

  return {
    takes: ({ path }) => path === '/poll' || path.startsWith('/poll/'),

    admit(head, request) {
      checkOrigin(head, server.configuration.origins);
      return admit(head, request);
    },

    needs,

    // A request counts from its head on: a slow upload keeps its session alive.
    begin(request, head) {
      if (head.method === 'OPTIONS' || !sessionPath.test(head.path)) return;
      const socket = find(head);
      requests.set(request, socket);
      socket.requests++;
    },

    answer,
    formatRefusal: readableRefusal,

    onEnd(request, error) {
      requests.get(request)?.requestEnded(request, error !== undefined);
    },

    finished(request) {
      const socket = requests.get(request);
      if (socket === undefined) return;
      requests.delete(request);
      socket.requests--;
      socket.seenAt = server.now;
    },

    close(request, reason) {
      const socket = requests.get(request);
      if (socket?.pollRequest?.connection !== request)
        respond(request, refusalResponse(new ProtocolError(503, reason)));
      // In a graceful shutdown, the session itself sends its close frame by this request.
      else if (!server.isDraining) socket.release();
    },

    checkDeadlines(request) {
      requests.get(request)?.checkRequest(request);
    },
  };
}

function refuseLate(): never {
  throw new ProtocolError(
    429,
    'earlier messages are not processed yet; fetch messages, then send this POST again',
  );
}

/**
 * The number of the last event that a reconnecting client has received. Across origins the header field needs a preflight, so
 * polyfills of EventSource use the query, with one of two names. The highest number counts: the client's URL may have an
 * older one.
 * @throws ProtocolError 400
 */
function lastEventId(head: Head): number {
  return Math.max(
    readNumber(head.headers.get('last-event-id'), 'Last-Event-ID') ?? 0,
    numberIn(head, 'lastEventId') ?? 0,
    numberIn(head, 'last_event_id') ?? 0,
  );
}

/** Reads a number from the query. @throws ProtocolError 400 */
function numberIn({ query }: Head, name: string): number | undefined {
  return readNumber(new URLSearchParams(query).get(name) ?? undefined, name);
}

function readNumber(text: string | undefined, name: string): number | undefined {
  if (text === undefined || text === '') return undefined;
  if (!/^\d{1,15}$/.test(text)) throw new ProtocolError(400, `${name} is not a number`);
  return Number(text);
}
