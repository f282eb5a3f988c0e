/**
 * The timers of faults have a share of the event loop. Otherwise thousands of connections that drip a byte each millisecond would
 * keep Node in its timers, and starve all others.
 */
import { exactClock } from '../../process/clock.ts';
import { faultTime } from '../../protocol/faultLimits.ts';

/** The due work of all servers in this process, from index `next` on. */
let due: (() => void)[] = [];
let next = 0;
let isScheduled = false;

/** Runs the work soon: in this iteration of the loop or, if other such work is before it, in a later one. It must not throw. */
export function runInShare(work: () => void): void {
  due.push(work);
  if (!isScheduled) schedule();
}

function schedule(): void {
  isScheduled = true;
  // Without a reference, the loop would wait for some other event first.
  setImmediate(runDue);
}

function runDue(): void {
  isScheduled = false;
  const end = exactClock() + faultTime;
  // A piece of work takes some microseconds, so the clock is read once for several.
  while (next < due.length) {
    due[next++]!();
    if (next % 8 === 0 && exactClock() >= end) break;
  }
  due = due.slice(next);
  next = 0;
  if (due.length > 0) schedule();
}
