/** The end of the server: nobody new is let in, everyone is told, and the last one out ends the loop. */

import { noteEnding } from '../diagnostics/closeReason.ts';
import { log } from '../log/log.ts';
import { notify } from '../process/announce.ts';
import { clock } from '../process/clock.ts';
import { CloseCode } from '../protocol/codes.ts';
import type { Server } from '../records/records.ts';
import { closeConnection } from './close.ts';
import { flush } from './flush.ts';
import { scheduleTurn } from './poll.ts';

/** Starts the end; within `drainTimeout` it is reached, whoever is still there. */
export function drainServer(server: Server, why: string): void {
  if (server.isDraining) return;
  server.isDraining = true;
  server.now = clock();
  const { drainTimeout } = server.configuration;
  server.drainDeadline = drainTimeout > 0 ? server.now + drainTimeout : 0;
  notify('STOPPING=1');
  log('info', 'draining', { why, connections: server.connections });
  closeListeners(server);
  for (const entry of server.table.entries) {
    // Whoever gives commands may still do so.
    if (entry?.kind !== 'connection' || entry.phase !== 'open' || entry.isControl) continue;
    noteEnding(entry, 'server', `the server was told to end (${why})`);
    closeConnection(entry, CloseCode.GoingAway, 'the server is going away');
  }
  scheduleTurn(server);
}

/** Nobody new is let in, but for whoever has a command. */
export function closeListeners(server: Server): void {
  for (const entry of server.table.entries) if (entry?.kind === 'listener' && !entry.isControl) entry.close();
}

/** Ends the server now: everyone is told, but nobody waited for. */
export function stopServer(server: Server, why: string): void {
  drainServer(server, why);
  // In a turn after this one, whose flush tells them.
  server.drainDeadline = server.now + 1;
  setTimeout(scheduleTurn, 2, server);
}

/** All that is left came with commands. They get an answer, or the end of one. */
export function closeControlConnections(server: Server): void {
  const { entries } = server.table;
  for (const entry of entries) {
    if (entry?.kind === 'listener') entry.close();
    else if (entry?.phase === 'open') closeConnection(entry, CloseCode.GoingAway, 'the server has ended');
  }
  flush(server);
  for (const entry of entries) if (entry?.kind === 'connection') entry.socket.destroy();
}
