/** The flush at the end of the turn: writes each connection's queue to its socket, in one system call. */

import { getSystemErrorName } from 'node:util';
import { backpressureThreshold, outputSlicesPerTurn } from '../protocol/limits.ts';
import {
  type Chunk,
  clearQueue,
  detachFromArena,
  putInFlight,
  queuedRanges,
  releaseInFlight,
  resetOutputArena,
} from '../records/arena.ts';
import type { Connection, Producer, Producers, Server, Socket } from '../records/records.ts';
import { dropConnection, dropOnException } from './close.ts';
import { awaitsTokens, hasUnfinished } from './connection.ts';
import { finishFanouts, flushFanout } from './fanout.ts';
import { updateHeld } from './memory.ts';
import { onEnd, scheduleRead, setReading } from './poll.ts';
import { appendOutput, scheduleFlush } from './send.ts';

/** A stage of the turn: writes all pending output. */
export function flush(server: Server): void {
  const { pendingWrites, producers } = server;
  if (server.pendingFanout !== undefined) flushFanout(server, writeAtOnce);
  if (server.slowConsumers.length > 0) finishFanouts(server);
  // From here on no handler runs. Only polling sessions queue more: for their HTTP requests, which are appended to this list.
  for (let i = 0; i < pendingWrites.length; i++) {
    const connection = pendingWrites[i]!;
    connection.isWriteQueued = false;
    flushConnection(connection);
  }
  pendingWrites.length = 0;
  if (producers.slices > 0) resumeProducers(producers);
  // Nobody needs the arena's bytes any more: the kernel has them, or they are pinned, or they were copied elsewhere.
  resetOutputArena(server.arena);
}

/**
 * Writes the answers to cheap connections before the turn starts work that may take long. Produced output and polling sessions,
 * which collect messages, wait for the end of the turn.
 */
export function flushEarly(server: Server): void {
  const { pendingWrites } = server;
  finishFanouts(server);
  let kept = 0;
  for (let i = 0; i < pendingWrites.length; i++) {
    const connection = pendingWrites[i]!;
    if (connection.producer !== undefined || connection.socket.isVirtual) {
      pendingWrites[kept++] = connection;
    } else {
      connection.isWriteQueued = false;
      flushConnection(connection);
    }
  }
  pendingWrites.length = kept;
  if (kept === 0) resetOutputArena(server.arena);
}

function flushConnection(connection: Connection): void {
  const { queue, socket } = connection;
  if (connection.phase === 'gone') {
    clearQueue(queue);
    return;
  }
  if (connection.producer !== undefined && !socket.isBusy) produce(connection, connection.producer);
  if (socket.isBusy) detachFromArena(queue, connection.server.arena);
  else if (queue.size > 0 && !writeQueue(connection)) return;
  if (socket.held !== undefined || connection.producer !== undefined) updateHeld(connection);
  if (connection.phase === 'ending' && queue.size === 0 && connection.producer === undefined)
    shutdownWrite(connection);
  if (queue.size > backpressureThreshold || connection.isThrottled) applyBackpressure(connection);
}

/**
 * Writes the frames of a fan-out to a recipient without other output, which most are. Queueing them first would visit each
 * recipient twice, and its record would have left the processor's cache.
 */
function writeAtOnce(connection: Connection, chunk: Chunk, start: number, end: number): void {
  const { queue, socket, isWriteQueued, producer, isThrottled } = connection;
  // A polling session takes its frames from the queue.
  const isUsual = socket.isBusy || socket.isVirtual || producer !== undefined;
  if (isUsual || isWriteQueued || isThrottled || queue.size > 0) {
    appendOutput(connection, chunk, start, end);
    return;
  }
  const error = socket.writeOne(chunk.bytes, start, end);
  if (error < 0) {
    onEnd(connection, getSystemErrorName(error));
    return;
  }
  connection.bytesOut += end - start;
  if (socket.isBusy) {
    putInFlight(queue, [{ chunk, start, end }]);
    if (queue.size > backpressureThreshold) applyBackpressure(connection);
  }
  if (socket.held !== undefined) updateHeld(connection);
}

/** Produces one slice. The slices of a turn are limited, so large answers do not delay other clients. */
function produce(connection: Connection, producer: Producer): void {
  const { producers } = connection.server;
  if (producers.slices === outputSlicesPerTurn) {
    producers.unserved.push(connection);
    return;
  }
  producers.slices++;
  // This flush writes what the producer queues.
  connection.isWriteQueued = true;
  try {
    if (producer.produce(connection)) producers.served.push(connection);
  } catch (error) {
    dropOnException(connection, error);
  }
  connection.isWriteQueued = false;
}

/** Backpressure: stops reading while the output queue is too long, and resumes when it has drained. */
function applyBackpressure(connection: Connection): void {
  if (connection.queue.size > backpressureThreshold) {
    connection.isThrottled = true;
    setReading(connection, false);
  } else if (connection.isThrottled) {
    // A timer resumes it (rates.ts).
    if (awaitsTokens(connection)) return;
    if (connection.input !== undefined || hasUnfinished(connection)) {
      scheduleRead(connection);
    } else {
      connection.isThrottled = false;
      setReading(connection, true);
      if (connection.hasPeerEnded) onEnd(connection, undefined);
    }
  }
}

function resumeProducers(producers: Producers): void {
  const { unserved, served } = producers;
  for (let i = 0; i < unserved.length; i++) scheduleFlush(unserved[i]!);
  for (let i = 0; i < served.length; i++) scheduleFlush(served[i]!);
  unserved.length = 0;
  served.length = 0;
  producers.slices = 0;
}

/** @returns false if the connection is lost */
function writeQueue(connection: Connection): boolean {
  const { queue, socket } = connection;
  // RFC 6455 §6.1 [6.1-9]: the socket transmits the frames.
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
  } else if (queue.earlier === undefined && !queue.chunk!.isPersistent) {
    // Nearly every write: one range of the arena.
    queue.chunk = undefined;
    queue.size = 0;
  } else {
    clearQueue(queue);
  }
  return true;
}

/** All output is written: sends our FIN, and drops the connection once the peer's FIN has arrived. */
function shutdownWrite(connection: Connection): void {
  if (!connection.isShutDown) {
    connection.isShutDown = true;
    // RFC 6455 §7.1.1 [7.1.1-1, 7.1.1-3]: the server closes TCP first.
    connection.socket.shutdown();
  }
  if (connection.hasPeerEnded && !holdsOutput(connection.socket)) dropConnection(connection);
}

/** Whether the socket has output that has left the queue: a faulty socket holds output back. */
function holdsOutput(socket: Socket): boolean {
  return !socket.isVirtual && (socket.isBusy || (socket.held !== undefined && socket.held() > 0));
}

/** A stalled write is complete, or has failed. If another socket wraps this one, the wrapper is notified instead. */
export function onWriteComplete(connection: Connection, error: string | undefined): void {
  const { socket } = connection;
  if (socket.onInnerWriteComplete === undefined) completeWrite(connection, error);
  else socket.onInnerWriteComplete(error);
}

/** The stalled write of the connection's own socket is complete, or has failed. */
export function completeWrite(connection: Connection, error: string | undefined): void {
  releaseInFlight(connection.queue);
  if (connection.phase === 'gone') return;
  if (error !== undefined) {
    clearQueue(connection.queue);
    onEnd(connection, error);
    return;
  }
  // A peer that reads is alive, even if it sends nothing.
  connection.heardAt = connection.server.now;
  scheduleFlush(connection);
}
