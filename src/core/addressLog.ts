/**
 * Log lines that a peer can cause are limited for each address, so an attacker can neither fill the disk nor bury the lines
 * about others. The log says how many lines of an address it omitted.
 */
import { isLogged, type LogFields, type LogLevel, log } from '../log/log.ts';
import { addressLogLines, maxRateAddresses } from '../protocol/limits.ts';
import type { Connection } from '../records/records.ts';
import type { AddressLines } from '../records/resources.ts';
import { addressKey } from './places.ts';
import { newBucket, takeToken, touchRecord } from './tokenBucket.ts';

/**
 * Logs an event that the connection's peer caused, unless its address has used up its lines. All peers on Unix sockets share those
 * of one address; only the owner of the server can reach the control socket.
 */
export function logForAddress(
  { server, address, isControl }: Connection,
  level: LogLevel,
  event: string,
  fields: LogFields,
): void {
  if (!isLogged(level)) return;
  if (isControl) return log(level, event, fields);
  const key = addressKey(address) ?? address;
  const lines = touchRecord<AddressLines>(server.places.logLines, key, maxRateAddresses, () => ({
    ...newBucket(addressLogLines, server.now),
    omitted: 0,
  }));
  if (!takeToken(lines, addressLogLines, server.now)) {
    lines.omitted++;
    return;
  }
  if (lines.omitted > 0) log('warn', 'lines of an address omitted', { address: key, count: lines.omitted });
  lines.omitted = 0;
  log(level, event, fields);
}
