/** Where the history that a server sends continues what is already shown. */

export interface Overlap {
  /** logged[0 .. before) comes before all that is shown. */
  readonly before: number;
  /** logged[from ..] comes behind all that is shown; what lies between is shown already. */
  readonly from: number;
}

/**
 * Fewer equal lines than this may be chance, where they are not the last that are shown: people say "ok" more than once.
 */
const surelyTheSame = 3;

/**
 * Both lists are stretches of one conversation. Mostly the history begins within what is shown and goes on behind its
 * end. A server that was ended by force may have lost the last lines, and one that keeps nothing has lost all of them.
 */
export function findOverlap(shown: readonly string[], logged: readonly string[]): Overlap {
  let longest = 0;
  let overlap: Overlap = { before: 0, from: 0 };
  // The history's first line would be shown[first]; where it is negative, the history begins earlier.
  for (let first = 1 - logged.length; first < shown.length; first++) {
    const start = Math.max(0, first);
    const end = Math.min(shown.length, first + logged.length);
    let at = start;
    while (at < end && shown[at] === logged[at - first]) at++;
    const length = at - start;
    const isSure = at === shown.length || length >= surelyTheSame;
    if (length === 0 || !isSure || length < longest) continue;
    longest = length;
    overlap = { before: Math.max(0, -first), from: at - first };
  }
  return overlap;
}
