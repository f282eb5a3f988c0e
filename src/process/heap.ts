/** The heap of the process: the size of V8's young generation, the space of new objects, and how V8 collects it. */
import { setFlagsFromString } from 'node:v8';

/**
 * Keeps the young generation at its present size: 2 × 4 MiB when most of the program is loaded, sometimes 2 × 8 on a busy machine.
 * While the server reads its histories, and while connections arrive, V8 would double it, up to 2 × 16 MiB, and shrink it rarely.
 * The server's objects live as long as a connection or die within the turn: a larger young generation would cost the memory of
 * ten thousand idle connections, and longer pauses.
 *
 * The server's own thread collects it, in a fraction of a millisecond. V8 would divide this work among helper threads and wait for
 * them; on a busy machine, a helper waits longer for a processor than the work takes.
 */
export function configureYoungGeneration(): void {
  // V8 reads this factor at each growth, but the maximum itself (--max-semi-space-size) only at the start of the process.
  setFlagsFromString('--semi-space-growth-factor=1');
  setFlagsFromString('--no-parallel-scavenge');
}
