/**
 * Rates: token buckets for the messages of a connection and of a user (`--message-rate`), and for the new connections of an address
 * (`--connect-rate`). Without these options there are no buckets.
 *
 * A connection without a token is not read from until it has some again, and TCP slows its peer down. If more than a whole
 * further burst of messages waits by then, the peer ignores that, and is closed with 1008.
 */

import { noteRule } from '../diagnostics/closeReason.ts';
import { type Rate, rate as rateKind } from '../options/values.ts';
import { CloseCode } from '../protocol/codes.ts';
import { maxRateAddresses, ratePause } from '../protocol/limits.ts';
import { countWholeFrames } from '../protocol/websocket/frame.ts';
import type { Connection, Server } from '../records/records.ts';
import type { Bucket } from '../records/resources.ts';
import { closeConnection } from './close.ts';
import { endBudget, newBucket } from './fairness.ts';
import { addressKey } from './places.ts';
import { pauseMessages, resumeMessages } from './processData.ts';
import { scheduleFlush } from './send.ts';

/** Adds the tokens of the time that has passed. @param now in milliseconds */
function refill(bucket: Bucket, { perSecond, burst }: Rate, now: number): void {
  bucket.tokens = Math.min(burst, bucket.tokens + ((now - bucket.at) / 1000) * perSecond);
  bucket.at = now;
}

/** A message of a connection with a bucket was processed. Stops reading from the connection if it was the last token. */
export function limitMessages(connection: Connection, bucket: Bucket): void {
  const { configuration, now } = connection.server;
  const { messageRate } = configuration;
  // A reload has removed the option.
  if (messageRate.burst === 0) return;
  refill(bucket, messageRate, now);
  bucket.tokens--;
  const tokens = Math.min(bucket.tokens, takeFromUser(connection, messageRate));
  if (tokens >= 1 || connection.phase !== 'open') return;
  const { endpoint } = connection;
  if (endpoint === undefined) endBudget();
  if (bucket.isEmpty) return;
  // If the handler has paused messages itself, the next one is counted when it has resumed them.
  if (endpoint?.acceptsMessages === false) return;
  pauseMessages(connection);
  bucket.isEmpty = true;
  // Some tokens at a time, so that a fast sender does not cost a timer for each message.
  const wanted = Math.max(1, Math.min(messageRate.burst, (messageRate.perSecond * ratePause) / 1000));
  const wait = ((wanted - tokens) / messageRate.perSecond) * 1000;
  setTimeout(resumeLimited, wait, connection, bucket, messageRate).unref();
}

/** Counts a message of all connections of the client's user together. @returns the tokens left */
function takeFromUser({ identity, server }: Connection, limit: Rate): number {
  if (identity === undefined) return limit.burst;
  const bucket = touchRecord(server.places.userRates, identity.user, maxRateAddresses, () =>
    newBucket(limit, server.now),
  );
  refill(bucket, limit, server.now);
  bucket.tokens--;
  return bucket.tokens;
}

function resumeLimited(connection: Connection, bucket: Bucket, limit: Rate): void {
  bucket.isEmpty = false;
  if (connection.phase !== 'open') return;
  const { input, inputStart, inputEnd, endpoint } = connection;
  const waiting =
    input === undefined || endpoint === undefined ? 0 : countWholeFrames(input, inputStart, inputEnd);
  if (waiting > limit.burst) {
    noteRule(
      connection,
      `it sent messages faster than ${rateKind.show(limit)}, and more than another burst waited`,
      'messageRate',
    );
    closeConnection(connection, CloseCode.PolicyViolation, 'too many messages');
  } else if (endpoint === undefined) scheduleFlush(connection);
  else resumeMessages(connection);
}

/**
 * Counts a new connection of this address.
 * @returns whether its rate allows it; without an address it does
 */
export function mayConnect(server: Server, address: string): boolean {
  const { connectRate } = server.configuration;
  const key = addressKey(address);
  if (connectRate.burst === 0 || key === undefined) return true;
  const bucket = touchRecord(server.places.connectRates, key, maxRateAddresses, () =>
    newBucket(connectRate, server.now),
  );
  return takeToken(bucket, connectRate, server.now);
}

/** @returns whether there was a token @param now as in `server.now` */
export function takeToken(bucket: Bucket, rate: Rate, now: number): boolean {
  refill(bucket, rate, now);
  if (bucket.tokens < 1) return false;
  bucket.tokens--;
  return true;
}

/** Finds or makes the record of an address or a user. Of too many, those that were looked for longest ago are forgotten. */
export function touchRecord<Kept>(
  records: Map<string, Kept>,
  key: string,
  most: number,
  make: () => Kept,
): Kept {
  const found = records.get(key) ?? make();
  records.delete(key);
  records.set(key, found);
  for (const oldest of records.keys()) {
    if (records.size <= most) break;
    records.delete(oldest);
  }
  return found;
}
