/** Exit codes of the server and of commands. */
export const Exit = { Done: 0, Failed: 1, Usage: 2, NoServer: 3 } as const;

/** A mistake in how the program or a command was called: one sentence for stderr, exit code 2. */
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

/** `value` for a message: quoted, control characters escaped, truncated. */
export function quoted(value: unknown): string {
  const text = JSON.stringify(value) ?? String(value);
  return text.length > longestQuote ? `${text.slice(0, longestQuote)}...` : text;
}

/**
 * The closest spelling in `known`: the word with the fewest edits, at most one per three letters typed. undefined if none is
 * that close.
 */
export function nearest(word: string, known: Iterable<string>): string | undefined {
  let fewest = Math.floor(word.length / 3);
  let best: string | undefined;
  for (const candidate of known) {
    // Length alone excludes most candidates, which limits the work for a long `word`.
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
 * The number of insertions, deletions, replacements and swaps of neighbours that turn `a` into `b` ("optimal string
 * alignment"). Takes O(a × b) time.
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
