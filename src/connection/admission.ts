/** Whether a connection is welcome: whether there is room for one more (`maxConnections` is 0 where there is no limit), and by what it speaks. */
import { log } from '../log/log.ts';
import { maxPolled, refusalRoom, shortageInterval } from '../protocol/bounds.ts';
import { ProtocolError } from '../protocol/codes.ts';
import type { Connection } from './connection.ts';
import { descriptorsInUse, usableDescriptors } from './descriptors.ts';
import type { Server } from './server.ts';

/** For someone who is counted already, and is to become a client. Whoever is turned away counts no more while they leave. */
export function hasRoom(connection: Connection): boolean {
  const { server } = connection;
  const { maxConnections } = server.configuration;
  // The requests of a client are not clients.
  const clients = server.connections - server.polling.requests - server.turnedAway;
  if (!connection.isTurnedAway && (maxConnections === 0 || clients <= maxConnections)) return true;
  // Whoever asks again is told the same, and is not counted twice.
  if (!connection.isTurnedAway) server.turnedAway++;
  connection.isTurnedAway = true;
  return false;
}

/** The same, refused over HTTP. @throws ProtocolError 503 */
export function checkRoom(connection: Connection): void {
  if (!hasRoom(connection)) throw full(`${connection.server.configuration.maxConnections} connections`);
}

function full(many: string): ProtocolError {
  return new ProtocolError(503, `there are ${many} already; try again later`, {}, 'maxConnections');
}

/** For a client that comes by HTTP: between its requests it holds nothing that the system counts. @throws ProtocolError 503 */
export function checkRoomForPolled(request: Connection): void {
  const { server } = request;
  checkRoom(request);
  if (server.configuration.maxConnections > 0 || server.polling.clients < maxPolled) return;
  throw full(`${maxPolled} sessions over HTTP`);
}

/** Whether there are so many that one more would not even be told that it is refused. */
export function isOverrun({ connections, polling, configuration: { maxConnections } }: Server): boolean {
  // A client that comes by HTTP is there twice while a request of it waits, and once more while the next one comes.
  return maxConnections > 0 && connections >= maxConnections + refusalRoom + 2 * polling.clients;
}

/** Whether all descriptors but the reserve are in use; the log says so, now and then. */
export function isShortOfDescriptors(server: Server): boolean {
  const { connections, descriptors, now, shortageToldAt } = server;
  if (descriptorsInUse(server) < usableDescriptors(server)) return false;
  if (shortageToldAt === 0 || now - shortageToldAt >= shortageInterval) {
    server.shortageToldAt = now;
    const { limit, ...others } = descriptors;
    log('warn', 'out of descriptors', { connections, ...others, openFiles: limit, raise: 'ulimit -Hn' });
  }
  return true;
}

/** Why a connection is not served at all, if it is not; the code is an HTTP status. */
export function whyNotAdmitted({ isControl, security, server }: Connection): ProtocolError | undefined {
  // The socket of the server's owner is its own.
  if (isControl) return undefined;
  if (security === undefined) {
    if (!server.configuration.tlsOnly) return undefined;
    // RFC 2817 §4.2: 426 names the protocol that is wanted.
    const headers = { Upgrade: 'TLS/1.2, HTTP/1.1', Connection: 'Upgrade, close' };
    const reason = 'this server speaks TLS only: connect with https:// or wss://';
    return new ProtocolError(426, reason, headers, 'tlsOnly');
  }
  return security.fault === undefined ? undefined : new ProtocolError(403, security.fault, {}, 'tlsClient');
}
