/**
 * Buffers for long messages, used again and again.
 *
 * A message that arrives in pieces grows by doubling, so half of what is allocated for it is garbage before it is whole,
 * and Node frees garbage of this kind only when its collector runs: often a hundred megabytes later. So long buffers come
 * in few sizes, and one that is given back serves the next message. Their bytes are not cleared.
 */
import { keptBuffers } from './bounds.ts';

/** Powers of two: from 64 KiB, below which allocating is cheap, to 64 MiB. */
const smallest = 16;
const largest = 26;

/** Shorter buffers are as long as was asked for, and not used again. */
export const longBuffer = 2 ** (smallest - 1);

/** Each is a little longer than a power of two: room for what zlib appends to a message of that length. */
const extra = 64;

const free: Buffer[][] = Array.from({ length: largest + 1 }, () => []);
/** Bytes in all of these: at most `keptBuffers`. */
let freeBytes = 0;

/** @returns a buffer of at least `size` bytes, the caller's until it is given back, or for good */
export function takeBuffer(size: number): Buffer {
  if (size < longBuffer || size > 2 ** largest + extra) return Buffer.allocUnsafe(size);
  const power = Math.max(smallest, 32 - Math.clz32(size - extra - 1));
  const found = free[power]!.pop();
  if (found === undefined) return Buffer.allocUnsafeSlow(2 ** power + extra);
  freeBytes -= found.length;
  return found;
}

/** Gives a buffer back that nobody refers to any more. Those that `takeBuffer` did not make are left alone. */
export function giveBuffer(buffer: Buffer): void {
  const { length } = buffer;
  const power = 31 - Math.clz32(length);
  if (power < smallest || power > largest || length !== 2 ** power + extra) return;
  if (buffer.buffer.byteLength !== length || freeBytes + length > keptBuffers) return;
  free[power]!.push(buffer);
  freeBytes += length;
}
