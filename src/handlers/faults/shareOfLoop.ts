/**
 * Limits the timers of all faults to a share of the event loop. Without the limit, thousands of connections that drip a byte each
 * millisecond would keep Node in its timers and starve all others.
 */
import { exactClock } from '../../process/clock.ts';
import { faultTime } from '../../protocol/faultLimits.ts';

/** The due work of all servers in this process, from index `next` on. */
let due: (() => void)[] = [];
let next = 0;
let isScheduled = false;

/** Runs the work soon, after all work queued earlier: in this iteration of the loop or a later one. It must not throw. */
export function runInShare(work: () => void): void {
  due.push(work);
  if (!isScheduled) schedule();
}

function schedule(): void {
  isScheduled = true;
  // Without `unref`: an unreferenced immediate would wait for some other event.
  setImmediate(runDue);
}

function runDue(): void {
  isScheduled = false;
  const end = exactClock() + faultTime;
  // Each piece of work takes some microseconds, so the loop reads the clock only after every eighth.
  while (next < due.length) {
    due[next++]!();
    if (next % 8 === 0 && exactClock() >= end) break;
  }
  due = due.slice(next);
  next = 0;
  if (due.length > 0) schedule();
}
