/** The end of the turn: each connection with something to send is written to, once. */

import { getSystemErrorName } from 'node:util';
import { recycleArena } from '../connection/arena.ts';
import type { Connection } from '../connection/connection.ts';
import { dirty, dropConnection, markDirty } from '../connection/outbox.ts';
import { clearQueue, keepBeyondTurn, landInFlight, putInFlight, queuedRanges } from '../connection/queue.ts';
import { heldBackOutput } from '../protocol/bounds.ts';
import { markReadable, peerEnded } from './poll.ts';

export function flush(): void {
  for (let i = 0; i < dirty.length; i++) {
    const connection = dirty[i]!;
    connection.isDirty = false;
    flushConnection(connection);
  }
  dirty.length = 0;
  // Nothing is left in the arena that someone still needs: it is with the system, pinned, or was moved.
  recycleArena();
}

function flushConnection(connection: Connection): void {
  const { queue, socket } = connection;
  if (connection.phase === 'gone') {
    clearQueue(queue);
    return;
  }
  if (socket.isBusy) {
    keepBeyondTurn(queue);
    return;
  }
  if (queue.size > 0 && !writeQueue(connection)) return;
  if (connection.phase === 'ending' && queue.size === 0) endWriting(connection);
  // What waited for others, or for this flush, goes on in the next turn.
  if (connection.isHeldBack && queue.size <= heldBackOutput) markReadable(connection);
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
    peerEnded(connection, getSystemErrorName(error));
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
function endWriting(connection: Connection): void {
  if (!connection.isShutDown) {
    connection.isShutDown = true;
    connection.socket.shutdown();
  }
  if (connection.hasPeerEnded) dropConnection(connection);
}

/** The system has taken all of a write that it could not take at once; or it failed. */
export function writeDone(connection: Connection, error: string | undefined): void {
  landInFlight(connection.queue);
  if (connection.phase === 'gone') return;
  if (error !== undefined) {
    clearQueue(connection.queue);
    peerEnded(connection, error);
    return;
  }
  // Whoever reads is alive, even if it says nothing.
  connection.heardAt = connection.server.now;
  markDirty(connection);
}
