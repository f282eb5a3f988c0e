/**
 * How the spool calls the system: what is over at once (a name is changed, a short file is read) is done at once, a few
 * calls a step, and between two steps the loop has a turn. By way of Node's threads each of these calls would cost
 * this thread more than the call itself does. Whatever has the disk write waits elsewhere: see `datasync` in spool.ts.
 */
import { writeSync } from 'node:fs';
import { setImmediate } from 'node:timers/promises';
import type { Server } from '../../core/server.ts';
import { spoolPace, spoolQuiet, spoolRest, spoolStep } from '../../protocol/limits.ts';

/** Bytes that are read or written in one step. */
export const stepLength = 64 * 1024;

const pace = {
  server: undefined as Server | undefined,
  /** The clients' messages when they were counted last, and when there were more than before; milliseconds. */
  heard: 0,
  heardAt: Number.NEGATIVE_INFINITY,
  /** When the loop had the last turn for others; milliseconds. */
  stepBegan: 0,
};

/** From now on it is this server's clients that are not to be held up. */
export function paceBy(server: Server): void {
  pace.server = server;
  pace.heard = server.counters.messagesIn;
  pace.heardAt = Number.NEGATIVE_INFINITY;
}

function doClientsTalk(now: number): boolean {
  const heard = pace.server?.counters.messagesIn ?? 0;
  if (heard !== pace.heard) {
    pace.heard = heard;
    pace.heardAt = now;
  }
  return now - pace.heardAt < spoolQuiet;
}

/**
 * Others have their turn. While clients talk the loop sleeps in between: else a client that shares its core would have to
 * wait for the last step. Otherwise it is polled twice: what came in during a step is found by the first poll, and has its
 * turn behind that.
 */
export async function nextStep(): Promise<void> {
  if (doClientsTalk(performance.now())) {
    await sleep(spoolRest);
  } else {
    await setImmediate();
    await setImmediate();
  }
  pace.stepBegan = performance.now();
}

/** The same between two lines: as they are short, several may be one step. */
export async function nextLine(): Promise<void> {
  const now = performance.now();
  if (now - pace.stepBegan >= spoolStep && doClientsTalk(now)) await nextStep();
}

/** The same between two files. @param began when the last one did; milliseconds */
export async function nextFile(began: number): Promise<void> {
  const now = performance.now();
  if (doClientsTalk(now)) await sleep(Math.max(0, began + spoolPace - now));
  await nextStep();
}

function sleep(milliseconds: number): Promise<void> {
  return new Promise(resolve => setTimeout(resolve, milliseconds));
}

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
