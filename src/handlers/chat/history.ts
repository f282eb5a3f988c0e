/** A room's history in memory: its last messages, oldest first. */

import { maxHistoryBytes, maxHistoryMessages } from '../../protocol/limits.ts';
import type { MemoryUse } from '../../records/records.ts';

/** The largest number of messages, and of bytes. */
export interface HistoryBound {
  readonly messages: number;
  readonly bytes: number;
}

export interface HistoryEntry {
  /** `nick: text` */
  readonly line: Buffer;
  /** Milliseconds since the epoch. */
  readonly time: number;
}

export interface History {
  bound: HistoryBound;
  /** The history begins at `first`; entries before it are forgotten. */
  entries: HistoryEntry[];
  first: number;
  bytes: number;
  /** The server's total, which includes this history. */
  readonly memory: Pick<MemoryUse, 'histories'>;
}

/** The memory of an entry besides its bytes: a Buffer object, the record, and a slot in the array. */
const lineMemory = 128;

export function newHistory(bound: HistoryBound, memory: Pick<MemoryUse, 'histories'>): History {
  return { bound: clampBound(bound), entries: [], first: 0, bytes: 0, memory };
}

function clampBound({ messages, bytes }: HistoryBound): HistoryBound {
  return { messages: Math.min(messages, maxHistoryMessages), bytes: Math.min(bytes, maxHistoryBytes) };
}

/** Drops the messages beyond the new bound. */
export function setHistoryBound(history: History, bound: HistoryBound): void {
  history.bound = clampBound(bound);
  forgetBeyondBound(history);
}

/** Appends a message. The history takes over `line`: the caller must not change it. */
export function appendToHistory(history: History, line: Buffer, time: number): void {
  if (history.bound.messages === 0) return;
  history.entries.push({ line, time });
  history.bytes += line.length;
  history.memory.histories += line.length + lineMemory;
  forgetBeyondBound(history);
}

/** The memory of the history in bytes. */
export function historyMemory({ entries, first, bytes }: History): number {
  return bytes + (entries.length - first) * lineMemory;
}

/** Drops the older half. */
export function forgetOlderHalf(history: History): void {
  forgetMany(history, Math.ceil((history.entries.length - history.first) / 2));
}

export function clearHistory(history: History): void {
  forgetMany(history, history.entries.length - history.first);
}

function forgetBeyondBound(history: History): void {
  const { bound, entries } = history;
  while (entries.length - history.first > bound.messages || history.bytes > bound.bytes)
    forgetOldest(history);
  compact(history);
}

function forgetMany(history: History, count: number): void {
  for (let left = count; left > 0; left--) forgetOldest(history);
  compact(history);
}

function forgetOldest(history: History): void {
  const { length } = history.entries[history.first]!.line;
  history.bytes -= length;
  history.memory.histories -= length + lineMemory;
  history.entries[history.first++] = forgotten;
}

function compact(history: History): void {
  // Compact when half of the entries are forgotten: on average each message is moved a few times.
  if (history.first > history.entries.length / 2) {
    history.entries = history.entries.slice(history.first);
    history.first = 0;
  }
}

const forgotten: HistoryEntry = { line: Buffer.alloc(0), time: 0 };

export function isHistoryEmpty(history: History): boolean {
  return history.entries.length === history.first;
}

export function* historyEntries(history: History): Generator<HistoryEntry> {
  for (let at = history.first; at < history.entries.length; at++) yield history.entries[at]!;
}
