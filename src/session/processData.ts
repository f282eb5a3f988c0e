import type { Connection } from '../connection/connection.ts';
import { log } from '../log/log.ts';
import { CloseCode } from '../protocol/codes.ts';
import type { Message } from '../protocol/message.ts';

/** A whole message came: what it means is for the connection's handler to say. */
export function processData(connection: Connection, message: Message): void {
  const { server, handler } = connection;
  connection.messagesIn++;
  connection.messageAt = server.now;
  server.counters.messagesIn++;
  if (handler === undefined) return;
  try {
    handler.message(connection, message);
  } catch (error) {
    // A handler's fault ends the connection that brought it out, and nothing else. The peer is not told of our insides.
    log('error', 'handler threw', {
      id: connection.id,
      handler: handler.name,
      stack: (error as Error).stack,
    });
    connection.wire.close(connection, CloseCode.InternalError, 'internal error');
  }
}
