/** What a room remembers: its last messages, oldest first. */
import { type MemoryUse, newMemoryUse } from '../../core/memory.ts';
import { maxHistoryBytes, maxHistoryMessages } from '../../protocol/limits.ts';

/** At most so many messages, and so many bytes of them. */
export interface HistoryBound {
  readonly messages: number;
  readonly bytes: number;
}

export interface Remembered {
  /** `nick: text` */
  readonly line: Buffer;
  /** When it was said, in milliseconds since the epoch. */
  readonly time: number;
}

export interface History {
  bound: HistoryBound;
  /** Those from `first` on are remembered. */
  lines: Remembered[];
  first: number;
  bytes: number;
  /** The sum that this history counts in. */
  readonly memory: MemoryUse;
}

/** What a line takes besides its bytes: a Buffer object, the record with its time, and a place in the list. */
const lineMemory = 128;

export function newHistory(bound: HistoryBound, memory: MemoryUse = newMemoryUse()): History {
  return { bound: withinMemory(bound), lines: [], first: 0, bytes: 0, memory };
}

function withinMemory({ messages, bytes }: HistoryBound): HistoryBound {
  return { messages: Math.min(messages, maxHistoryMessages), bytes: Math.min(bytes, maxHistoryBytes) };
}

/** Forgets the messages beyond the new bound. A larger bound brings none back. */
export function setBound(history: History, bound: HistoryBound): void {
  history.bound = withinMemory(bound);
  forget(history);
}

/** Appends a message. The history keeps `line`; the caller must not write to it afterwards. */
export function remember(history: History, line: Buffer, time: number): void {
  if (history.bound.messages === 0) return;
  history.lines.push({ line, time });
  history.bytes += line.length;
  history.memory.histories += line.length + lineMemory;
  forget(history);
}

/** Bytes of memory that the history takes. */
export function historyMemory({ lines, first, bytes }: History): number {
  return bytes + (lines.length - first) * lineMemory;
}

/** Forgets the older half, or everything. */
export function forgetOldest(history: History, everything = false): void {
  const count = history.lines.length - history.first;
  for (let left = everything ? count : Math.ceil(count / 2); left > 0; left--) forgetFirst(history);
  clearForgotten(history);
}

function forget(history: History): void {
  const { bound, lines } = history;
  while (lines.length - history.first > bound.messages || history.bytes > bound.bytes) forgetFirst(history);
  clearForgotten(history);
}

function forgetFirst(history: History): void {
  const { length } = history.lines[history.first]!.line;
  history.bytes -= length;
  history.memory.histories -= length + lineMemory;
  history.lines[history.first++] = nothing;
}

function clearForgotten(history: History): void {
  // Forgotten entries are cleared away once they are as many as the others, which is a few moves a message.
  if (history.first > history.lines.length / 2) {
    history.lines = history.lines.slice(history.first);
    history.first = 0;
  }
}

const nothing: Remembered = { line: Buffer.alloc(0), time: 0 };

export function isEmptyHistory(history: History): boolean {
  return history.lines.length === history.first;
}

export function* remembered(history: History): Generator<Remembered> {
  for (let at = history.first; at < history.lines.length; at++) yield history.lines[at]!;
}
