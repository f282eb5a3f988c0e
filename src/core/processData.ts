/**
 * What messages mean: the session of a connection with its handler. The handler learns when the session opens, gets its
 * messages one by one, and learns when it closes.
 *
 * A handler can stop in two ways. It can leave the rest of a long message to a later turn (`deferRest`), and it can pause
 * messages until something else has happened (`pauseMessages`). While messages are paused, control frames ahead of the
 * next message are still answered, and the server reads on until `maxPausedInput` bytes wait. After that the system's
 * buffers fill up, and TCP makes the peer wait.
 */

import { noteEnding, noteSessionClosed } from '../diagnostics/closeReason.ts';
import { isLogged, log, stackOf } from '../log/log.ts';
import { CloseCode } from '../protocol/codes.ts';
import type { Head } from '../protocol/http/head.ts';
import { redact } from '../protocol/http/redact.ts';
import { type Message, messageBytes } from '../protocol/websocket/message.ts';
import type { Connection, Handler, Server } from '../records/records.ts';
import { logForAddress } from './addressLog.ts';
import { closeConnection } from './close.ts';
import { updateHeld } from './memory.ts';
import { establish } from './places.ts';
import { scheduleFlush } from './send.ts';
import { newBucket } from './tokenBucket.ts';

/** Opens the session, after the handshake. @param request the head of the handshake */
export function openSession(connection: Connection, handler: Handler, request?: Head): void {
  connection.handler = handler;
  connection.handlerName = handler.name;
  connection.trustLevel = 3;
  connection.messageAt = connection.server.now;
  startRate(connection);
  logOpened(connection, request);
  try {
    handler.opened?.(connection, request);
  } catch (error) {
    handlerThrew(connection, handler, error);
  }
  if (connection.trustLevel === 3) establish(connection);
  // Otherwise a polling session would not count before its client's next request.
  if (handler.held !== undefined) updateHeld(connection);
}

/** Opens a session without a handler, for a wire that handles its messages itself. */
export function openRawSession(connection: Connection, trustLevel: number): void {
  const { server, socket } = connection;
  connection.trustLevel = trustLevel;
  connection.stageSince = server.now;
  // Such a wire has no pings: TCP keep-alive detects a dead peer.
  socket.keepAlive(server.configuration.pingInterval);
  startRate(connection);
  logOpened(connection);
}

/** Gives the connection a bucket, if `--message-rate` is set. */
function startRate(connection: Connection): void {
  const { configuration, now } = connection.server;
  if (configuration.messageRate.burst > 0) connection.rate = newBucket(configuration.messageRate, now);
}

function logOpened(connection: Connection, request?: Head): void {
  if (!isLogged('debug')) return;
  const { id, wire, address, handlerName, security } = connection;
  log('debug', 'opened', {
    ...{ id, wire: wire.name, address, handler: handlerName, path: request && redact(request.path) },
    ...{ tls: security?.protocol, subject: security?.subject, user: connection.identity?.user },
  });
}

/**
 * Gives a message to the connection's handler.
 * @returns whether the handler processed all of it; if not, `resumeMessage` goes on
 */
export function processData(connection: Connection, message: Message): boolean {
  const { handler } = connection;
  // The rest of a message was counted with its first part.
  if (message !== resumed) countMessage(connection);
  if (handler === undefined) return true;
  try {
    handler.message(connection, message);
  } catch (error) {
    handlerThrew(connection, handler, error);
  }
  return connection.resumableMessage === undefined;
}

/** Counts a message, which also shows that the connection is not idle. */
export function countMessage(connection: Connection): void {
  const { server } = connection;
  connection.messagesIn++;
  connection.messageAt = server.now;
  server.counters.messagesIn++;
}

/** The deferred message that its handler is processing now. */
let resumed: Message | undefined;

/** The handler stops inside `message`: it gets the bytes from `at` on in the connection's next turn. */
export function deferRest(connection: Connection, message: Message, at: number): void {
  if (message === resumed) {
    message.start = at;
    connection.resumableMessage = message;
  } else {
    const bytes = messageBytes({ ...message, start: at });
    connection.resumableMessage = { isText: message.isText, bytes, start: 0, end: bytes.length };
  }
}

/** Gives the handler the rest of its message, if there is one. @returns whether it has processed all of it */
export function resumeMessage(connection: Connection): boolean {
  if (connection.resumableMessage === undefined) return true;
  resumed = connection.resumableMessage;
  connection.resumableMessage = undefined;
  try {
    return processData(connection, resumed);
  } finally {
    resumed = undefined;
  }
}

/**
 * Pauses the connection's messages, including those that have arrived already. Does nothing if the connection is closing:
 * its messages are discarded.
 * @param untilAnswered whether a close frame waits too, because the last message still has to be answered
 */
export function pauseMessages({ endpoint }: Connection, untilAnswered = false): void {
  if (endpoint?.state !== 'OPEN') return;
  endpoint.acceptsMessages = false;
  endpoint.acceptsClose = !untilAnswered;
}

/** Resumes the connection's messages in its next turn. Does nothing if they are not paused. */
export function resumeMessages(connection: Connection): void {
  const { endpoint } = connection;
  if (endpoint === undefined || endpoint.acceptsMessages) return;
  endpoint.acceptsMessages = true;
  endpoint.acceptsClose = true;
  // The flush requeues throttled connections.
  connection.isThrottled = true;
  scheduleFlush(connection);
}

/** Closes the session: the handler learns of it once. */
export function closeSession(connection: Connection, code: number, reason: string): void {
  const { handler } = connection;
  connection.handler = undefined;
  noteSessionClosed(connection, code, reason);
  try {
    handler?.closed?.(connection, code, reason);
  } catch (error) {
    if (handler !== undefined) handlerThrew(connection, handler, error);
  }
}

/** A stage of the turn: calls `turnEnds` of the handlers that have something to do. */
export function notifyTurnEnd({ handlers }: Server): void {
  for (const handler of handlers.values()) {
    if (handler.turnEnds === undefined || handler.isIdle === true) continue;
    try {
      handler.turnEnds();
    } catch (error) {
      log('error', 'handler threw', { handler: handler.name, stack: stackOf(error) });
    }
  }
}

/** An exception in a handler closes only the connection that caused it. The peer does not learn the details. */
export function handlerThrew(connection: Connection, handler: Handler, error: unknown): void {
  const { id } = connection;
  logForAddress(connection, 'error', 'handler threw', { id, handler: handler.name, stack: stackOf(error) });
  noteEnding(
    connection,
    'server',
    `an internal error: the handler ${handler.name} threw an exception (see the log)`,
    { cause: 'internal_error' },
  );
  // RFC 6455 §7.4.1 [7.4.1-i]: 1011 is for an unexpected condition in the server.
  closeConnection(connection, CloseCode.InternalError, 'internal error');
}
