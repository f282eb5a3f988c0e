/** Exit codes of the server and of commands: 0 done, 1 failed, 2 usage, 3 no server that runs. */
export const Exit = { Done: 0, Failed: 1, Usage: 2, NoServer: 3 } as const;

/** What is wrong with how the program was started: one sentence for stderr, exit code 2. */
export class UsageError extends Error {
  constructor(sentence: string) {
    super(sentence);
    this.name = 'UsageError';
  }
}

const longestQuote = 80;

/** The error for a value that is missing or invalid. @param label how messages call the option: `--port`, `PORT` */
export function invalidValue(label: string, expected: string, raw: unknown): UsageError {
  return new UsageError(
    raw === undefined || raw === ''
      ? `${label} needs a value: ${expected}`
      : `${label} must be ${expected}, not ${quoted(raw)}`,
  );
}

/** `value` as it may stand in a message: quoted, control characters escaped, cut when long. */
export function quoted(value: unknown): string {
  const text = JSON.stringify(value) ?? String(value);
  return text.length > longestQuote ? `${text.slice(0, longestQuote)}...` : text;
}

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
