/**
 * Deadlines that measure progress: while bytes flow at a minimum rate, a transfer may take as long as it needs. A drip
 * below that rate only delays the deadline, so it cannot hold a place forever.
 *
 * The rule is that of Apache's mod_reqtimeout: so many bytes buy one more second.
 */
import { maxDeadlineCredit, minRate } from '../protocol/limits.ts';
import type { Connection } from '../records/records.ts';

/** Bytes of the connection's output that the system has taken. */
function bytesTaken({ bytesOut, socket }: Connection): number {
  return bytesOut - socket.unsent();
}

/** Starts the clock for a transfer of input. */
export function startReceiving(connection: Connection): void {
  connection.flowSince = connection.server.now;
  connection.flowBytes = connection.bytesIn;
}

/** Whether input has arrived below the minimum rate for at least `timeout`. */
export function hasInputStalled(connection: Connection, timeout: number): boolean {
  return hasStalled(connection, connection.bytesIn, timeout, 0);
}

/** Starts the clock for a transfer of output. */
export function startSending(connection: Connection): void {
  connection.flowSince = connection.server.now;
  connection.flowBytes = bytesTaken(connection);
}

/**
 * Whether output has left below the minimum rate for at least `timeout`. The system's send buffer hides the peer's progress,
 * and drains in steps of up to a megabyte, so bytes that the system has taken buy time in advance.
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
