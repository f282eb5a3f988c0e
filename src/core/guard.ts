/** A fault of ours costs the connection that brought it out, and no other. */

import { noteEnding } from '../diagnostics/closeReason.ts';
import { log, stackOf } from '../log/log.ts';
import type { Connection } from './connection.ts';
import { dropConnection } from './outbox.ts';

/** Does something on behalf of a connection. */
export function guard(connection: Connection, act: () => void): void {
  try {
    act();
  } catch (error) {
    dropFaulty(connection, error);
  }
}

/** Tells the wire that nothing more comes: as `guard` would, for what every connection comes to. */
export function guardLost(connection: Connection, error: string | undefined): void {
  try {
    connection.wire.lost(connection, error);
  } catch (fault) {
    dropFaulty(connection, fault);
  }
}

export function dropFaulty(connection: Connection, error: unknown): void {
  noteEnding(connection, 'server', 'a fault of ours, which the log has as "internal error"');
  log('error', 'internal error', { id: connection.id, stack: stackOf(error) });
  dropConnection(connection);
}
