/**
 * Holding a connection back: its handler is busy with what it got, and wants no other message before it is done.
 *
 * Meanwhile the peer's control frames are answered as long as no message lies before them, its end is noticed, and it is
 * read from until `maxPausedInput` bytes wait; then the system's buffers fill up, and the peer has to wait. As its pongs may
 * lie behind messages, too, it is still pinged, but not given up for want of an answer.
 */
import { type Connection, hasUnfinished } from './connection.ts';
import { scheduleFlush } from './outbox.ts';

/**
 * From now on the connection's messages wait, those that came along with the last one included. Does nothing where it is
 * closed, or being closed: they are not given to anyone any more.
 * @param untilAnswered whether a close frame waits as well: what is still to be said to the last message comes first
 */
export function pauseMessages({ endpoint }: Connection, untilAnswered = false): void {
  if (endpoint?.state !== 'OPEN') return;
  endpoint.acceptsMessages = false;
  endpoint.acceptsClose = !untilAnswered;
}

export function areMessagesPaused({ endpoint }: Connection): boolean {
  return endpoint !== undefined && !endpoint.acceptsMessages;
}

/** The connection's messages go on, from its next turn. Does nothing where it is not held. */
export function resumeMessages(connection: Connection): void {
  const { endpoint } = connection;
  if (endpoint === undefined || endpoint.acceptsMessages) return;
  endpoint.acceptsMessages = true;
  endpoint.acceptsClose = true;
  // What had its share of a turn goes on when the flush has looked at it; so does this.
  connection.isThrottled = true;
  scheduleFlush(connection);
}

/** Whether something of the peer's waits for the handler: then its end (FIN) waits behind that. */
export function hasPausedInput(connection: Connection): boolean {
  return areMessagesPaused(connection) && (connection.input !== undefined || hasUnfinished(connection));
}
