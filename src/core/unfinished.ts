/** A message that its handler has not finished: a later turn gives the rest to the handler again. */
import { type Message, messageBytes } from '../protocol/websocket/message.ts';
import type { Connection } from './connection.ts';

/** The message that a handler is resuming: its bytes are the connection's own. */
let resumed: Message | undefined;

/** A handler stops at `at` within `message`: the connection's next turn gives it the rest. */
export function deferRest(connection: Connection, message: Message, at: number): void {
  if (message === resumed) {
    message.start = at;
    connection.resumableMessage = message;
  } else {
    const bytes = messageBytes({ ...message, start: at });
    connection.resumableMessage = { isText: message.isText, bytes, start: 0, end: bytes.length };
  }
}

/**
 * Gives the handler the rest of its message, if there is one.
 * @returns whether the handler is done with it
 */
export function resumeMessageWith(
  connection: Connection,
  handle: (connection: Connection, message: Message) => void,
): boolean {
  if (connection.resumableMessage === undefined) return true;
  resumed = connection.resumableMessage;
  connection.resumableMessage = undefined;
  try {
    handle(connection, resumed);
  } finally {
    resumed = undefined;
  }
  return connection.resumableMessage === undefined;
}
