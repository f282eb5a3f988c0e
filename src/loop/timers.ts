/** One timer for all deadlines. While there are connections, it has the turn look at them now and then. */

import { dropConnection } from '../connection/outbox.ts';
import type { Server } from '../connection/server.ts';
import { comeToTurn } from './poll.ts';

let timer: NodeJS.Timeout | undefined;
let isDue = false;

/** How often: often enough that no deadline is overrun by more than a quarter; once a second at most. */
function tickOf({ configuration }: Server): number {
  const { handshakeTimeout, pingInterval, pongTimeout, idleTimeout, closeTimeout, drainTimeout } =
    configuration;
  const timeouts = [handshakeTimeout, pingInterval, pongTimeout, idleTimeout, closeTimeout, drainTimeout, 4000];
  return Math.max(10, Math.floor(Math.min(...timeouts.filter(timeout => timeout > 0)) / 4));
}

/** The stage of the turn. */
export function checkDeadlines(server: Server): void {
  if (isDue) {
    isDue = false;
    for (const entry of server.table.entries) {
      if (entry?.kind !== 'connection' || entry.phase === 'gone') continue;
      if (entry.phase === 'open') entry.wire.checkDeadlines(entry);
      else if (isOverdue(server, entry.endingAt)) dropConnection(entry);
    }
    if (server.isDraining && server.drainDeadline > 0 && server.now >= server.drainDeadline) dropAll(server);
  }
  if (timer === undefined && server.connections > 0) {
    timer = setTimeout(() => {
      timer = undefined;
      isDue = true;
      comeToTurn();
    }, tickOf(server)).unref();
  }
}

function isOverdue({ now, configuration: { closeTimeout } }: Server, since: number): boolean {
  return closeTimeout > 0 && now - since >= closeTimeout;
}

function dropAll(server: Server): void {
  for (const entry of server.table.entries) if (entry?.kind === 'connection') dropConnection(entry);
}
