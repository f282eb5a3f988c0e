/** Deadlines. One timer serves all of them: it fires now and then while there are connections, and the turn checks them. */

import { noteDeadline, noteEnding, noteOverdue } from '../diagnostics/closeReason.ts';
import { endMeasuring, startMeasuring } from '../diagnostics/metrics.ts';
import { clock, exactClock } from '../process/clock.ts';
import { CloseCode } from '../protocol/codes.ts';
import type { Identity } from '../records/identity.ts';
import type { Connection, Server } from '../records/records.ts';
import { closeConnection, dropConnection, runIsolated } from './close.ts';
import { stopTimeAfterReading } from './fairness.ts';
import { scheduleTurn } from './poll.ts';
import { hasOutputStalled } from './progress.ts';

/** Often enough that no deadline is exceeded by more than a quarter, and at least once a second. */
function deadlineCheckInterval({ configuration: its }: Server): number {
  const opening = [its.handshakeTimeout, its.greetingDelay];
  const open = [
    its.pingInterval,
    its.pongTimeout,
    its.idleTimeout,
    its.keepAlive,
    its.pollTimeout,
    its.handlerTimeout,
  ];
  const timeouts = [...opening, ...open, its.closeTimeout, its.drainTimeout, 4000];
  return Math.max(10, Math.floor(Math.min(...timeouts.filter(timeout => timeout > 0)) / 4));
}

/** Connections checked between two looks at the clock. Most have nothing due; ending a poll takes 70 µs. */
const checksAtOnce = 16;

/**
 * A stage of the turn: checks all deadlines if the timer has fired, and sets it again. Thousands of clients that connected together
 * are due together, so when the stage's time is up, the check continues in the next turn.
 */
export function checkDeadlines(server: Server): void {
  const { deadlines, metrics } = server;
  if (deadlines.isDue) {
    if (deadlines.nextId === 0) endMeasuring(metrics.lag, exactClock());
    deadlines.wasPostponed = false;
    deadlines.isDue = !checkConnections(server);
    if (deadlines.isDue) {
      // If the process is blocked before the next turn, the clock skips that time too.
      deadlines.dueAt = clock();
      scheduleTurn(server);
    }
  }
  if (server.isDraining && server.drainDeadline > 0 && server.now >= server.drainDeadline) dropAll(server);
  if (deadlines.timer !== undefined || deadlines.isDue) return;
  deadlines.dueAt = 0;
  if (server.connections === 0) return;
  const tick = deadlineCheckInterval(server);
  deadlines.dueAt = clock() + tick;
  startMeasuring(metrics.lag, exactClock() + tick);
  deadlines.timer = setTimeout(() => {
    deadlines.timer = undefined;
    deadlines.isDue = true;
    scheduleTurn(server);
  }, tick).unref();
}

/** @returns whether all connections are checked; if not, the next call continues at `nextId` */
function checkConnections(server: Server): boolean {
  const { deadlines, table } = server;
  const { entries } = table;
  const stopAt = stopTimeAfterReading(server);
  const first = deadlines.nextId;
  for (let id = first; id < entries.length; id++) {
    if (id > first && (id - first) % checksAtOnce === 0 && exactClock() > stopAt) {
      deadlines.nextId = id;
      return false;
    }
    const entry = entries[id];
    if (entry?.kind === 'connection') runIsolated(entry, () => checkConnection(server, entry));
  }
  deadlines.nextId = 0;
  return true;
}

function checkConnection({ now, configuration }: Server, connection: Connection): void {
  const { idleTimeout, closeTimeout } = configuration;
  const { phase, wire } = connection;
  if (phase === 'ending') {
    if (hasOutputStalled(connection, closeTimeout)) {
      noteOverdue(connection, 'the client did not end the TCP connection', 'closeTimeout');
      dropConnection(connection);
    }
  } else if (phase === 'open') {
    if (connection.identity?.expiresAt !== undefined) checkExpiry(connection, connection.identity);
    // A connection with a command sends nothing more until the answer.
    if (idleTimeout > 0 && !connection.isControl && now - connection.messageAt >= idleTimeout) {
      noteDeadline(connection, 'no message', 'idleTimeout');
      closeConnection(connection, CloseCode.GoingAway, `no message for ${idleTimeout / 1000} s`);
    }
    wire.checkDeadlines(connection);
  }
}

/** Closes the connection of a client whose token or signed link has expired. */
function checkExpiry(connection: Connection, { user, means, expiresAt }: Identity): void {
  if (expiresAt === undefined || Date.now() < expiresAt) return;
  noteEnding(connection, 'server', `the ${means} of the user ${user} expired`);
  closeConnection(connection, CloseCode.NotIdentified, `${means} expired`);
}

function dropAll(server: Server): void {
  for (const entry of server.table.entries) {
    if (entry?.kind !== 'connection' || entry.isControl) continue;
    noteOverdue(entry, 'it was not over', 'drainTimeout');
    dropConnection(entry);
  }
}

/** Whether the connection has been at a trust level below 3 for too long. */
export function isLevelOverdue({ trustLevel, stageSince, server }: Connection, timeout: number): boolean {
  return trustLevel < 3 && timeout > 0 && server.now - stageSince >= timeout;
}
