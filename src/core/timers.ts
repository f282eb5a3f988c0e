/** One timer for all deadlines. While there are connections, it has the turn look at them now and then. */

import { noteDeadline, noteOverdue } from '../diagnostics/closeReason.ts';
import { clock, skipLostTime } from '../process/clock.ts';
import { CloseCode } from '../protocol/codes.ts';
import type { Connection } from './connection.ts';
import { runIsolated } from './guard.ts';
import { dropConnection } from './outbox.ts';
import { scheduleTurn } from './poll.ts';
import { hasOutputStalled } from './progress.ts';
import type { Server } from './server.ts';

export interface DeadlineTimer {
  timer: NodeJS.Timeout | undefined;
  /** The timer fired: this turn checks all deadlines. */
  isDue: boolean;
  /** When the timer fires, as in `server.now`; 0: it is not set. */
  dueAt: number;
  /** The last check was postponed, after the process had not run for a while. */
  wasPostponed: boolean;
}

export function newDeadlineTimer(): DeadlineTimer {
  return { timer: undefined, isDue: false, dueAt: 0, wasPostponed: false };
}

/** The clock, when a turn begins. */
export function readClock(server: Server): void {
  const { deadlines } = server;
  if (skipLostTime(deadlines.dueAt)) {
    deadlines.dueAt = clock();
    // Input that arrived meanwhile is read before any deadline passes. Only once: a loop that is always late has deadlines, too.
    deadlines.isDue = deadlines.wasPostponed;
    deadlines.wasPostponed = !deadlines.wasPostponed;
    clearTimeout(deadlines.timer);
    deadlines.timer = undefined;
  }
  server.now = Math.max(server.now, clock());
}

/** How often: often enough that no deadline is overrun by more than a quarter; once a second at most. */
function deadlineCheckInterval({ configuration: its }: Server): number {
  const opening = [its.handshakeTimeout, its.greetingDelay];
  const open = [its.pingInterval, its.pongTimeout, its.idleTimeout, its.pollTimeout, its.handlerTimeout];
  const timeouts = [...opening, ...open, its.closeTimeout, its.drainTimeout, 4000];
  return Math.max(10, Math.floor(Math.min(...timeouts.filter(timeout => timeout > 0)) / 4));
}

/** The stage of the turn. */
export function checkDeadlines(server: Server): void {
  const { deadlines } = server;
  if (deadlines.isDue) {
    deadlines.isDue = false;
    deadlines.wasPostponed = false;
    for (const entry of server.table.entries) {
      if (entry?.kind === 'connection') runIsolated(entry, () => checkConnection(server, entry));
    }
  }
  if (server.isDraining && server.drainDeadline > 0 && server.now >= server.drainDeadline) dropAll(server);
  if (deadlines.timer !== undefined) return;
  deadlines.dueAt = 0;
  if (server.connections === 0) return;
  const tick = deadlineCheckInterval(server);
  deadlines.dueAt = clock() + tick;
  deadlines.timer = setTimeout(() => {
    deadlines.timer = undefined;
    deadlines.isDue = true;
    scheduleTurn(server);
  }, tick).unref();
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
    // Whoever has a command done says no more than that.
    if (idleTimeout > 0 && !connection.isControl && now - connection.messageAt >= idleTimeout) {
      noteDeadline(connection, 'no message', 'idleTimeout');
      wire.close(connection, CloseCode.GoingAway, `no message for ${idleTimeout / 1000} s`);
    }
    wire.checkDeadlines(connection);
  }
}

function dropAll(server: Server): void {
  for (const entry of server.table.entries) {
    if (entry?.kind !== 'connection' || entry.isControl) continue;
    noteOverdue(entry, 'it was not over', 'drainTimeout');
    dropConnection(entry);
  }
}
