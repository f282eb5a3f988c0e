/** Reading a file's lines from the last to the first, in slices. A file without line ends is not read into memory. */
import { readSync } from 'node:fs';

const chunkSize = 64 * 1024;
const newline = 0x0a;

/** Of a line that is too long, only this much is passed on. */
export const maxLongLineStart = 4096;

/**
 * @param line without its newline, valid during the call; of a line that is too long, the first bytes
 * @param start where it begins in the file
 * @returns false to stop
 */
export type OnLine = (line: Buffer, start: number, isTooLong: boolean) => boolean;

/**
 * Reads the lines before `end`, the last one first; empty lines are skipped. Yields after each 64 KiB.
 * @param longest of a longer line only the first bytes are passed on
 * @returns false if `onLine` stopped it
 * @throws the system's error
 */
export function* readBackwards(
  descriptor: number,
  end: number,
  longest: number,
  onLine: OnLine,
): Generator<void, boolean> {
  /** The later parts of the line that begins in an earlier chunk, the last part first. */
  let later: Buffer[] = [];
  let laterSize = 0;
  const pass = (first: Buffer, start: number): boolean => {
    const size = first.length + laterSize;
    const isTooLong = size > longest;
    const parts = later.length === 0 ? first : Buffer.concat([first, ...later.reverse()]);
    later = [];
    laterSize = 0;
    return size === 0 || onLine(isTooLong ? parts.subarray(0, maxLongLineStart) : parts, start, isTooLong);
  };
  for (let to = end; to > 0; ) {
    const from = Math.max(0, to - chunkSize);
    const chunk = readAt(descriptor, from, to);
    let lineEnd = chunk.length;
    for (;;) {
      const found = lineEnd === 0 ? -1 : chunk.lastIndexOf(newline, lineEnd - 1);
      if (found < 0) break;
      if (!pass(chunk.subarray(found + 1, lineEnd), from + found + 1)) return false;
      lineEnd = found;
    }
    if (from === 0) return pass(chunk.subarray(0, lineEnd), 0);
    // Only the earliest part of a line that is too long is needed.
    if (laterSize > longest) later = [];
    later.push(chunk.subarray(0, lineEnd));
    laterSize += lineEnd;
    to = from;
    yield;
  }
  return true;
}

/** The bytes `[start, end)`, as a copy. @throws Error if the file has become shorter */
export function readAt(descriptor: number, start: number, end: number): Buffer {
  const bytes = Buffer.allocUnsafe(end - start);
  for (let filled = 0; filled < bytes.length; ) {
    const count = readSync(descriptor, bytes, filled, bytes.length - filled, start + filled);
    if (count === 0)
      throw new Error('it became shorter while the server read it; let no other program write to it');
    filled += count;
  }
  return bytes;
}
