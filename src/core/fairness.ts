/** A connection's share of the turn: no one may use the turn up while others wait. */

import { exactClock } from '../process/clock.ts';
import { backpressureThreshold, connectionBudget } from '../protocol/limits.ts';
import { type InflatingMessage, rewindInflating } from '../protocol/websocket/message.ts';
import { workUnits } from '../protocol/workUnits.ts';
import type { Connection, InflationQueue } from '../records/records.ts';
import { scheduleFlush } from './send.ts';

/** How far the work had gone when the connection that is being read began. */
let begunAt = 0;
/** When the first slice of a large message was asked for since then; 0: none was. */
let slicingAt = 0;

/** Reading begins. */
export function startBudget(connection: Connection): void {
  begunAt = workUnits.spent;
  slicingAt = 0;
  connection.isThrottled = false;
}

/**
 * A message, or a packet of one, of so many bytes was processed. What it brought about is in `work` already.
 * @returns whether the next one may be read; if not, the connection is held back
 */
export function charge(connection: Connection, bytes: number): boolean {
  workUnits.spent += 1 + (bytes >>> 8);
  connection.isThrottled =
    workUnits.spent - begunAt > connectionBudget || connection.queue.size > backpressureThreshold;
  return !connection.isThrottled;
}

/** After this many turns without progress (output waits, or the handler has paused the connection) the first one makes way. */
const patience = 8;

/**
 * Whether a connection may go on with its large message in this turn; if not, it is held back until the next one.
 *
 * A message gets one slice at once, and a share of a turn soon after: that is enough for some hundred KiB. One that is
 * larger starts over when it is the first in line; until then it takes no more memory than it came as.
 */
export function mayInflate(connection: Connection): boolean {
  const message = connection.endpoint?.inflating;
  if (message === undefined) return false;
  const { inflations, counters } = connection.server;
  if (message.stops === 0) inflations.waiting.push({ connection, message });
  const isNext = isFirst(inflations, message, counters.turns);
  if (isNext) message.stops = firstInLine;
  const mayTry = isNext || (message.stops === 1 && isWithinShare());
  if (!mayTry && message.stops < firstInLine) {
    message.stops++;
    workUnits.spent++;
    rewindInflating(message);
  }
  connection.isThrottled = !mayTry || !isWithinShare();
  return !connection.isThrottled;
}

/** In place of a number of stops: it has been the first in line, and keeps what it has inflated. */
const firstInLine = Number.POSITIVE_INFINITY;

/** What a slice costs depends on the data, by a factor of ten: here the clock is worth asking. */
function isWithinShare(): boolean {
  const now = exactClock();
  if (slicingAt === 0) slicingAt = now;
  else if (now - slicingAt > 1) workUnits.spent = Math.max(workUnits.spent, begunAt + connectionBudget + 1);
  return workUnits.spent - begunAt <= connectionBudget;
}

/** Whether the message is the first in line; updates the line. */
function isFirst(inflations: InflationQueue, message: InflatingMessage, turn: number): boolean {
  const { waiting } = inflations;
  let first = waiting[0];
  // Those that were delivered, or whose connection ended, leave the line.
  while (first !== undefined && first.connection.endpoint?.inflating !== first.message) {
    waiting.shift();
    first = waiting[0];
    inflations.progressedIn = turn;
  }
  if (first !== undefined && first.message !== message && turn - inflations.progressedIn > patience) {
    waiting.push(waiting.shift()!);
    first = waiting[0];
    inflations.progressedIn = turn;
  }
  if (first?.message !== message) return false;
  inflations.progressedIn = turn;
  return true;
}

/**
 * Adds input that did not arrive by the connection's socket, after all other input. The next turn reads it, as from a throttled
 * connection. Until then the connection counts as paused; afterwards `socket.resume` is called.
 * @param bytes the connection's from now on
 */
export function injectInput(connection: Connection, bytes: Buffer): void {
  const { input, inputStart, inputEnd } = connection;
  const all = input === undefined ? bytes : Buffer.concat([input.subarray(inputStart, inputEnd), bytes]);
  connection.bytesIn += bytes.length;
  connection.input = all;
  connection.inputStart = 0;
  connection.inputEnd = all.length;
  connection.isThrottled = true;
  connection.isReading = false;
  scheduleFlush(connection);
}
