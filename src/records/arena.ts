/**
 * The I/O arena: all bytes of a turn, in and out, live in one block of memory, which `unmask` is fastest in, and in which bytes
 * move without a view (`copyWithin`).
 *
 *     read buffer   every socket reads into it; the bytes are moved away before the next one reads
 *     input         what arrived since the last turn, connection after connection (poll.ts)
 *     output        the frames that this turn sends, in slots
 *
 * The output part is a bump allocator over chunks: a frame is written once, however many connections it goes to, and their
 * queues hold ranges of it. At the end of the turn, when every socket has been given its ranges, a chunk whose bytes are
 * all with the kernel is used again. A socket that could not take everything at once still reads from its chunk (`pins`):
 * that chunk is left alone until the write is complete.
 */

import { giveBuffer, keepBuffer, newBuffer } from '../protocol/buffers.ts';
import { ioArena } from '../protocol/websocket/mask.ts';

const KiB = 1024;

/** The most that one read takes. A turn reads at most the input part from one connection. */
export const readBufferSize = 256 * KiB;
export const inputStart = readBufferSize;
export const inputEnd = inputStart + 2304 * KiB;

export const outputStart = inputEnd;
export const slotSize = 256 * KiB;
export const slotCount = Math.floor((ioArena.length - outputStart) / slotSize);

export interface Chunk {
  readonly bytes: Buffer;
  /** The range of `bytes` that is this chunk's. */
  readonly start: number;
  readonly end: number;
  /** The next free byte. */
  used: number;
  /** Writes of the system that still read from it and, of a lasting chunk, the ranges that queues have of it. */
  pins: number;
  /** Never used again for other bytes: a queue may hold ranges of it for as long as it likes. */
  readonly isPersistent: boolean;
  /** Its buffer returns to the pool when the last reference to the chunk is gone. */
  isRecyclable: boolean;
  /** The server's record that is charged for the chunk while it is pinned. */
  owner: ArenaUse;
  /** The copy of a part for slow recipients, in this turn: those of one fan-out share it. */
  copied: CopiedRange | undefined;
}

/** A copy of `[start, end)` of a chunk. */
interface CopiedRange {
  readonly start: number;
  readonly end: number;
  readonly copy: Chunk;
}

/** What one server has in the arena, which all servers of the process share. */
export interface ArenaUse {
  /** Bytes of chunks outside the arena that its queues or writes refer to. */
  held: number;
  /** It wrote frames since its last flush: until the next one the arena's bytes stay. */
  isWriting: boolean;
}

export function newArenaUse(): ArenaUse {
  return { held: 0, isWriting: false };
}

/** The arena as the servers of the process share it. */
export const outputArena = {
  /** Servers that wrote frames since their last flush. */
  writers: 0,
  /** Counts the resets. Until the next one the bytes of a chunk in use stay as they are. */
  epoch: 0,
};

const nobody = newArenaUse();

function newChunk(bytes: Buffer, start: number, isPersistent: boolean, owner = nobody): Chunk {
  const end = isPersistent || bytes !== ioArena ? bytes.length : start + slotSize;
  return {
    bytes,
    start,
    end,
    used: start,
    pins: 0,
    isPersistent,
    isRecyclable: false,
    owner,
    copied: undefined,
  };
}

/** A chunk outside the arena, for as long as someone refers to it: one large frame, or what a slow peer still has to get. */
export function newLastingChunk(owner: ArenaUse, size: number): Chunk {
  return newChunk(newBuffer(size), 0, true, owner);
}

/**
 * A chunk over the buffer of a message, which is immutable from now on: queues refer to its bytes instead of copying them.
 * @param isOwn whether nothing else refers to the buffer
 */
export function newKeptChunk(owner: ArenaUse, bytes: Buffer, isOwn: boolean): Chunk {
  if (!isOwn) keepBuffer(bytes);
  const chunk = newChunk(bytes, 0, true, owner);
  chunk.isRecyclable = isOwn;
  return chunk;
}

/** Recyclable chunks without references. A queue may refer to one again before the writes of the turn are done. */
const unused: Chunk[] = [];

/** Leaves the chunk to the garbage collector: it may be read after the last reference to it is gone. */
export function keepForever(chunk: Chunk): void {
  chunk.isRecyclable = false;
}

function recycleUnused(): void {
  for (const chunk of unused) {
    if (chunk.pins > 0 || !chunk.isRecyclable) continue;
    chunk.isRecyclable = false;
    giveBuffer(chunk.bytes);
  }
  unused.length = 0;
}

/** A queue or a write refers to the chunk. */
export function pin(chunk: Chunk): void {
  if (chunk.pins++ === 0 && chunk.bytes !== ioArena) chunk.owner.held += chunk.bytes.length;
}

export function unpin(chunk: Chunk): void {
  if (--chunk.pins > 0 || chunk.bytes === ioArena) return;
  chunk.owner.held -= chunk.bytes.length;
  if (chunk.isRecyclable) unused.push(chunk);
}

/** The part of a chunk's memory that each of those who pin it has. */
export function shareOfChunk({ bytes, pins }: Chunk): number {
  return bytes === ioArena ? 0 : bytes.length / Math.max(1, pins);
}

/** When all slots are pinned by slow peers, chunks outside the arena are used instead; each such peer pins what one turn had for it. */
const spareSize = 64 * 1024;

const free: Chunk[] = [];
for (let slot = slotCount - 1; slot >= 0; slot--) {
  const start = outputStart + slot * slotSize;
  free.push(newChunk(ioArena, start, false));
}

/** The chunk in use, the full chunks of this turn, and chunks that were pinned when their turn ended. */
let current = free.pop() as Chunk;
const full: Chunk[] = [];
const pinned: Chunk[] = [];

/**
 * Finds room for `size` contiguous bytes, which the caller writes at `chunk.used`, and then advances that.
 */
export function reserve(owner: ArenaUse, size: number): Chunk {
  if (!owner.isWriting) {
    owner.isWriting = true;
    outputArena.writers++;
  }
  if (current.end - current.used >= size) return current;
  if (
    size > spareSize &&
    (size > slotSize || free.length === 0 || free[free.length - 1]!.bytes !== ioArena)
  ) {
    return newLastingChunk(owner, size);
  }
  full.push(current);
  current = free.pop() ?? newChunk(Buffer.allocUnsafeSlow(spareSize), 0, false);
  current.owner = owner;
  return current;
}

/** The server's writes are done: makes room for the next turn's, unless another server has unsent frames in the arena. */
export function resetOutputArena(owner: ArenaUse): void {
  if (pinned.length > 0) reclaimUnpinned();
  if (unused.length > 0) recycleUnused();
  if (!owner.isWriting) return;
  owner.isWriting = false;
  if (--outputArena.writers > 0) return;
  outputArena.epoch++;
  current.copied = undefined;
  if (full.length === 0 && current.pins === 0) {
    current.used = current.start;
    return;
  }
  full.push(current);
  for (const chunk of full) {
    chunk.copied = undefined;
    if (chunk.pins > 0) pinned.push(chunk);
    else recycle(chunk);
  }
  full.length = 0;
  current = free.pop() ?? newChunk(Buffer.allocUnsafeSlow(spareSize), 0, false);
}

/** Takes back what slow sockets are done with. */
function reclaimUnpinned(): void {
  let kept = 0;
  for (const chunk of pinned) {
    if (chunk.pins > 0) pinned[kept++] = chunk;
    else recycle(chunk);
  }
  pinned.length = kept;
}

function recycle(chunk: Chunk): void {
  chunk.used = chunk.start;
  // Of those outside the arena one is kept; the others are garbage.
  if (chunk.bytes === ioArena) free.push(chunk);
  else if (free.length === 0) free.push(chunk);
}

// Queues: what waits for one connection, in order, as ranges of chunks. Most turns need one range: a range that begins where
// the last one ended extends it.

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
  /** Ranges passed to the system and not sent yet; they precede all others. */
  inFlight: readonly Range[] | undefined;
  inFlightSize: number;
  /** Bytes in all of these. */
  size: number;
  /** The queue's own memory, with room for copies of short ranges. */
  own: Chunk | undefined;
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
    own: undefined,
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
  queue.own = undefined;
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

/**
 * The sizes of a queue's own chunks: each is twice as long as the one before. Thousands of clients may be behind by a few short
 * frames each, and one by many.
 */
const smallestOwn = 512;
const largestOwn = 16 * 1024;

/**
 * The socket is busy at the end of the turn: copies the ranges in the turn's chunks. Queues share the copy of a long range, such as
 * a fan-out's; a short one goes into memory of the queue, to which later turns append. A chunk of one large frame is not copied.
 */
export function detachFromArena(queue: OutgoingQueue, arena: ArenaUse): void {
  const ranges = queuedRanges(queue);
  if (ranges.every(range => range.chunk.isPersistent)) return;
  const { own } = queue;
  clearQueue(queue);
  queue.own = own;
  for (const range of ranges) {
    if (range.chunk.isPersistent) appendRange(queue, range.chunk, range.start, range.end);
    else copyRange(queue, range, arena);
  }
}

/** Shorter ranges are copied into the queue's own memory, where later turns append: sharing them would make many ranges. */
const sharedCopySize = 4 * 1024;

function copyRange(queue: OutgoingQueue, { chunk, start, end }: Range, arena: ArenaUse): void {
  const size = end - start;
  if (size >= sharedCopySize) {
    const { start: from, copy } = sharedCopy(chunk, start, end, arena);
    appendRange(queue, copy, start - from, end - from);
    return;
  }
  let { own } = queue;
  if (own === undefined || own.end - own.used < size) {
    const length = own === undefined ? smallestOwn : Math.min(2 * own.bytes.length, largestOwn);
    own = newLastingChunk(arena, Math.max(size, length));
    queue.own = own;
  }
  const at = own.used;
  own.used += chunk.bytes.copy(own.bytes, at, start, end);
  appendRange(queue, own, at, own.used);
}

/** Another queue's copy of this turn, if it has these bytes; otherwise a new one. */
function sharedCopy(chunk: Chunk, start: number, end: number, arena: ArenaUse): CopiedRange {
  const { copied } = chunk;
  if (copied !== undefined && copied.start <= start && end <= copied.end) return copied;
  const copy = newLastingChunk(arena, end - start);
  chunk.bytes.copy(copy.bytes, 0, start, end);
  // Marked as full: no queue may append to a shared chunk.
  copy.used = copy.end;
  chunk.copied = { start, end, copy };
  return chunk.copied;
}
