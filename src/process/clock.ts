/**
 * The server's clock: milliseconds from 1 on, so that 0 can mean never. It never goes back.
 *
 * The clock stands still while the process is stopped or its loop is blocked, as Linux's CLOCK_MONOTONIC does while the
 * machine is suspended. Peers may have answered in that time, and their bytes are still in the system's buffers: no
 * deadline may pass before the loop has read them.
 */

/** Milliseconds for which the clock stood still. */
export const lostTime = { total: 0 };

/** Whole milliseconds, as in `server.now`. */
export function clock(): number {
  return Math.floor(exactClock() - lostTime.total);
}

/** A busy loop may be this late without having been blocked; milliseconds. */
export const maxLateness = 100;

/**
 * Sets the clock back to `expected` if the process was blocked beyond that time.
 * @param expected when the loop should have run, as in `clock()`; 0: no such time
 * @returns whether it was late
 */
export function skipLostTime(expected: number): boolean {
  const late = clock() - expected;
  if (expected === 0 || late <= maxLateness) return false;
  lostTime.total += late;
  return true;
}

export function exactClock(): number {
  return performance.now() + 1;
}
