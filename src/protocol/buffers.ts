/**
 * Buffers for long messages, used again and again.
 *
 * A message that arrives in pieces grows by doubling, so half of what is allocated for it is garbage before it is whole,
 * and Node frees garbage of this kind only when its collector runs: often a hundred megabytes later. So long buffers come
 * in few sizes, and one that is given back serves the next message. Their bytes are not cleared.
 */
import { bufferPoolSize } from './limits.ts';

/** The bytes `[start, end)` of `bytes`. A reader of such a range advances `start` past what it has read. */
export interface ByteRange {
  bytes: Uint8Array;
  start: number;
  end: number;
}

/** Powers of two: from 64 KiB, below which allocating is cheap, to 64 MiB. */
const smallest = 16;
const largest = 26;

/** Shorter buffers are as long as was asked for, and not used again. */
export const longBuffer = 2 ** (smallest - 1);

/** Each is a little longer than a power of two: room for what zlib appends to a message of that length. */
const extra = 64;

const MiB = 1024 * 1024;

/**
 * glibc maps memory of its own for a large block and returns it to the system when the block is freed, but the first such
 * free raises the size at which it does that, up to 32 MiB. Smaller blocks come from its heap from then on, which keeps
 * the gaps between them: a server whose large buffers come and go takes half as much memory again as it uses. A block
 * above 32 MiB is always returned. So a large buffer is the beginning of such a block. The rest is no more than address
 * space: the system provides a page when it is first written.
 */
const block = 33 * MiB;

/** V8 collects garbage by the size of whole blocks, which a smaller buffer is not worth. */
const smallestInBlock = 4 * MiB;

/** A buffer with memory of its own. */
export function newBuffer(size: number): Buffer {
  if (size < smallestInBlock || size > block) return Buffer.allocUnsafeSlow(size);
  return Buffer.from(Buffer.allocUnsafeSlow(block).buffer, 0, size);
}

const { port1: nowhere } = new MessageChannel();
nowhere.close();

/**
 * Frees a large buffer now: V8 may collect it hundreds of megabytes later. A message to a closed port takes the memory of
 * the buffers that it transfers with it. Newer Nodes have `ArrayBuffer.prototype.transfer` for this.
 */
function release(buffer: Buffer): void {
  nowhere.postMessage(undefined, [buffer.buffer as ArrayBuffer]);
}

const free: Buffer[][] = Array.from({ length: largest + 1 }, () => []);
/** Bytes in all of these: at most `bufferPoolSize`. */
let freeBytes = 0;

function isLong(size: number): boolean {
  return size >= longBuffer && size <= 2 ** largest + extra;
}

function powerFor(size: number): number {
  return Math.max(smallest, 32 - Math.clz32(size - extra - 1));
}

/** @returns a buffer of at least `size` bytes, the caller's until it is given back, or for good */
export function takeBuffer(size: number): Buffer {
  if (!isLong(size)) return Buffer.allocUnsafe(size);
  const power = powerFor(size);
  const found = free[power]!.pop();
  if (found === undefined) return newBuffer(2 ** power + extra);
  freeBytes -= found.length;
  return found;
}

/**
 * Exchanges a buffer for one of at least `size` bytes that begins with the first `used` of it. A large one has the address
 * space to grow where it is.
 */
export function enlarge(buffer: Buffer, used: number, size: number): Buffer {
  if (buffer.buffer.byteLength === block && isLong(size)) {
    const length = 2 ** powerFor(size) + extra;
    if (length <= block) return Buffer.from(buffer.buffer, 0, length);
  }
  const larger = takeBuffer(size);
  buffer.copy(larger, 0, 0, used);
  giveBuffer(buffer);
  return larger;
}

/**
 * Gives a buffer back, to which no reference may be left. A buffer that was not made here is left alone. A part of a large
 * one gives back all of it.
 */
export function giveBuffer(buffer: Buffer): void {
  const { length } = buffer;
  const { byteLength } = buffer.buffer;
  const power = 31 - Math.clz32(length);
  const isKept =
    power >= smallest &&
    power <= largest &&
    length === 2 ** power + extra &&
    (byteLength === length || byteLength === block) &&
    freeBytes + length <= bufferPoolSize;
  if (isKept) {
    free[power]!.push(buffer);
    freeBytes += length;
  } else if (byteLength === block) {
    release(buffer);
  }
}
