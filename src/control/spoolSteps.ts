/**
 * How the spool calls the system: what is over at once (a name is changed, a short file is read) is done at once, a few
 * calls a step, and between two steps the loop has a turn. By way of Node's threads each of these calls would cost
 * this thread more than the call itself does. Whatever has the disk write waits elsewhere: see `datasync` in spool.ts.
 */
import { writeSync } from 'node:fs';
import { setImmediate } from 'node:timers/promises';

/** Bytes that are read or written in one step. */
export const stepLength = 64 * 1024;

/** Others have their turn. */
export const nextStep = (): Promise<void> => setImmediate();

/** Writes all of it, a step at a time. */
export async function writeInSteps(descriptor: number, pieces: readonly Buffer[]): Promise<void> {
  let left = stepLength;
  for (const piece of pieces) {
    for (let at = 0; at < piece.length; ) {
      if (left === 0) {
        await nextStep();
        left = stepLength;
      }
      const written = writeSync(descriptor, piece, at, Math.min(left, piece.length - at));
      at += written;
      left -= written;
    }
  }
}
