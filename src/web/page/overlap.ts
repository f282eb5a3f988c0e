/** Finds the place where a history from the server continues the lines on the page. */

export interface Overlap {
  /** history[0 .. before) precedes everything shown. */
  readonly before: number;
  /** history[from ..] follows everything shown; the lines in between are shown already. */
  readonly from: number;
}

/** Fewer equal lines than this may be chance, unless they are the last ones shown: people write "ok" more than once. */
const minCertainRun = 3;

/**
 * Both lists are parts of one conversation. Usually the history starts within the shown lines and continues after them. A server
 * that was killed may have lost the last lines, and one without `--data` has lost all of them.
 */
export function findOverlap(shown: readonly string[], history: readonly string[]): Overlap {
  let longest = 0;
  let overlap: Overlap = { before: 0, from: 0 };
  // Tries each offset: the history's first line would be shown[first]; if negative, the history starts earlier.
  for (let first = 1 - history.length; first < shown.length; first++) {
    const start = Math.max(0, first);
    const end = Math.min(shown.length, first + history.length);
    let at = start;
    while (at < end && shown[at] === history[at - first]) at++;
    const length = at - start;
    const isSure = at === shown.length || length >= minCertainRun;
    if (length === 0 || !isSure || length < longest) continue;
    longest = length;
    overlap = { before: Math.max(0, -first), from: at - first };
  }
  return overlap;
}
