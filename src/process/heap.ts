/** The heap of the process: V8's young generation, which has the objects that were allocated lately. */
import { setFlagsFromString } from 'node:v8';

/**
 * Keeps the young generation at its present size: 2 × 4 MiB after the server has started. V8 would double it, up to 2 × 16 MiB,
 * while connections arrive, and keep it. The server's objects live as long as a connection, or die within the turn: more room
 * for the young ones would take the memory of ten thousand idle connections, and make the longest collections longer.
 */
export function freezeYoungGeneration(): void {
  // The factor counts at each growth. The maximum itself (--max-semi-space-size) is read only when a process starts.
  setFlagsFromString('--semi-space-growth-factor=1');
}
