/** The two ends of FIFOs that are open in a server. Also used by the starter, a process of its own (starterProcess.ts). */
import { closeSync, constants, openSync } from 'node:fs';

/** Collects descriptors. If `open` throws, closes those that are already open. */
export function openAll(open: (add: (descriptor: number) => void) => void): number[] {
  const descriptors: number[] = [];
  try {
    open(descriptor => descriptors.push(descriptor));
  } catch (error) {
    closeAll(descriptors);
    throw error;
  }
  return descriptors;
}

export function closeAll(descriptors: readonly number[]): void {
  for (const descriptor of descriptors) closeSync(descriptor);
}

/**
 * Opens the ends of the three pipes for one side. Each is an open file description of its own: the server's are
 * non-blocking, the program's blocking.
 * @param owner the process that has the pipes open
 * @param pipes its descriptors of stdin, stdout and stderr
 */
export function openEnds(owner: number | 'self', pipes: readonly number[], isProgram: boolean): number[] {
  return openAll(add => {
    for (const [i, descriptor] of pipes.entries()) {
      const isReadEnd = isProgram === (i === 0);
      const access = isReadEnd ? constants.O_RDONLY : constants.O_WRONLY;
      add(openSync(`/proc/${owner}/fd/${descriptor}`, access | (isProgram ? 0 : constants.O_NONBLOCK)));
    }
  });
}
