/** How the client's work ends: what the shell is told, and what is said on stderr. */
import { withDots } from '../log/printable.ts';

/** Exit codes; `--help` lists them. */
export const ExitCode = {
  Done: 0,
  Failed: 1,
  Usage: 2,
  /** Nothing listens at the address. */
  NoServer: 3,
  /** The server answered the handshake with another status than 101. */
  Refused: 4,
  /** Closed with another code than 1000, 1001 or 1005, or lost (1006). */
  Closed: 5,
  TimedOut: 6,
  /** The server broke the protocol, or a bound such as --max-message. */
  ProtocolError: 7,
} as const;

export interface Outcome {
  readonly exit: number;
  /** For stderr, printable; empty where there is nothing to say. */
  readonly sentence: string;
  /** Whether dialing again may go better. */
  readonly isRetryable: boolean;
}

export const done: Outcome = { exit: ExitCode.Done, sentence: '', isRetryable: false };

export function outcome(exit: number, sentence: string, isRetryable = false): Outcome {
  return { exit, sentence: terminalSafe(sentence), isRetryable };
}

/** What a server sent, as it may be shown in a terminal: nothing in it is taken for a command. */
export function terminalSafe(text: string): string {
  return withDots(text, '\n\t');
}

/** Milliseconds as people read them: `500ms`, `2s`. */
export function showTime(milliseconds: number): string {
  return milliseconds < 1000 ? `${Math.round(milliseconds)}ms` : `${Math.round(milliseconds / 100) / 10}s`;
}
