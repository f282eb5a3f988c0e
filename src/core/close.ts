/**
 * The life of a connection, and its end.
 *
 *     state       event                                             function                      next state
 *     ─────────   ───────────────────────────────────────────────   ───────────────────────────   ──────────
 *                 a socket was accepted, and admitted               addConnection                 open
 *     open        we close it: a deadline, a limit, a command       closeConnection → wire.close  open, closing
 *     open        the peer broke a rule of WebSocket                failWebSocket                 ending
 *     open        the peer's close frame, or an answer is complete  endConnection                 ending
 *     open        TCP FIN from the peer, its input read             handleEof → wire.onEnd        ending
 *     open        memory is short                                   wire.fail, endConnection      ending
 *     ending      all output written                                flush: shutdownWrite (FIN)    ending
 *     ending      TCP FIN both ways                                 dropConnection                gone
 *     any         error, exception, last deadline, place needed     dropConnection                gone
 *     gone        the turn ends                                     freeConnections               (id is free again)
 *
 * `open, closing` is the WebSocket closing handshake: our close frame was sent, the peer's is awaited (`endpoint.state` CLOSING,
 * RFC 6455 §7.1.3); wires/websocket.ts has both directions. Wires without such a handshake end the connection in `close`,
 * an HTTP request after its answer. Code that ends a connection first notes why (diagnostics/closeReason.ts); the first
 * reason counts.
 */

import { recordClosed } from '../diagnostics/closedConnections.ts';
import { noteEnding, noteLost } from '../diagnostics/closeReason.ts';
import { stackOf } from '../log/log.ts';
import { exactClock } from '../process/clock.ts';
import { clearQueue } from '../records/arena.ts';
import type { Connection, Server } from '../records/records.ts';
import { freeClosedIds, removeEntry } from '../records/table.ts';
import { logForAddress } from './addressLog.ts';
import { forgetClient, hasPausedInput } from './connection.ts';
import { stopTimeAfterReading } from './fairness.ts';
import { releaseHeld } from './memory.ts';
import { leavePlaces } from './places.ts';
import { wake } from './poll.ts';
import { startSending } from './progress.ts';
import { scheduleFlush } from './send.ts';

/**
 * We close the connection: its wire says goodbye with this code and reason, and ends it. Handlers, commands and limits close
 * a connection through here.
 * @param code a WebSocket close code (RFC 6455 §7.4), which other wires translate
 */
export function closeConnection(connection: Connection, code: number, reason: string): void {
  // RFC 6455 §7.3 [7.3-1]: a server may close a connection at any time.
  if (connection.phase === 'open')
    runIsolated(connection, () => connection.wire.close(connection, code, reason));
}

/** Sends what is queued, then our FIN. What still arrives is discarded. */
export function endConnection(connection: Connection): void {
  if (connection.phase !== 'open') return;
  connection.phase = 'ending';
  connection.endingAt = connection.server.now;
  startSending(connection);
  scheduleFlush(connection);
}

/** Ends the connection with this turn, whatever is still queued. */
export function dropConnection(connection: Connection): void {
  if (connection.phase === 'gone') return;
  connection.phase = 'gone';
  const { server } = connection;
  if (server.pendingFrees.push(connection) === 1) wake(server);
}

/** Disconnects handled between two looks at the clock. A subscriber of 100 channels takes a quarter of a millisecond. */
const disconnectsAtOnce = 8;

/** A stage of the turn: handles peers that will send nothing more. When its time is up, the rest are the first of the next turn. */
export function handleDisconnects(server: Server): void {
  const { ended, isSerial, hasRead } = server.ready;
  const most = isSerial ? Number(!hasRead) : ended.length;
  const stopAt = most > disconnectsAtOnce ? stopTimeAfterReading(server) : 0;
  let count = 0;
  for (; count < most; count++) {
    if (count > 0 && count % disconnectsAtOnce === 0 && exactClock() > stopAt) break;
    const { connection, error } = ended[count]!;
    if (connection.phase === 'gone') continue;
    connection.hasPeerEnded = true;
    // Its unread input comes first, unless the connection is lost and cannot be answered.
    const waits = connection.isReadQueued || connection.isThrottled || hasPausedInput(connection);
    if (waits && error === undefined) continue;
    handleEof(connection, error);
    if (error === undefined) scheduleFlush(connection);
    else dropConnection(connection);
  }
  if (count < ended.length) ended.splice(0, count);
  else ended.length = 0;
}

/** The peer will send nothing more, and its input is read, or the connection is lost (`error`). */
export function handleEof(connection: Connection, error: string | undefined): void {
  // A connection that is ending has its reason already.
  if (connection.phase === 'open') noteLost(connection, error);
  notifyLost(connection, error);
}

/** The last stage of the turn: connections that are gone give back their sockets, their memory and their ids. */
export function freeConnections(server: Server): void {
  const { pendingFrees } = server;
  for (let i = 0; i < pendingFrees.length; i++) {
    const connection = pendingFrees[i]!;
    notifyLost(connection, 'ended by the server');
    recordClosed(connection);
    if (connection.claim !== undefined) forgetClient(connection);
    // Otherwise the timer would keep the connection in memory, for hours if the rate is slow.
    if (connection.rate !== undefined) clearTimeout(connection.rate.pause);
    connection.input = undefined;
    clearQueue(connection.queue);
    releaseHeld(connection);
    connection.producer = undefined;
    connection.socket.destroy();
    removeEntry(server.table, connection.id);
    if (!connection.isControl) server.connections--;
    leavePlaces(connection);
  }
  pendingFrees.length = 0;
  server.places.dropped = 0;
  freeClosedIds(server.table);
}

/** An exception of the server's own code closes only the connection that it was working for. */
export function runIsolated(connection: Connection, act: () => void): void {
  try {
    act();
  } catch (error) {
    dropOnException(connection, error);
  }
}

/** Tells the wire that nothing more will arrive. As `runIsolated`, without a closure: every connection comes here. */
function notifyLost(connection: Connection, error: string | undefined): void {
  try {
    connection.wire.onEnd(connection, error);
  } catch (fault) {
    dropOnException(connection, fault);
  }
}

export function dropOnException(connection: Connection, error: unknown): void {
  noteEnding(connection, 'server', 'an internal error of the server (see the log)', {
    cause: 'internal_error',
  });
  logForAddress(connection, 'error', 'internal error', { id: connection.id, stack: stackOf(error) });
  dropConnection(connection);
}
