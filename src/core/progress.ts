/**
 * Deadlines that measure progress: while bytes flow at a minimum rate, a transfer may take as long as it needs. A drip
 * below that rate only delays the deadline, so it cannot hold a place for ever.
 *
 * The rule is that of Apache's mod_reqtimeout: so many bytes buy one more second.
 */
import { maxDeadlineCredit, minRate } from '../protocol/limits.ts';
import type { Connection } from '../records/records.ts';

/** Bytes of the connection's output that the system has taken. */
function bytesTaken({ bytesOut, socket }: Connection): number {
  return bytesOut - socket.unsent();
}

/** From now on its input is awaited. */
export function startReceiving(connection: Connection): void {
  connection.flowSince = connection.server.now;
  connection.flowBytes = connection.bytesIn;
}

/** Whether its input has come more slowly than that, for at least `timeout`. */
export function hasInputStalled(connection: Connection, timeout: number): boolean {
  return hasStalled(connection, connection.bytesIn, timeout, 0);
}

/** From now on its output is to leave. */
export function startSending(connection: Connection): void {
  connection.flowSince = connection.server.now;
  connection.flowBytes = bytesTaken(connection);
}

/**
 * The same for its output. The system's buffer hides what the peer takes of it, and tells of it in steps of up to a
 * megabyte, so what the system has taken buys time in advance.
 */
export function hasOutputStalled(connection: Connection, timeout: number): boolean {
  return hasStalled(connection, bytesTaken(connection), timeout, maxDeadlineCredit);
}

/** @param ahead milliseconds that can be bought in advance */
function hasStalled(connection: Connection, bytes: number, timeout: number, ahead: number): boolean {
  const { now } = connection.server;
  const bought = Math.ceil(((bytes - connection.flowBytes) * 1000) / minRate);
  connection.flowBytes = bytes;
  connection.flowSince = Math.min(connection.flowSince + bought, now + ahead);
  return timeout > 0 && now - connection.flowSince >= timeout;
}
