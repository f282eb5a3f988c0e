/**
 * The outgoing arena: where a frame is written once, however many connections it goes to. Their queues hold ranges of it.
 *
 * It is a bump allocator over chunks. At the end of the turn, when every socket has been given its ranges, a chunk whose
 * bytes are all with the kernel is used again. A socket that could not take all at once still reads from its chunk
 * (`pins`): that chunk is left alone until the socket is done.
 */
import { newBuffer } from '../protocol/buffers.ts';
import { ioArena } from '../protocol/websocket/mask.ts';
import { outputStart, slotCount, slotSize } from './regions.ts';

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
}

function newChunk(bytes: Buffer, start: number, end: number, isPersistent: boolean): Chunk {
  return { bytes, start, end, used: start, pins: 0, isPersistent };
}

/** A chunk outside the arena, for as long as someone refers to it: one large frame, or what a slow peer still has to get. */
export function newLastingChunk(size: number): Chunk {
  return newChunk(newBuffer(size), 0, size, true);
}

/** Bytes of chunks outside the turn's memory that queues or writes refer to. All servers of the process share the arena. */
export const outputMemory = { held: 0 };

/** A queue or a write refers to the chunk. */
export function pin(chunk: Chunk): void {
  if (chunk.pins++ === 0 && chunk.bytes !== ioArena) outputMemory.held += chunk.bytes.length;
}

export function unpin(chunk: Chunk): void {
  if (--chunk.pins === 0 && chunk.bytes !== ioArena) outputMemory.held -= chunk.bytes.length;
}

/** The part of a chunk's memory that each of those who pin it has. */
export function shareOfChunk({ bytes, pins }: Chunk): number {
  return bytes === ioArena ? 0 : bytes.length / Math.max(1, pins);
}

/** When all slots are pinned by slow peers, chunks outside the turn's memory serve; each such peer pins what one turn had for it. */
const spareSize = 64 * 1024;

const free: Chunk[] = [];
for (let slot = slotCount - 1; slot >= 0; slot--) {
  const start = outputStart + slot * slotSize;
  free.push(newChunk(ioArena, start, start + slotSize, false));
}

/** The chunk in use, the full ones of this turn, and those that were pinned when their turn ended. */
let current = free.pop() as Chunk;
const full: Chunk[] = [];
const pinned: Chunk[] = [];

/**
 * Finds room for `size` contiguous bytes, which the caller writes at `chunk.used` and then adds to it.
 */
export function reserve(size: number): Chunk {
  if (current.end - current.used >= size) return current;
  if (
    size > spareSize &&
    (size > slotSize || free.length === 0 || free[free.length - 1]!.bytes !== ioArena)
  ) {
    return newLastingChunk(size);
  }
  full.push(current);
  current = free.pop() ?? newChunk(Buffer.allocUnsafeSlow(spareSize), 0, spareSize, false);
  return current;
}

/** The turn's writes are done: makes room for the next one's. */
export function resetOutputArena(): void {
  if (pinned.length > 0) unpinned();
  if (full.length === 0 && current.pins === 0) {
    current.used = current.start;
    return;
  }
  full.push(current);
  for (const chunk of full) {
    if (chunk.pins > 0) pinned.push(chunk);
    else recycle(chunk);
  }
  full.length = 0;
  current = free.pop() ?? newChunk(Buffer.allocUnsafeSlow(spareSize), 0, spareSize, false);
}

/** Takes back what slow sockets are done with. */
function unpinned(): void {
  let kept = 0;
  for (const chunk of pinned) {
    if (chunk.pins > 0) pinned[kept++] = chunk;
    else recycle(chunk);
  }
  pinned.length = kept;
}

function recycle(chunk: Chunk): void {
  chunk.used = chunk.start;
  // Of those outside the turn's memory one is kept; the others are garbage.
  if (chunk.bytes === ioArena) free.push(chunk);
  else if (free.length === 0) free.push(chunk);
}
