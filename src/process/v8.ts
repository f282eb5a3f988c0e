/** Settings of V8, the JavaScript engine of Node, for a server that runs for long and answers at once. */
import { setFlagsFromString } from 'node:v8';

export function tuneV8(): void {
  configureYoungGeneration();
  compileLater();
}

/**
 * Keeps the young generation, the space of new objects, at its present size: 2 × 4 MiB when most of the program is loaded,
 * sometimes 2 × 8 on a busy machine. While the server reads its histories, and while connections arrive, V8 would double it, up to
 * 2 × 16 MiB, and shrink it rarely. The server's objects live as long as a connection or die within the turn: a larger young
 * generation would cost the memory of ten thousand idle connections, and longer pauses.
 *
 * The server's own thread collects it, in a fraction of a millisecond. V8 would divide this work among helper threads and wait for
 * them; on a busy machine, a helper waits longer for a processor than the work takes.
 */
function configureYoungGeneration(): void {
  // V8 reads this factor at each growth, but the maximum itself (--max-semi-space-size) only at the start of the process.
  setFlagsFromString('--semi-space-growth-factor=1');
  setFlagsFromString('--no-parallel-scavenge');
}

/**
 * Has V8 optimize only functions that run often. By default, Node 20 compiles functions that run 200 times a second for the
 * first 20 s: its threads take 4% of the server's CPU time in a fan-out, and the CPU from the loop for several milliseconds.
 * Three times the default, 66 KiB of bytecode for each step, is close to the 3,000 calls that Node 22 and later count instead.
 * With four times, the handshakes of the first seconds cost a sixth more.
 */
export function compileLater(): void {
  const isCountedInBytes = Number.parseInt(process.versions.v8, 10) < 12;
  if (isCountedInBytes) setFlagsFromString(`--interrupt-budget=${3 * 66 * 1024}`);
}
