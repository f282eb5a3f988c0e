/** Rights of clients whose handshake is complete: for what they ask in messages. */

import { runIsolated } from '../core/close.ts';
import { pauseMessages, resumeMessages } from '../core/processData.ts';
import { log } from '../log/log.ts';
import type { ProtocolError } from '../protocol/codes.ts';
import type { Entry } from '../records/entry.ts';
import type { Need } from '../records/identity.ts';
import type { Connection } from '../records/records.ts';

/**
 * Decides whether the client may have these rights. While the app is asked, its messages and its close frame wait.
 * @param decided called at once or, if it is still connected, later
 */
export function authorizeClient(
  entry: Entry | undefined,
  connection: Connection,
  needs: readonly Need[],
  decided: (refusal: ProtocolError | undefined) => void,
): void {
  if (entry?.isOn() !== true) return decided(undefined);
  let isLater = false;
  const isDecided = entry.authorize(connection, needs, refusal => {
    if (!isLater) return decided(refusal);
    if (connection.phase !== 'open' || connection.endpoint?.state !== 'OPEN') return;
    resumeMessages(connection);
    runIsolated(connection, () => decided(refusal));
  });
  isLater = true;
  if (!isDecided) pauseMessages(connection, true);
}

/** Milliseconds between two searches for connections that are due for `--auth-recheck`. */
const recheckInterval = 250;

/**
 * Asks the app again about live connections (`--auth-recheck`).
 * @param needsOf the rights that a connection uses now, besides the right to open its handler
 */
export function startRechecks(entry: Entry, needsOf: (connection: Connection) => readonly Need[]): void {
  setInterval(() => entry.recheck(needsOf), recheckInterval).unref();
}

/** Connections with a refusal in the log at level info: a client cannot fill the log by asking again. */
const logged = new WeakSet<Connection>();

/** Logs that a command was refused; the connection goes on. @param what was asked for: a channel, a room */
export function logRefusedCommand(connection: Connection, refusal: ProtocolError, what: string): void {
  const { id, address, identity } = connection;
  const { code: status, message: reason, details } = refusal;
  const level = logged.has(connection) ? 'debug' : 'info';
  logged.add(connection);
  log(level, 'refused', { id, address, status, reason, what, user: identity?.user, ...details });
}
