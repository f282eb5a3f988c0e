/** Decides the rights of open connections: for commands in messages, and again for `--auth-recheck`. */

import { logForAddress } from '../core/addressLog.ts';
import { runIsolated } from '../core/close.ts';
import { pauseMessages, resumeMessages } from '../core/processData.ts';
import type { ProtocolError } from '../protocol/codes.ts';
import type { Entry } from '../records/entry.ts';
import type { Need } from '../records/identity.ts';
import type { Connection } from '../records/records.ts';

/**
 * Decides whether the client has these rights. While the app is asked, the client's messages and its close frame wait.
 * @param decided called at once or later; not if the client disconnects first
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
 * @returns a function that stops asking
 */
export function startRechecks(
  entry: Entry,
  needsOf: (connection: Connection) => readonly Need[],
): () => void {
  const timer = setInterval(() => entry.recheck(needsOf), recheckInterval).unref();
  return () => clearInterval(timer);
}

/** Connections whose first refusal was logged at level info. Later ones are at debug: they say nothing new. */
const logged = new WeakSet<Connection>();

/** Logs that a command was refused; the connection stays open. @param what the channel or the room */
export function logRefusedCommand(connection: Connection, refusal: ProtocolError, what: string): void {
  const { id, address, identity } = connection;
  const { code: status, message: reason, details } = refusal;
  const level = logged.has(connection) ? 'debug' : 'info';
  logged.add(connection);
  const fields = { id, address, status, reason, what, user: identity?.user, ...details };
  logForAddress(connection, level, 'refused', fields);
}
