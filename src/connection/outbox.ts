/**
 * What the turn has to do before it ends: the connections with something to send, and those that are over. Everyone but
 * the flush only adds to these lists.
 */
import type { Chunk } from './arena.ts';
import type { Connection } from './connection.ts';
import { appendRange } from './queue.ts';

/** Connections that the flush will look at, each once. */
export const dirty: Connection[] = [];
/** Connections to be freed when the turn ends. */
export const doomed: Connection[] = [];

/** Appended ranges since the start: a measure of the work that a message made. */
export const tally = { appended: 0 };

let askForTurn = () => {};

/** Whoever runs the loop is told here when there is work for a turn. */
export function onWork(ask: () => void): void {
  askForTurn = ask;
}

export function requestTurn(): void {
  askForTurn();
}

/** The flush is to look at this connection. */
export function markDirty(connection: Connection): void {
  if (connection.isDirty) return;
  connection.isDirty = true;
  if (dirty.push(connection) === 1) askForTurn();
}

/** Queues `[start, end)` of the chunk. */
export function queueRange(connection: Connection, chunk: Chunk, start: number, end: number): void {
  tally.appended++;
  appendRange(connection.queue, chunk, start, end);
  markDirty(connection);
}

/** Ends the connection in good order: what is queued leaves, then our FIN; what still comes is discarded. */
export function endConnection(connection: Connection): void {
  if (connection.phase !== 'open') return;
  connection.phase = 'ending';
  connection.endingAt = connection.server.now;
  markDirty(connection);
}

/** Ends the connection at the end of this turn, whatever was still to be sent. */
export function dropConnection(connection: Connection): void {
  if (connection.phase === 'gone') return;
  connection.phase = 'gone';
  if (doomed.push(connection) === 1) askForTurn();
}
