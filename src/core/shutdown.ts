/** Graceful shutdown: listeners close, every connection gets close code 1001, and the loop ends with the last connection. */

import { noteEnding } from '../diagnostics/closeReason.ts';
import { log } from '../log/log.ts';
import { notify } from '../process/announce.ts';
import { clock } from '../process/clock.ts';
import { CloseCode } from '../protocol/codes.ts';
import type { Server } from '../records/records.ts';
import { closeConnection } from './close.ts';
import { flush } from './flush.ts';
import { scheduleTurn } from './poll.ts';

/** Starts a graceful shutdown. After `drainTimeout` the remaining connections are dropped. */
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
    // Commands still work during the shutdown.
    if (entry?.kind !== 'connection' || entry.phase !== 'open' || entry.isControl) continue;
    noteEnding(entry, 'server', `the server is shutting down (${why})`, { cause: 'shutdown' });
    // RFC 6455 §7.4.1 [7.4.1-b]: 1001 is for a server that shuts down.
    closeConnection(entry, CloseCode.GoingAway, 'the server is going away');
  }
  scheduleTurn(server);
}

/** Closes all listeners but the control socket. */
export function closeListeners(server: Server): void {
  for (const entry of server.table.entries) if (entry?.kind === 'listener' && !entry.isControl) entry.close();
}

/** Shuts down at once: every connection gets close code 1001, and no answer is awaited. */
export function stopServer(server: Server, why: string): void {
  drainServer(server, why);
  // The deadline passes in the next turn: the flush of this one sends the close frames.
  server.drainDeadline = server.now + 1;
  const { deadlines } = server;
  clearTimeout(deadlines.timer);
  deadlines.dueAt = 0;
  deadlines.timer = setTimeout(() => {
    deadlines.timer = undefined;
    scheduleTurn(server);
  }, 2);
}

/** The loop is over: closes the connections that carry commands, after their last answers. */
export function closeControlConnections(server: Server): void {
  const { entries } = server.table;
  for (const entry of entries) {
    if (entry?.kind === 'listener') entry.close();
    else if (entry?.phase === 'open') closeConnection(entry, CloseCode.GoingAway, 'the server has ended');
  }
  flush(server);
  for (const entry of entries) if (entry?.kind === 'connection') entry.socket.destroy();
}
