/**
 * A pool of buffers for long messages.
 *
 * The buffer of a message that arrives in pieces grows by doubling, so half of the memory allocated for it is garbage before
 * the message is complete, and Node may free that only a hundred megabytes later. The pool therefore keeps long buffers of a
 * few sizes for the next messages. Their bytes are not cleared.
 */
import { bufferPoolSize } from './limits.ts';

/** The bytes `[start, end)` of `bytes`. A reader advances `start` past the bytes that it has read. */
export interface ByteRange {
  bytes: Uint8Array;
  start: number;
  end: number;
}

/** Exponents of the pooled sizes: 64 KiB, below which allocation is cheap, to 64 MiB. */
const smallestPower = 16;
const largestPower = 26;

/** Shorter buffers have exactly the requested length and are not pooled. */
export const minLongBuffer = 2 ** (smallestPower - 1);

/** Added to each power of two, for what zlib appends to a message of that length. */
const zlibRoom = 64;

const MiB = 1024 * 1024;

/**
 * glibc uses mmap for a large block and unmaps it on free, but the first such free raises its threshold, up to 32 MiB.
 * Smaller blocks then come from the heap, which fragments: large buffers that come and go cost half as much memory again. A
 * block above 32 MiB is always unmapped. So a large buffer is the beginning of such a block; the rest is only address space,
 * because the system provides a page on its first write.
 */
const block = 33 * MiB;

/** V8 counts the whole block as garbage, which makes it collect too often for smaller buffers. */
const smallestInBlock = 4 * MiB;

/** A buffer with memory of its own, not part of Node's pool. */
export function newBuffer(size: number): Buffer {
  if (size < smallestInBlock || size > block) return Buffer.allocUnsafeSlow(size);
  return Buffer.from(Buffer.allocUnsafeSlow(block).buffer, 0, size);
}

const { port1: nowhere } = new MessageChannel();
nowhere.close();

/**
 * Frees a long buffer at once. V8 might free it hundreds of megabytes later. A message to a closed port frees the buffers
 * that it transfers. Newer versions of Node have `ArrayBuffer.prototype.transfer`.
 */
function release(buffer: Buffer): void {
  nowhere.postMessage(undefined, [buffer.buffer as ArrayBuffer]);
}

/** Buffers in the pool, and their total length. */
interface Pool {
  bytes: number;
  /** By power of two. The first list has all blocks, because each block serves any length. */
  readonly free: Buffer[][];
}

const newPool = (): Pool => ({ bytes: 0, free: Array.from({ length: largestPower + 1 }, () => []) });
const shorter = newPool();
/**
 * The length of a block in the pool is that of its longest message so far, because the system has provided that much memory. Each
 * new block makes V8 mark the heap: without the pool, ten times a second if large messages come and go.
 */
const blocks = newPool();

const hasBlock = (length: number) => length >= smallestInBlock && length <= block;

function isLong(size: number): boolean {
  return size >= minLongBuffer && size <= 2 ** largestPower + zlibRoom;
}

function powerFor(size: number): number {
  return Math.max(smallestPower, 32 - Math.clz32(size - zlibRoom - 1));
}

/** @returns a buffer of at least `size` bytes, which the caller owns until it calls `giveBuffer` */
export function takeBuffer(size: number): Buffer {
  if (!isLong(size)) return Buffer.allocUnsafe(size);
  const power = powerFor(size);
  const length = 2 ** power + zlibRoom;
  const [pool, list] = hasBlock(length) ? [blocks, 0] : [shorter, power];
  const found = pool.free[list]!.pop();
  if (found === undefined) return newBuffer(length);
  pool.bytes -= found.length;
  return found.length >= length ? found : Buffer.from(found.buffer, 0, length);
}

/**
 * Grows a buffer to at least `size` bytes, keeping its first `used` bytes. A large buffer grows in place within its block.
 */
export function enlarge(buffer: Buffer, used: number, size: number): Buffer {
  if (buffer.buffer.byteLength === block && isLong(size)) {
    const length = 2 ** powerFor(size) + zlibRoom;
    if (length <= block) return Buffer.from(buffer.buffer, 0, length);
  }
  const larger = takeBuffer(size);
  buffer.copy(larger, 0, 0, used);
  giveBuffer(buffer);
  return larger;
}

/** The memory of buffers that queues refer to. */
const kept = new WeakSet<ArrayBufferLike>();

/** Something refers to the buffer for as long as it likes: `giveBuffer` ignores it from now on. */
export function keepBuffer(buffer: Buffer): void {
  kept.add(buffer.buffer);
}

/**
 * Returns a buffer to the pool. No reference to it may remain, unless it is kept. Buffers from elsewhere are ignored; giving
 * back a view of a large block gives back the whole block.
 */
export function giveBuffer(buffer: Buffer): void {
  const { length } = buffer;
  const { byteLength } = buffer.buffer;
  if (length >= minLongBuffer && kept.has(buffer.buffer)) return;
  const power = 31 - Math.clz32(length);
  const isOurs =
    power >= smallestPower &&
    power <= largestPower &&
    length === 2 ** power + zlibRoom &&
    (byteLength === length || byteLength === block);
  const [pool, list] = byteLength === block ? [blocks, 0] : [shorter, power];
  if (isOurs && pool.bytes + length <= bufferPoolSize) {
    pool.free[list]!.push(buffer);
    pool.bytes += length;
  } else if (isOurs || byteLength === block) {
    release(buffer);
  }
}
