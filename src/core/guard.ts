/** A fault of ours costs the connection that brought it out, and no other. */

import { noteEnding } from '../diagnostics/closeReason.ts';
import { log, stackOf } from '../log/log.ts';
import type { Connection } from './connection.ts';
import { dropConnection } from './outbox.ts';

/** Does something on behalf of a connection. */
export function runIsolated(connection: Connection, act: () => void): void {
  try {
    act();
  } catch (error) {
    dropOnException(connection, error);
  }
}

/** Tells the wire that nothing more comes: as `runIsolated` would, for what every connection comes to. */
export function notifyLost(connection: Connection, error: string | undefined): void {
  try {
    connection.wire.onEnd(connection, error);
  } catch (fault) {
    dropOnException(connection, fault);
  }
}

export function dropOnException(connection: Connection, error: unknown): void {
  noteEnding(connection, 'server', 'a fault of ours, which the log has as "internal error"');
  log('error', 'internal error', { id: connection.id, stack: stackOf(error) });
  dropConnection(connection);
}
