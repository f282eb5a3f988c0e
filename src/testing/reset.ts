/** `server.reset()`: returns a server in a test's process to its initial state, between two tests. */

import type { Control } from '../commands/command.ts';
import { reloadConfiguration } from '../commands/reload.ts';
import { closeConnection, dropConnection } from '../core/close.ts';
import { scheduleTurn } from '../core/poll.ts';
import { noteEnding } from '../diagnostics/closeReason.ts';
import { recordEveryone } from '../diagnostics/recordings.ts';
import { traceConnection } from '../diagnostics/trace.ts';
import { endGraceTimes } from '../handlers/channels/presence.ts';
import { forgetChannel } from '../handlers/channels/publish.ts';
import { resetModules } from '../handlers/modules/modules.ts';
import type { Configuration } from '../options/configuration.ts';
import { CloseCode } from '../protocol/codes.ts';
import type { Connection, Server } from '../records/records.ts';

/**
 * Closes all connections (1001), without waiting for the clients' answers, and forgets their changes. Ids are free again; the
 * listeners stay.
 * @param readAgain reads the original options
 * @throws Error if the server is closing, a handler's state cannot be created, or messages on disk cannot be deleted
 */
export async function resetServer(control: Control, readAgain: () => Configuration): Promise<void> {
  const { server } = control;
  await closeAllConnections(server);
  await forgetMessages(control);
  if (server.configuration.setByHand.size > 0) await reloadConfiguration(server, readAgain);
  resetModules(server);
  traceConnection(server.trace, server.configuration.trace ? 'all' : 'off');
  const { closedConnections, counters, places, recordings } = server;
  // Only `--record` opens recordings here, and it records all connections.
  if (recordings !== undefined) recordEveryone(recordings, []);
  closedConnections.records.length = 0;
  closedConnections.next = 0;
  for (const name of Object.keys(counters) as (keyof typeof counters)[]) counters[name] = 0;
  for (const buckets of [places.connectRates, places.userRates, places.logLines]) buckets.clear();
}

async function closeAllConnections(server: Server): Promise<void> {
  for (const connection of connectionsOf(server)) {
    noteEnding(connection, 'server', 'the server was reset', { cause: 'shutdown' });
    closeConnection(connection, CloseCode.GoingAway, 'the server was reset');
  }
  // The flush of this turn sends the close frames.
  await nextTurn(server);
  for (const connection of connectionsOf(server)) dropConnection(connection);
  while (server.connections > 0) await nextTurn(server);
}

function connectionsOf({ table }: Server): readonly Connection[] {
  return table.entries.flatMap(entry =>
    entry?.kind === 'connection' && entry.phase !== 'gone' && !entry.isControl ? [entry] : [],
  );
}

/** Resolves after a turn of the server. @throws Error if the server is closing: no turn may follow */
async function nextTurn(server: Server): Promise<void> {
  const { turns } = server.counters;
  while (server.counters.turns === turns) {
    if (server.isDraining) throw new Error('the server is closing, and cannot be reset');
    scheduleTurn(server);
    await new Promise(resolve => setImmediate(resolve));
  }
}

async function forgetMessages({ server, channels }: Control): Promise<void> {
  endGraceTimes(channels);
  await nextTurn(server);
  for (const { name, count } of [...channels.byName.values()]) {
    if (count === 0) continue;
    const forgotten = forgetChannel(channels, name, false);
    if (typeof forgotten === 'string') throw new Error(forgotten);
  }
}
