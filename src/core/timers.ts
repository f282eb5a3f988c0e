/** One timer for all deadlines. While there are connections, it has the turn look at them now and then. */

import { noteDeadline, noteOverdue } from '../diagnostics/closeReason.ts';
import { clock, skipLostTime } from '../process/clock.ts';
import { CloseCode } from '../protocol/codes.ts';
import type { Connection } from './connection.ts';
import { runIsolated } from './guard.ts';
import { dropConnection } from './outbox.ts';
import { comeToTurn } from './poll.ts';
import { hasOutputStalled } from './progress.ts';
import type { Server } from './server.ts';

let timer: NodeJS.Timeout | undefined;
let isDue = false;
/** When the timer is to fire, as in `server.now`; 0: it is not set. */
let dueAt = 0;
let wasPutOff = false;

/** The clock, when a turn begins. */
export function readClock(server: Server): void {
  if (skipLostTime(dueAt)) {
    dueAt = clock();
    // Input that arrived meanwhile is read before any deadline passes. Only once: a loop that is always late has deadlines, too.
    isDue = wasPutOff;
    wasPutOff = !wasPutOff;
    clearTimeout(timer);
    timer = undefined;
  }
  server.now = Math.max(server.now, clock());
}

/** How often: often enough that no deadline is overrun by more than a quarter; once a second at most. */
function deadlineCheckInterval({ configuration: its }: Server): number {
  const opening = [its.handshakeTimeout, its.greetAfter];
  const open = [its.pingInterval, its.pongTimeout, its.idleTimeout, its.pollTimeout, its.answerTimeout];
  const timeouts = [...opening, ...open, its.closeTimeout, its.drainTimeout, 4000];
  return Math.max(10, Math.floor(Math.min(...timeouts.filter(timeout => timeout > 0)) / 4));
}

/** The stage of the turn. */
export function checkDeadlines(server: Server): void {
  if (isDue) {
    isDue = false;
    wasPutOff = false;
    for (const entry of server.table.entries) {
      if (entry?.kind === 'connection') runIsolated(entry, () => checkConnection(server, entry));
    }
  }
  if (server.isDraining && server.drainDeadline > 0 && server.now >= server.drainDeadline) dropAll(server);
  if (timer !== undefined) return;
  dueAt = 0;
  if (server.connections === 0) return;
  const tick = deadlineCheckInterval(server);
  dueAt = clock() + tick;
  timer = setTimeout(() => {
    timer = undefined;
    isDue = true;
    comeToTurn();
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
