/** The end of the turn: each connection with something to send is written to, once. */

import { getSystemErrorName } from 'node:util';
import { heldBackOutput, slicesPerTurn } from '../protocol/limits.ts';
import { resetOutputArena } from './arena.ts';
import { type Connection, hasUnfinished } from './connection.ts';
import { dropOnException } from './guard.ts';
import { updateHeld } from './memory.ts';
import { dirty, dropConnection, scheduleFlush } from './outbox.ts';
import { onEnd, scheduleRead } from './poll.ts';
import type { Producer } from './producer.ts';
import { clearQueue, detachFromArena, putInFlight, queuedRanges, releaseInFlight } from './queue.ts';
import { finishFanouts } from './send.ts';

export function flush(): void {
  finishFanouts();
  // From here on no handler is called, and nothing is queued, but by those whose messages travel in other connections:
  // these come behind them in this list.
  for (let i = 0; i < dirty.length; i++) {
    const connection = dirty[i]!;
    connection.isWriteQueued = false;
    flushConnection(connection);
  }
  dirty.length = 0;
  resumeProducers();
  // Nothing is left in the arena that someone still needs: it is with the system, pinned, or was moved.
  resetOutputArena();
}

function flushConnection(connection: Connection): void {
  const { queue, socket } = connection;
  if (connection.phase === 'gone') {
    clearQueue(queue);
    return;
  }
  if (connection.producer !== undefined && !socket.isBusy) produce(connection, connection.producer);
  if (socket.isBusy) detachFromArena(queue);
  else if (queue.size > 0 && !writeQueue(connection)) return;
  if (socket.held !== undefined || connection.producer !== undefined) updateHeld(connection);
  if (connection.phase === 'ending' && queue.size === 0 && connection.producer === undefined)
    shutdownWrite(connection);
  applyBackpressure(connection);
}

/** Connections whose producers continue in the next turn: first those that got no slice in this one. */
const unserved: Connection[] = [];
const producing: Connection[] = [];
/** Slices that were made in this turn. */
let produced = 0;

/** Clients that collect large answers share the turn, so that they do not hold up the others. */
function produce(connection: Connection, producer: Producer): void {
  if (produced === slicesPerTurn) {
    unserved.push(connection);
    return;
  }
  produced++;
  // What it queues is written by this very flush.
  connection.isWriteQueued = true;
  try {
    if (producer.produce(connection)) producing.push(connection);
  } catch (error) {
    dropOnException(connection, error);
  }
  connection.isWriteQueued = false;
}

/** Whoever does not read is not read from; whoever was held back goes on as soon as it can. */
function applyBackpressure(connection: Connection): void {
  if (connection.queue.size > heldBackOutput) {
    connection.isThrottled = true;
    setReading(connection, false);
  } else if (connection.isThrottled) {
    if (connection.input !== undefined || hasUnfinished(connection)) {
      scheduleRead(connection);
    } else {
      connection.isThrottled = false;
      setReading(connection, true);
      if (connection.hasPeerEnded) onEnd(connection, undefined);
    }
  }
}

function resumeProducers(): void {
  if (produced === 0) return;
  for (let i = 0; i < unserved.length; i++) scheduleFlush(unserved[i]!);
  for (let i = 0; i < producing.length; i++) scheduleFlush(producing[i]!);
  unserved.length = 0;
  producing.length = 0;
  produced = 0;
}

export function setReading(connection: Connection, isReading: boolean): void {
  if (connection.isReading === isReading) return;
  connection.isReading = isReading;
  if (isReading) connection.socket.resume();
  else connection.socket.pause();
}

/** @returns false where the connection is lost */
function writeQueue(connection: Connection): boolean {
  const { queue, socket } = connection;
  const error =
    queue.earlier === undefined
      ? socket.writeOne(queue.chunk!.bytes, queue.start, queue.end)
      : socket.write(queuedRanges(queue));
  if (error < 0) {
    clearQueue(queue);
    onEnd(connection, getSystemErrorName(error));
    return false;
  }
  connection.bytesOut += queue.size;
  if (socket.isBusy) {
    const ranges = queuedRanges(queue);
    clearQueue(queue);
    putInFlight(queue, ranges);
  } else {
    clearQueue(queue);
  }
  return true;
}

/** All is said: our FIN goes, and once the peer's is there, the connection. */
function shutdownWrite(connection: Connection): void {
  if (!connection.isShutDown) {
    connection.isShutDown = true;
    connection.socket.shutdown();
  }
  if (connection.hasPeerEnded) dropConnection(connection);
}

/** The system has taken all of a write that it could not take at once; or it failed. */
export function onWriteComplete(connection: Connection, error: string | undefined): void {
  releaseInFlight(connection.queue);
  if (connection.phase === 'gone') return;
  if (error !== undefined) {
    clearQueue(connection.queue);
    onEnd(connection, error);
    return;
  }
  // Whoever reads is alive, even if it says nothing.
  connection.heardAt = connection.server.now;
  scheduleFlush(connection);
}
