/** A connection's share of the turn: no one may use the turn up while others wait. */
import type { Connection } from '../connection/connection.ts';
import { tally } from '../connection/outbox.ts';
import { heldBackOutput, turnShare } from '../protocol/bounds.ts';

/** Of the connection that is being read. */
let used = 0;
let appendedBefore = 0;

/** Reading begins. */
export function beginShare(connection: Connection): void {
  used = 0;
  appendedBefore = tally.appended;
  connection.isHeldBack = false;
}

/**
 * A message of so many bytes was processed: it costs something, each of its recipients as much again, and its bytes, too.
 * @returns whether the next one may be read; if not, the connection is held back
 */
export function spendShare(connection: Connection, bytes: number): boolean {
  used += 1 + bytes / 256;
  const spent = used + tally.appended - appendedBefore;
  connection.isHeldBack = spent > turnShare || connection.queue.size > heldBackOutput;
  return !connection.isHeldBack;
}
