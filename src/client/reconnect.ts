/** When to dial again: ever later, and not all clients at the same moment. */

const first = 1000;
const longest = 30_000;

/** A connection that stayed for so long was a good one: the next wait is a short one again. */
export const goodTime = longest;

/**
 * @param failures how many attempts failed since the last good one, from 0
 * @param chance at least 0, less than 1
 * @returns milliseconds: half a second to one, then twice that, to half a minute at most
 */
export function reconnectDelay(failures: number, chance: number): number {
  const full = Math.min(longest, first * 2 ** failures);
  return full / 2 + (full / 2) * chance;
}
