/**
 * The server's clock: milliseconds from 1 on, so that 0 can mean never. It never goes back.
 *
 * While the process does not run, because it was stopped or its loop was blocked, this clock stands still, as Linux's
 * CLOCK_MONOTONIC does while the machine is suspended. Peers may have answered meanwhile: their bytes wait in the system's
 * buffers, so no deadline may pass before these were read.
 */

/** Milliseconds for which the clock stood still. */
let lost = 0;

/** As whole ones, which is what `server.now` has. */
export function clock(): number {
  return Math.floor(exactClock() - lost);
}

/** By so much a busy loop may be late; milliseconds. */
const longestDelay = 100;

/**
 * Sets the clock back to when something should have happened at the latest that did not, as the process did not run.
 * @param expected as in `clock()`; 0: there is no such time
 * @returns whether it was late
 */
export function skipLostTime(expected: number): boolean {
  const late = clock() - expected;
  if (expected === 0 || late <= longestDelay) return false;
  lost += late;
  return true;
}

export function exactClock(): number {
  return performance.now() + 1;
}
