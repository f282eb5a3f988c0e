/** Fairness: each connection has a budget for the turn, so none can use up the turn while others wait. */

import { beginningOf } from '../diagnostics/metrics.ts';
import { tapArrived } from '../diagnostics/tap.ts';
import { exactClock } from '../process/clock.ts';
import {
  backpressureThreshold,
  connectionBudget,
  minStageTime,
  throttledBudget,
  turnTime,
} from '../protocol/limits.ts';
import { type InflatingMessage, rewindInflating } from '../protocol/websocket/message.ts';
import { workUnits } from '../protocol/workUnits.ts';
import type { Connection, InflationQueue, Server } from '../records/records.ts';
import { scheduleFlush } from './send.ts';

/** `workUnits.spent` when the current connection's budget started. */
let begunAt = 0;

/** Work units between two looks at the clock, because they are an estimate: some messages take a hundred times as long. */
const unitsPerLook = 128;

/** Milliseconds of a connection's budget from the first look on. By the estimate, a budget takes one. */
const budgetTime = 2;

/** `workUnits.spent` at the next look, and the time of the first one; 0 if there was none. */
let lookAt = 0;
let lookedAt = 0;

/** When its first slice of a large message was inflated; 0 if none was. */
let slicingAt = 0;

/** Starts the connection's budget for this turn. */
export function startBudget(connection: Connection): void {
  begunAt = workUnits.spent;
  lookAt = begunAt + unitsPerLook;
  lookedAt = 0;
  slicingAt = 0;
  connection.isThrottled = false;
}

/** Spends the rest of the connection's budget: the next `charge` throttles it. */
export function endBudget(): void {
  begunAt = Number.NEGATIVE_INFINITY;
}

/**
 * When a stage has to end even if its work units are not spent: work units are an estimate. It gets the time that they
 * should take, but ends `turnPart` after the turn began; and it gets at least `minStageTime`.
 * @param share work units of the stage
 * @param turnPart milliseconds
 * @returns a time of `exactClock`
 */
export function stopTime({ metrics }: Server, share: number, turnPart: number): number {
  const now = exactClock();
  return Math.max(
    now + minStageTime,
    Math.min(now + share / connectionBudget, beginningOf(metrics.turns) + turnPart),
  );
}

/** As `stopTime`, for the stages after the last read of a turn. */
export function stopTimeAfterReading(server: Server): number {
  return stopTime(server, throttledBudget, turnTime);
}

/**
 * Charges the connection for a message or packet of this size. The work that it caused is charged where it is done.
 * @returns whether the next message may be read; if not, the connection is throttled
 */
export function charge(connection: Connection, bytes: number): boolean {
  workUnits.spent += 1 + (bytes >>> 8);
  if (workUnits.spent > lookAt) lookAtClock();
  connection.isThrottled =
    workUnits.spent - begunAt > connectionBudget || connection.queue.size > backpressureThreshold;
  return !connection.isThrottled;
}

/** Spends the rest of the budget when its time is up. */
function lookAtClock(): void {
  const now = exactClock();
  lookAt = workUnits.spent + unitsPerLook;
  if (lookedAt === 0) lookedAt = now;
  else if (now - lookedAt > budgetTime) spendBudget();
}

function spendBudget(): void {
  workUnits.spent = Math.max(workUnits.spent, begunAt + connectionBudget + 1);
}

/** After this many turns without progress (unsent output, a paused connection) the first message goes to the end of the line. */
const patience = 8;

/**
 * @returns whether the connection may inflate the next slice of its large message; if not, it is throttled until the next turn.
 *
 * A message gets one slice at once, and later the budget of one turn: enough for some hundred KiB. A larger one starts over
 * when it is the first in line; until then it takes no more memory than its compressed form.
 */
export function mayInflate(connection: Connection): boolean {
  const message = connection.endpoint?.inflating;
  if (message === undefined) return false;
  const { inflations, counters } = connection.server;
  if (message.stops === 0) inflations.waiting.push({ connection, message });
  const isFirstInLine = advanceLine(inflations, message, counters.turns);
  if (isFirstInLine) message.stops = firstInLine;
  const mayTry = isFirstInLine || (message.stops === 1 && chargeSlice());
  if (!mayTry && message.stops < firstInLine) {
    message.stops++;
    workUnits.spent++;
    rewindInflating(message);
  }
  connection.isThrottled = !mayTry || !chargeSlice();
  return !connection.isThrottled;
}

/** The value of `stops` for a message that has been the first in line: it keeps what it has inflated. */
const firstInLine = Number.POSITIVE_INFINITY;

/** The cost of a slice varies by a factor of ten with the data, so the clock decides. */
function chargeSlice(): boolean {
  const now = exactClock();
  if (slicingAt === 0) slicingAt = now;
  else if (now - slicingAt > 1) spendBudget();
  return workUnits.spent - begunAt <= connectionBudget;
}

/** Updates the line. @returns whether the message is the first in it */
function advanceLine(inflations: InflationQueue, message: InflatingMessage, turn: number): boolean {
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
 * Appends input that did not arrive through the connection's socket (a polling client's POST, for example). The next turn reads
 * it as from a throttled connection. Until then the connection counts as paused; then `socket.resume` is called.
 * @param bytes owned by the connection from now on
 */
export function injectInput(connection: Connection, bytes: Buffer): void {
  const { input, inputStart, inputEnd } = connection;
  const all = input === undefined ? bytes : Buffer.concat([input.subarray(inputStart, inputEnd), bytes]);
  connection.bytesIn += bytes.length;
  if (connection.server.taps.isOn) tapArrived(connection, bytes, 0, bytes.length);
  connection.input = all;
  connection.inputStart = 0;
  connection.inputEnd = all.length;
  connection.isThrottled = true;
  connection.isReading = false;
  scheduleFlush(connection);
}
