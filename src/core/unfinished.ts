/** The message that a connection's handler has not finished: it is given to the handler again, in a later turn. */
import { type Message, messageBytes } from '../protocol/websocket/message.ts';
import type { Connection } from './connection.ts';

/** The message that a handler was given again, while it has it: its bytes are the connection's own. */
let resumed: Message | undefined;

/** For a handler in the midst of `message`: from `at` on, it is given again in the connection's next turn. */
export function leaveUnfinished(connection: Connection, message: Message, at: number): void {
  if (message === resumed) {
    message.start = at;
    connection.unfinished = message;
  } else {
    const bytes = messageBytes({ ...message, start: at });
    connection.unfinished = { isText: message.isText, bytes, start: 0, end: bytes.length };
  }
}

/**
 * Gives the handler the rest of its message, if there is one.
 * @returns whether the handler is done with it
 */
export function resumeUnfinished(
  connection: Connection,
  handle: (connection: Connection, message: Message) => void,
): boolean {
  if (connection.unfinished === undefined) return true;
  resumed = connection.unfinished;
  connection.unfinished = undefined;
  try {
    handle(connection, resumed);
  } finally {
    resumed = undefined;
  }
  return connection.unfinished === undefined;
}
