/**
 * Finds slow handlers. The clock is read before and after the calls of a user's handler, once for all messages that a
 * connection has in a turn. If a turn takes too long, the log names the handler that took longest.
 */
import { log } from '../log/log.ts';
import { exactClock } from '../process/clock.ts';

/** What is being timed. The loop calls `stopTiming` and `endTiming` only if there is something to do. */
export const handlerTime = {
  /** The name of the handler that is running; empty if none is timed. */
  running: '',
  /** Milliseconds that handlers took in this turn. */
  total: 0,
};
let runningId: number | undefined;
let since = 0;

/** The longest time of this turn. */
const longest = { who: '', id: undefined as number | undefined, took: 0 };

/**
 * The handler `who` starts.
 * @param id the connection that it works for, if any
 * @returns false if a handler is being timed already: this call is part of its work
 */
export function startTiming(who: string, id?: number): boolean {
  if (handlerTime.running !== '') return false;
  handlerTime.running = who;
  runningId = id;
  since = performance.now();
  return true;
}

/** The handler has returned, or the connection's input has been processed. */
export function stopTiming(): void {
  if (handlerTime.running === '') return;
  const took = performance.now() - since;
  handlerTime.total += took;
  if (took > longest.took) {
    longest.who = handlerTime.running;
    longest.id = runningId;
    longest.took = took;
  }
  handlerTime.running = '';
}

/**
 * Ends a turn, or other work in which handlers were timed. If it took too long, and handlers took at least half of that
 * time, the slowest is logged.
 * @param begun the start, by the server's clock
 * @param bound milliseconds; 0 for no limit
 */
export function endTiming(begun: number, bound: number): void {
  if (handlerTime.total === 0) return;
  const took = exactClock() - begun;
  if (bound > 0 && took >= bound && handlerTime.total >= took / 2) {
    const { who: handler, id } = longest;
    log('warn', 'slow handler', { handler, id, ms: Math.round(longest.took), turn: Math.round(took) });
  }
  longest.took = 0;
  handlerTime.total = 0;
}
