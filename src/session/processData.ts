/** The connection's life, as its handler sees it: opened, one message after the other, closed. */
import type { Connection } from '../connection/connection.ts';
import type { Handler } from '../connection/handler.ts';
import type { Server } from '../connection/server.ts';
import { log } from '../log/log.ts';
import { CloseCode } from '../protocol/codes.ts';
import type { Message } from '../protocol/message.ts';

/** The handshake is done: from now on `handler` has the connection. */
export function openSession(connection: Connection, handler: Handler): void {
  connection.handler = handler;
  connection.trustLevel = 3;
  connection.messageAt = connection.server.now;
  try {
    handler.opened?.(connection);
  } catch (error) {
    handlerThrew(connection, handler, error);
  }
}

/** A whole message came: what it means is for the connection's handler to say. */
export function processData(connection: Connection, message: Message): void {
  const { handler } = connection;
  countMessage(connection);
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
  log('debug', 'closed', { id: connection.id, code, reason });
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
      log('error', 'handler threw', { handler: handler.name, stack: (error as Error).stack });
    }
  }
}

/** A handler's fault ends the connection that brought it out, and no other. The peer is not told of our insides. */
function handlerThrew(connection: Connection, handler: Handler, error: unknown): void {
  log('error', 'handler threw', { id: connection.id, handler: handler.name, stack: (error as Error).stack });
  connection.wire.close(connection, CloseCode.InternalError, 'internal error');
}
