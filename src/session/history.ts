/** What a room remembers: its last messages, as `nick: text`, oldest first. */
import { maxHistoryBytes } from '../protocol/bounds.ts';

/** At most so many messages, and so many bytes of them. */
export interface HistoryBound {
  readonly messages: number;
  readonly bytes: number;
}

export interface History {
  bound: HistoryBound;
  /** Those from `first` on are remembered. */
  lines: Buffer[];
  first: number;
  bytes: number;
}

export function newHistory(bound: HistoryBound): History {
  return { bound: withinMemory(bound), lines: [], first: 0, bytes: 0 };
}

function withinMemory({ messages, bytes }: HistoryBound): HistoryBound {
  return { messages, bytes: Math.min(bytes, maxHistoryBytes) };
}

/** What is too much for the new bound is forgotten; what was forgotten before does not come back. */
export function setBound(history: History, bound: HistoryBound): void {
  history.bound = withinMemory(bound);
  forget(history);
}

/** The line is the history's from now on. */
export function remember(history: History, line: Buffer): void {
  if (history.bound.messages === 0) return;
  history.lines.push(line);
  history.bytes += line.length;
  forget(history);
}

function forget(history: History): void {
  const { bound, lines } = history;
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
