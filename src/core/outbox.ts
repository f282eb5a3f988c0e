/**
 * What the turn has to do before it ends: the connections with something to send, and those that are over. Everyone but
 * the loop's last stages only adds to these lists.
 */

import { type Fanout, recordFanout, recordSent } from '../diagnostics/recorder.ts';
import { workUnits } from '../protocol/workUnits.ts';
import type { Chunk } from './arena.ts';
import type { Connection } from './connection.ts';
import { wake } from './poll.ts';
import { startSending } from './progress.ts';
import { appendRange } from './queue.ts';
import type { Server } from './server.ts';

/** Has the turn's flush look at this connection. */
export function scheduleFlush(connection: Connection): void {
  if (connection.isWriteQueued) return;
  connection.isWriteQueued = true;
  const { server } = connection;
  if (server.pendingWrites.push(connection) === 1) wake(server);
}

/** Queues `[start, end)` of the chunk. */
export function queueRange(connection: Connection, chunk: Chunk, start: number, end: number): void {
  const { server } = connection;
  if (server.pendingFanout !== undefined) flushFanout(server);
  recordSent(connection, chunk.bytes, start, end);
  append(connection, chunk, start, end);
}

function append(connection: Connection, chunk: Chunk, start: number, end: number): void {
  workUnits.spent++;
  appendRange(connection.queue, chunk, start, end);
  scheduleFlush(connection);
}

/**
 * A burst: frames for the same connections, written one after the other. Each connection's queue gets them as one range,
 * when the turn ends or something else is queued, for anyone: so the order is what it would have been frame by frame.
 */
export interface PendingFanout extends Fanout {
  readonly members: readonly Connection[];
  readonly except: Connection | undefined;
  readonly chunk: Chunk;
  end: number;
  frames: number;
  /** Says whether a member is to get it, and sees to those that are not. */
  readonly admitToFanout: (member: Connection) => boolean;
}

/** Queues the frame `[start, end)` of the chunk for all members but `except`, sooner or later in this turn. */
export function queueForAll(
  members: readonly Connection[],
  except: Connection | undefined,
  chunk: Chunk,
  start: number,
  end: number,
  admitToFanout: (member: Connection) => boolean,
): void {
  const server = members[0]?.server;
  if (server === undefined) return;
  const burst = server.pendingFanout;
  if (burst !== undefined) {
    const continues = burst.chunk === chunk && burst.end === start;
    if (continues && burst.members === members && burst.except === except) {
      burst.end = end;
      burst.frames++;
      return;
    }
    flushFanout(server);
  }
  const fanout = { members, except, chunk, start, end, frames: 1, admitToFanout, entries: undefined };
  server.pendingFanout = fanout;
  wake(server);
}

/** Queues the frames that wait, for each of their connections. */
export function flushFanout(server: Server): void {
  const burst = server.pendingFanout;
  if (burst === undefined) return;
  const { members, except, chunk, start, end, frames, admitToFanout } = burst;
  server.pendingFanout = undefined;
  for (let i = 0; i < members.length; i++) {
    const member = members[i]!;
    if (member === except || !admitToFanout(member)) continue;
    member.messagesOut += frames;
    recordFanout(member, burst);
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
  const { server } = connection;
  if (server.pendingFrees.push(connection) === 1) wake(server);
}
