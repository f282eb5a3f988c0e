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

import { newBuffer } from '../protocol/buffers.ts';
import { ioArena } from '../protocol/websocket/mask.ts';

const KiB = 1024;

/** The most that one read takes. Of one connection, a turn sees no more than the input part holds. */
export const readBufferSize = 256 * KiB;
export const inputStart = readBufferSize;
export const inputEnd = inputStart + 768 * KiB;

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
  /** Of the server that it counts against while it is pinned. */
  owner: ArenaUse;
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
  return { bytes, start, end, used: start, pins: 0, isPersistent, owner };
}

/** A chunk outside the arena, for as long as someone refers to it: one large frame, or what a slow peer still has to get. */
export function newLastingChunk(owner: ArenaUse, size: number): Chunk {
  return newChunk(newBuffer(size), 0, true, owner);
}

/** A queue or a write refers to the chunk. */
export function pin(chunk: Chunk): void {
  if (chunk.pins++ === 0 && chunk.bytes !== ioArena) chunk.owner.held += chunk.bytes.length;
}

export function unpin(chunk: Chunk): void {
  if (--chunk.pins === 0 && chunk.bytes !== ioArena) chunk.owner.held -= chunk.bytes.length;
}

/** The part of a chunk's memory that each of those who pin it has. */
export function shareOfChunk({ bytes, pins }: Chunk): number {
  return bytes === ioArena ? 0 : bytes.length / Math.max(1, pins);
}

/** When all slots are pinned by slow peers, chunks outside the arena serve; each such peer pins what one turn had for it. */
const spareSize = 64 * 1024;

const free: Chunk[] = [];
for (let slot = slotCount - 1; slot >= 0; slot--) {
  const start = outputStart + slot * slotSize;
  free.push(newChunk(ioArena, start, false));
}

/** The chunk in use, the full ones of this turn, and those that were pinned when their turn ended. */
let current = free.pop() as Chunk;
const full: Chunk[] = [];
const pinned: Chunk[] = [];

/**
 * Finds room for `size` contiguous bytes, which the caller writes at `chunk.used` and then adds to it.
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
  if (!owner.isWriting) return;
  owner.isWriting = false;
  if (--outputArena.writers > 0) return;
  outputArena.epoch++;
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
