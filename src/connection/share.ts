/** A connection's share of the turn: no one may use the turn up while others wait. */
import { heldBackOutput, turnShare } from '../protocol/bounds.ts';
import { work } from '../protocol/work.ts';
import type { Connection } from './connection.ts';
import { markDirty } from './outbox.ts';

/** How far the work had gone when the connection that is being read began. */
let begunAt = 0;

/** Reading begins. */
export function beginShare(connection: Connection): void {
  begunAt = work.done;
  connection.isHeldBack = false;
}

/**
 * A message, or a packet of one, of so many bytes was processed. What it brought about is in `work` already.
 * @returns whether the next one may be read; if not, the connection is held back
 */
export function spendShare(connection: Connection, bytes: number): boolean {
  work.done += 1 + (bytes >>> 8);
  connection.isHeldBack = work.done - begunAt > turnShare || connection.queue.size > heldBackOutput;
  return !connection.isHeldBack;
}

/**
 * Gives a connection input that did not come by its socket, behind what else there is: it is read in the next turn, as that
 * of one that was held back. Until then the connection counts as not read from; afterwards `socket.resume` is called.
 * @param bytes the connection's from now on
 */
export function readLater(connection: Connection, bytes: Buffer): void {
  const { input, inputStart, inputEnd } = connection;
  const all = input === undefined ? bytes : Buffer.concat([input.subarray(inputStart, inputEnd), bytes]);
  connection.bytesIn += bytes.length;
  connection.input = all;
  connection.inputStart = 0;
  connection.inputEnd = all.length;
  connection.isHeldBack = true;
  connection.isReading = false;
  markDirty(connection);
}
