/** The connection's life, as its handler sees it: opened, one message after the other, closed. */

import { noteClosed, noteEnding } from '../diagnostics/closeReason.ts';
import { isLogged, log, stackOf } from '../log/log.ts';
import { CloseCode } from '../protocol/codes.ts';
import type { Head } from '../protocol/http/head.ts';
import type { Message } from '../protocol/websocket/message.ts';
import type { Connection } from './connection.ts';
import type { Handler } from './handler.ts';
import { establish } from './places.ts';
import type { Server } from './server.ts';
import { resumeMessageWith } from './unfinished.ts';

/** The handshake is done, `request` its head: from now on `handler` has the connection. */
export function openSession(connection: Connection, handler: Handler, request?: Head): void {
  connection.handler = handler;
  connection.handlerName = handler.name;
  connection.trustLevel = 3;
  connection.messageAt = connection.server.now;
  logOpened(connection, request);
  try {
    handler.opened?.(connection, request);
  } catch (error) {
    handlerThrew(connection, handler, error);
  }
  if (connection.trustLevel === 3) establish(connection);
}

/** On a wire that does without handlers: the connection begins there, on the lowest level of trust that the wire has. */
export function openRawSession(connection: Connection, trustLevel: number): void {
  const { server, socket } = connection;
  connection.trustLevel = trustLevel;
  connection.stageSince = server.now;
  // It has no pings: the system finds out when its peer is gone.
  socket.keepAlive(server.configuration.pingInterval);
  logOpened(connection);
}

function logOpened(connection: Connection, request?: Head): void {
  if (!isLogged('debug')) return;
  const { id, wire, address, handlerName, security } = connection;
  log('debug', 'opened', {
    ...{ id, wire: wire.name, address, handler: handlerName, path: request?.path },
    ...{ tls: security?.protocol, subject: security?.subject },
  });
}

/**
 * A whole message came: what it means is for the connection's handler to say.
 * @returns whether it is done with it; if not, the connection is held back, and `resumeMessage` goes on
 */
export function processData(connection: Connection, message: Message): boolean {
  countMessage(connection);
  handle(connection, message);
  return connection.resumableMessage === undefined;
}

/** Goes on with the message that its handler has not finished, if there is one. @returns whether it is done with it */
export function resumeMessage(connection: Connection): boolean {
  return resumeMessageWith(connection, handle);
}

function handle(connection: Connection, message: Message): void {
  const { handler } = connection;
  if (handler === undefined) return;
  try {
    handler.message(connection, message);
  } catch (error) {
    handlerThrew(connection, handler, error);
  }
}

/** A message came: the connection is not idle. */
export function countMessage(connection: Connection): void {
  const { server } = connection;
  connection.messagesIn++;
  connection.messageAt = server.now;
  server.counters.messagesIn++;
}

/** It is over, and the handler is told so, once. */
export function closeSession(connection: Connection, code: number, reason: string): void {
  const { handler } = connection;
  connection.handler = undefined;
  noteClosed(connection, code, reason);
  try {
    handler?.closed?.(connection, code, reason);
  } catch (error) {
    if (handler !== undefined) handlerThrew(connection, handler, error);
  }
}

/** All that came in this turn is processed. */
export function endTurn({ handlers }: Server): void {
  for (const handler of handlers.values()) {
    try {
      handler.turnEnds?.();
    } catch (error) {
      log('error', 'handler threw', { handler: handler.name, stack: stackOf(error) });
    }
  }
}

/** A handler's fault ends the connection that brought it out, and no other. The peer is not told of our insides. */
export function handlerThrew(connection: Connection, handler: Handler, error: unknown): void {
  log('error', 'handler threw', { id: connection.id, handler: handler.name, stack: stackOf(error) });
  noteEnding(connection, 'server', `a fault of ours: the handler ${handler.name} threw, as the log has it`);
  connection.wire.close(connection, CloseCode.InternalError, 'internal error');
}
