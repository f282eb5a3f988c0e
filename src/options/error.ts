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
