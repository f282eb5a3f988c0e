/**
 * Rates: token buckets for the messages of a connection and of a user (`--message-rate`), and for the new connections of an
 * address (`--connect-rate`). Without these options no buckets exist.
 *
 * The server stops reading from a connection whose bucket is empty, and TCP slows its peer down. If the peer has sent more
 * than another burst of messages when the bucket has tokens again, the connection is closed with 1008.
 */

import { noteRule } from '../diagnostics/closeReason.ts';
import { type Rate, rate as rateKind, timerDelay } from '../options/values.ts';
import { CloseCode } from '../protocol/codes.ts';
import { maxRateAddresses, ratePause } from '../protocol/limits.ts';
import { countMessages } from '../protocol/websocket/frame.ts';
import type { Connection, Server } from '../records/records.ts';
import type { Bucket } from '../records/resources.ts';
import { closeConnection } from './close.ts';
import { endBudget } from './fairness.ts';
import { addressKey } from './places.ts';
import { pauseMessages, resumeMessages } from './processData.ts';
import { scheduleFlush } from './send.ts';
import { newBucket, refill, takeToken, touchRecord } from './tokenBucket.ts';

/** Charges the connection's bucket for a message that was processed. Pauses the connection if that took the last token. */
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
  if (bucket.pause !== undefined) return;
  // The handler has paused messages itself. The next message is charged after it has resumed them.
  if (endpoint?.acceptsMessages === false) return;
  pauseMessages(connection);
  // Waits for several tokens: a timer for each message of a fast sender would cost more.
  const wanted = Math.max(1, Math.min(messageRate.burst, (messageRate.perSecond * ratePause) / 1000));
  // All connections of a user share its debt, so the wait can be longer than that for one token.
  const wait = ((wanted - tokens) / messageRate.perSecond) * 1000;
  bucket.pause = setTimeout(resumeLimited, timerDelay(wait), connection, bucket, messageRate).unref();
}

/** Charges the bucket that all connections of a user share. @returns the tokens left */
function takeFromUser({ identity, server }: Connection, limit: Rate): number {
  if (identity === undefined) return limit.burst;
  const bucket = touchRecord(server.places.userRates, identity.user, maxRateAddresses, () =>
    newBucket(limit, server.now),
  );
  refill(bucket, limit, server.now);
  bucket.tokens--;
  return bucket.tokens;
}

/** Frames examined for each message of the burst, and for all at least: the timers of a thousand connections may fire at once. */
const framesPerMessage = 16;
const minFrames = 4096;

function resumeLimited(connection: Connection, bucket: Bucket, limit: Rate): void {
  bucket.pause = undefined;
  if (connection.phase !== 'open') return;
  const { input, inputStart, inputEnd, endpoint } = connection;
  const most = limit.burst + 1;
  const waiting =
    input === undefined || endpoint === undefined
      ? 0
      : countMessages(input, inputStart, inputEnd, most, Math.max(minFrames, framesPerMessage * most));
  if (waiting > limit.burst) {
    noteRule(
      connection,
      `it sent messages faster than ${rateKind.show(limit)}, and more than another burst waited`,
      'messageRate',
    );
    // RFC 6455 §7.4.1 [7.4.1-f]: 1008 is for a message that violates a policy.
    closeConnection(connection, CloseCode.PolicyViolation, 'too many messages');
  } else if (endpoint === undefined) scheduleFlush(connection);
  else resumeMessages(connection);
}

/** Charges the address for a new connection. @returns false if that exceeds `--connect-rate`; a Unix socket has no address */
export function mayConnect(server: Server, address: string): boolean {
  const { connectRate } = server.configuration;
  const key = addressKey(address);
  if (connectRate.burst === 0 || key === undefined) return true;
  const bucket = touchRecord(server.places.connectRates, key, maxRateAddresses, () =>
    newBucket(connectRate, server.now),
  );
  return takeToken(bucket, connectRate, server.now);
}
