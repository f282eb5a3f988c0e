/**
 * The log lines that strangers cause, by refused requests above all, are limited for each address: an attack must not fill the
 * disk, nor hide the lines of others. What is left out is counted, and the next line of the address says how much it was.
 */
import { isLogged, type LogFields, type LogLevel, log } from '../log/log.ts';
import { addressLogLines, maxRateAddresses } from '../protocol/limits.ts';
import type { Connection } from '../records/records.ts';
import type { AddressLines } from '../records/resources.ts';
import { newBucket } from './fairness.ts';
import { addressKey } from './places.ts';
import { takeToken, touchRecord } from './rates.ts';

/** Logs an event that the connection's peer caused, unless its address has caused too many. */
export function logForAddress(
  { server, address }: Connection,
  level: LogLevel,
  event: string,
  fields: LogFields,
): void {
  if (!isLogged(level)) return;
  const key = addressKey(address);
  if (key === undefined) return log(level, event, fields);
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
