/** How the client ends: its exit code, and a sentence for stderr. */
import { withDots } from '../log/printable.ts';

/** Exit codes; `--help` lists them. */
export const ExitCode = {
  Done: 0,
  Failed: 1,
  Usage: 2,
  /** No server listens at the address. */
  NoServer: 3,
  /** The server answered the handshake with a status other than 101. */
  Refused: 4,
  /** Closed with a code other than 1000, 1001 or 1005, or lost (1006). */
  Closed: 5,
  TimedOut: 6,
  /** The server violated the protocol, or a limit such as --max-message. */
  ProtocolError: 7,
} as const;

export interface Outcome {
  readonly exit: number;
  /** For stderr: one line, safe for a terminal; empty if there is nothing to report. */
  readonly sentence: string;
  /** Whether dialing again may succeed. */
  readonly isRetryable: boolean;
}

export const done: Outcome = { exit: ExitCode.Done, sentence: '', isRetryable: false };

export function outcome(exit: number, sentence: string, isRetryable = false): Outcome {
  // The sentence may quote the server, which must not add a line of its own.
  return { exit, sentence: withDots(sentence, ''), isRetryable };
}

/** Text from a server, without characters that a terminal would interpret. */
export function terminalSafe(text: string): string {
  return withDots(text, '\n\t');
}

/** Formats milliseconds for people: `500ms`, `2s`. */
export function showDuration(milliseconds: number): string {
  return milliseconds < 1000 ? `${Math.round(milliseconds)}ms` : `${Math.round(milliseconds / 100) / 10}s`;
}
