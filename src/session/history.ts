/** What a room remembers: its last messages, as `nick: text`, oldest first. */
import { maxHistoryBytes } from '../protocol/bounds.ts';

/** At most so many messages, and so many bytes of them. */
export interface HistoryBound {
  readonly messages: number;
  readonly bytes: number;
}

export interface History {
  readonly bound: HistoryBound;
  /** Those from `first` on are remembered. */
  lines: Buffer[];
  first: number;
  bytes: number;
}

export function newHistory({ messages, bytes }: HistoryBound): History {
  return { bound: { messages, bytes: Math.min(bytes, maxHistoryBytes) }, lines: [], first: 0, bytes: 0 };
}

/** The line is the history's from now on. */
export function remember(history: History, line: Buffer): void {
  const { bound, lines } = history;
  if (bound.messages === 0) return;
  lines.push(line);
  history.bytes += line.length;
  while (lines.length - history.first > bound.messages || history.bytes > bound.bytes) {
    history.bytes -= lines[history.first]!.length;
    lines[history.first++] = nothing;
  }
  // The forgotten are cleared away once they are as many as the others: a few moves a message, however long it goes on.
  if (history.first > lines.length / 2) {
    history.lines = lines.slice(history.first);
    history.first = 0;
  }
}

const nothing = Buffer.alloc(0);

export function isEmptyHistory(history: History): boolean {
  return history.lines.length === history.first;
}

export function* remembered(history: History): Generator<Buffer> {
  for (let at = history.first; at < history.lines.length; at++) yield history.lines[at]!;
}
