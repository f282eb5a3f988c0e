/** V8 settings for a server: it runs for a long time and must answer without delay. */
import { readdirSync } from 'node:fs';
import { constants, getPriority, setPriority } from 'node:os';
import { setFlagsFromString } from 'node:v8';

export function tuneV8(): void {
  configureYoungGeneration();
  compileLater();
  lowerHelperThreads();
}

/**
 * Keeps the young generation, the space of new objects, at its present size: 2 × 4 MiB when most of the program is loaded,
 * sometimes 2 × 8 on a busy machine. While the server reads its histories, and while connections arrive, V8 would double it, up to
 * 2 × 16 MiB, and shrink it rarely. The server's objects live as long as a connection or die within the turn: a larger young
 * generation would cost the memory of ten thousand idle connections, and longer pauses.
 *
 * The main thread alone collects it, in a fraction of a millisecond. By default, V8 shares this work with helper threads and waits
 * for them; on a busy machine, a helper waits for a processor longer than the work takes.
 */
function configureYoungGeneration(): void {
  // V8 reads this factor at each growth, but the maximum itself (--max-semi-space-size) only at the start of the process.
  setFlagsFromString('--semi-space-growth-factor=1');
  setFlagsFromString('--no-parallel-scavenge');
}

/**
 * Makes V8 optimize a function later. By default, Node 20 spends the first 20 s optimizing functions that run only 200 times a
 * second: its compiler threads use 4% of the server's CPU time in a fan-out, and delay the loop by several milliseconds when
 * they take its CPU. It optimizes a function step by step, each after 66 KiB of executed bytecode. Three times as much is close to
 * the 3,000 calls that Node 22 and later wait for. With four times, the handshakes of the first seconds cost a sixth more.
 */
export function compileLater(): void {
  const isCountedInBytes = Number.parseInt(process.versions.v8, 10) < 12;
  if (isCountedInBytes) setFlagsFromString(`--interrupt-budget=${3 * 66 * 1024}`);
}

/** Added to the server's nice value: a helper that competes with the loop gets a third as much CPU time. */
const helperNiceness = 5;

/**
 * Lowers the priority of V8's helper threads, which mark and sweep the heap and compile functions. The kernel often wakes a helper
 * on the loop's processor, even if another one is idle, and the loop then waits for up to 4 ms. In the soak, this was most of the
 * 12% of its time in which the loop waited for a processor. A much lower priority would be worse if other programs keep the machine
 * busy: the collector waits for its helpers.
 */
function lowerHelperThreads(): void {
  if (process.platform !== 'linux') return;
  try {
    const nice = Math.min(getPriority() + helperNiceness, constants.priority.PRIORITY_LOW);
    // On Linux, each thread has a nice value of its own: sched(7), "The nice value".
    for (const thread of readdirSync('/proc/self/task')) {
      if (Number(thread) !== process.pid) setPriority(Number(thread), nice);
    }
  } catch {
    // No /proc, or a thread that has just ended: the server works without this, too.
  }
}
