/**
 * What is to be sent to one connection, in order, as ranges of chunks. Most turns need one range: a range that starts
 * where the last one ended merely extends it.
 */

import { type ArenaUse, type Chunk, newLastingChunk, pin, shareOfChunk, unpin } from './arena.ts';

export interface Range {
  chunk: Chunk;
  start: number;
  end: number;
}

export interface OutgoingQueue {
  /** The newest range; `undefined` when the queue is empty. */
  chunk: Chunk | undefined;
  start: number;
  end: number;
  /** The ranges before it, oldest first. */
  earlier: Range[] | undefined;
  /** What the system was given and has not sent yet; it comes before all others. */
  inFlight: readonly Range[] | undefined;
  inFlightSize: number;
  /** Bytes in all of these. */
  size: number;
}

export function newQueue(): OutgoingQueue {
  return {
    chunk: undefined,
    start: 0,
    end: 0,
    earlier: undefined,
    inFlight: undefined,
    inFlightSize: 0,
    size: 0,
  };
}

export function appendRange(queue: OutgoingQueue, chunk: Chunk, start: number, end: number): void {
  queue.size += end - start;
  if (queue.chunk === chunk && queue.end === start) {
    queue.end = end;
    return;
  }
  if (queue.chunk !== undefined) {
    queue.earlier ??= [];
    queue.earlier.push({ chunk: queue.chunk, start: queue.start, end: queue.end });
  }
  // The turn's own chunks are not counted: no queue refers to them when the turn is over.
  if (chunk.isPersistent) pin(chunk);
  queue.chunk = chunk;
  queue.start = start;
  queue.end = end;
}

/** Empties the queue, but for what is in flight. */
export function clearQueue(queue: OutgoingQueue): void {
  if (queue.chunk?.isPersistent) unpin(queue.chunk);
  if (queue.earlier !== undefined) {
    for (const { chunk } of queue.earlier) if (chunk.isPersistent) unpin(chunk);
    queue.earlier = undefined;
  }
  queue.chunk = undefined;
  queue.size = queue.inFlightSize;
}

/** The system could not take all of `ranges` at once: their chunks are pinned until it has. */
export function putInFlight(queue: OutgoingQueue, ranges: readonly Range[]): void {
  queue.inFlight = ranges;
  queue.inFlightSize = 0;
  for (const { chunk, start, end } of ranges) {
    pin(chunk);
    queue.inFlightSize += end - start;
  }
  queue.size += queue.inFlightSize;
}

/** The system is done with them: sent, or given up. */
export function releaseInFlight(queue: OutgoingQueue): void {
  if (queue.inFlight === undefined) return;
  for (const { chunk } of queue.inFlight) unpin(chunk);
  queue.size -= queue.inFlightSize;
  queue.inFlight = undefined;
  queue.inFlightSize = 0;
}

/** All ranges, oldest first. */
export function queuedRanges(queue: OutgoingQueue): Range[] {
  const ranges = queue.earlier?.slice() ?? [];
  if (queue.chunk !== undefined) ranges.push({ chunk: queue.chunk, start: queue.start, end: queue.end });
  return ranges;
}

/** The queue's part of the memory that its ranges are in. */
export function shareOfQueue({ chunk, earlier, inFlight }: OutgoingQueue): number {
  let share = chunk === undefined ? 0 : shareOfChunk(chunk);
  for (const range of earlier ?? []) share += shareOfChunk(range.chunk);
  for (const range of inFlight ?? []) share += shareOfChunk(range.chunk);
  return share;
}

const keptSize = 16 * 1024;

/**
 * The turn ends and the socket takes nothing: moves what lies in the turn's chunks into memory of the queue's own, in
 * which later turns go on. A chunk that was made for one large frame is kept as it is, shared by all who are to get it.
 */
export function detachFromArena(queue: OutgoingQueue, arena: ArenaUse): void {
  const ranges = queuedRanges(queue);
  if (ranges.every(range => range.chunk.isPersistent)) return;
  clearQueue(queue);
  for (const range of ranges) {
    if (range.chunk.isPersistent) appendRange(queue, range.chunk, range.start, range.end);
    else copyRange(queue, range, arena);
  }
}

function copyRange(queue: OutgoingQueue, { chunk, start, end }: Range, arena: ArenaUse): void {
  const size = end - start;
  let kept = queue.chunk;
  if (kept === undefined || kept.used !== queue.end || kept.end - kept.used < size) {
    kept = newLastingChunk(arena, Math.max(size, keptSize));
  }
  const at = kept.used;
  kept.used += chunk.bytes.copy(kept.bytes, at, start, end);
  appendRange(queue, kept, at, kept.used);
}
