/**
 * What the turn has to do before it ends: the connections with something to send, and those that are over. Everyone but
 * the loop's last stages only adds to these lists.
 */

import { prepareFrames, rememberPrepared, rememberSent } from '../diagnostics/recorder.ts';
import { isTracing, traceSent } from '../diagnostics/trace.ts';
import { work } from '../protocol/work.ts';
import type { Chunk } from './arena.ts';
import type { Connection } from './connection.ts';
import { startSending } from './progress.ts';
import { appendRange } from './queue.ts';

/** Connections that the flush will look at, each once. */
export const dirty: Connection[] = [];
/** Connections to be freed when the turn ends. */
export const doomed: Connection[] = [];

let askForTurn = () => {};

/** Whether something is to be done in a turn that comes. */
export function hasWork(): boolean {
  return isTurnWanted || dirty.length > 0 || doomed.length > 0 || burst !== undefined;
}

/** Whoever runs the loop is told here when there is work for a turn. */
export function onWork(ask: () => void): void {
  askForTurn = ask;
}

/** Something is to be done in a turn that comes, by whoever calls this. */
export function requestTurn(): void {
  isTurnWanted = true;
  askForTurn();
}

let isTurnWanted = false;

/** The turn that was wanted begins. */
export function beginWork(): void {
  isTurnWanted = false;
}

/** The flush is to look at this connection. */
export function scheduleFlush(connection: Connection): void {
  if (connection.isWriteQueued) return;
  connection.isWriteQueued = true;
  if (dirty.push(connection) === 1) askForTurn();
}

/** Queues `[start, end)` of the chunk. */
export function queueRange(connection: Connection, chunk: Chunk, start: number, end: number): void {
  if (burst !== undefined) flushFanout();
  rememberSent(connection, chunk.bytes, start, end);
  append(connection, chunk, start, end);
}

function append(connection: Connection, chunk: Chunk, start: number, end: number): void {
  work.done++;
  appendRange(connection.queue, chunk, start, end);
  scheduleFlush(connection);
}

/**
 * A burst: frames for the same connections, written one after the other. Each connection's queue gets them as one range,
 * when the turn ends or something else is queued, for anyone: so the order is what it would have been frame by frame.
 */
interface PendingFanout {
  readonly members: readonly Connection[];
  readonly except: Connection | undefined;
  readonly chunk: Chunk;
  readonly start: number;
  end: number;
  frames: number;
  /** Says whether a member is to get it, and sees to those that are not. */
  readonly admitToFanout: (member: Connection) => boolean;
}

let burst: PendingFanout | undefined;

/** Queues the frame `[start, end)` of the chunk for all members but `except`, sooner or later in this turn. */
export function queueForAll(
  members: readonly Connection[],
  except: Connection | undefined,
  chunk: Chunk,
  start: number,
  end: number,
  admitToFanout: (member: Connection) => boolean,
): void {
  if (burst !== undefined) {
    const continues = burst.chunk === chunk && burst.end === start;
    if (continues && burst.members === members && burst.except === except) {
      burst.end = end;
      burst.frames++;
      return;
    }
    flushFanout();
  }
  burst = { members, except, chunk, start, end, frames: 1, admitToFanout };
  askForTurn();
}

/** Queues the frames that wait, for each of their connections. */
export function flushFanout(): void {
  if (burst === undefined) return;
  const { members, except, chunk, start, end, frames, admitToFanout } = burst;
  burst = undefined;
  const isFramed = members[0]?.endpoint !== undefined;
  prepareFrames(members[0]?.server.now ?? 0, isFramed, chunk.bytes, start, end, members.length);
  for (let i = 0; i < members.length; i++) {
    const member = members[i]!;
    if (member === except || !admitToFanout(member)) continue;
    member.messagesOut += frames;
    rememberPrepared(member);
    if (isTracing) traceSent(member, isFramed, chunk.bytes, start, end);
    append(member, chunk, start, end);
  }
}

/** Ends the connection in good order: what is queued leaves, then our FIN; what still comes is discarded. */
export function endConnection(connection: Connection): void {
  if (connection.phase !== 'open') return;
  connection.phase = 'ending';
  connection.endingAt = connection.server.now;
  startSending(connection);
  scheduleFlush(connection);
}

/** Ends the connection at the end of this turn, whatever was still to be sent. */
export function dropConnection(connection: Connection): void {
  if (connection.phase === 'gone') return;
  connection.phase = 'gone';
  if (doomed.push(connection) === 1) askForTurn();
}
