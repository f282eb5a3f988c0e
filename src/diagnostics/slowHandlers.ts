/**
 * Who took how long. The clock is read around the calls of handlers that are not ours alone, once for all messages that a
 * connection has in a turn; who it was is only said of a turn that took too long.
 */
import { log } from '../log/log.ts';
import { exactClock } from '../process/clock.ts';

/** Whose work is being timed; empty: nobody's. */
let running = '';
let runningId: number | undefined;
let since = 0;

/** The longest of this turn, and all of them. */
const longest = { who: '', id: undefined as number | undefined, took: 0 };
let total = 0;

/**
 * `who` begins to work, for the connection `id`, if it is for one.
 * @returns false where something is timed already, of which this is a part
 */
export function startTiming(who: string, id?: number): boolean {
  if (running !== '') return false;
  running = who;
  runningId = id;
  since = performance.now();
  return true;
}

/** The work is done: at the latest, when the connection's input is worked through. */
export function stopTiming(): void {
  if (running === '') return;
  const took = performance.now() - since;
  total += took;
  if (took > longest.took) {
    longest.who = running;
    longest.id = runningId;
    longest.took = took;
  }
  running = '';
}

/**
 * The turn is over, or whatever else was timed: if it took too long, and that was for the most part theirs, it is logged
 * who took longest.
 * @param begun when, by the server's clock
 * @param bound milliseconds; 0: nothing is too long
 */
export function reportSlow(begun: number, bound: number): void {
  if (total === 0) return;
  const took = exactClock() - begun;
  if (bound > 0 && took >= bound && total >= took / 2) {
    const { who: handler, id } = longest;
    log('warn', 'slow handler', { handler, id, ms: Math.round(longest.took), turn: Math.round(took) });
  }
  longest.took = 0;
  total = 0;
}
