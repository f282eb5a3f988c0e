/**
 * The word of `known` that `word` is most likely a slip of: the one with the fewest edits, if those are at most a third
 * of what was typed. undefined when none is that near.
 */
export function nearest(word: string, known: Iterable<string>): string | undefined {
  let fewest = Math.floor(word.length / 3);
  let best: string | undefined;
  for (const candidate of known) {
    // Length alone rules most out, which also keeps the work small however long `word` is.
    if (Math.abs(candidate.length - word.length) > fewest) continue;
    const edits = editDistance(word, candidate);
    if (edits < fewest || (edits === fewest && best === undefined)) {
      fewest = edits;
      best = candidate;
    }
  }
  return best;
}

/**
 * Insertions, deletions, replacements and swaps of neighbours that lead from `a` to `b` ("optimal string alignment").
 * Takes time in proportion to the product of the lengths.
 */
export function editDistance(a: string, b: string): number {
  let beforeLast: number[] = [];
  let last = Array.from({ length: b.length + 1 }, (_, column) => column);
  for (let row = 1; row <= a.length; row++) {
    const current = [row];
    for (let column = 1; column <= b.length; column++) {
      const replaced = last[column - 1]! + (a[row - 1] === b[column - 1] ? 0 : 1);
      let edits = Math.min(replaced, last[column]! + 1, current[column - 1]! + 1);
      if (row > 1 && column > 1 && a[row - 1] === b[column - 2] && a[row - 2] === b[column - 1]) {
        edits = Math.min(edits, beforeLast[column - 2]! + 1);
      }
      current.push(edits);
    }
    beforeLast = last;
    last = current;
  }
  return last[b.length]!;
}
