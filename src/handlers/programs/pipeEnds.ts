/** Opens the two ends of a program's FIFOs, for the server and for the starter process (starterProcess.ts). */
import { closeSync, constants, openSync } from 'node:fs';

/** Collects the descriptors that `open` adds. If it throws, they are closed. */
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
 * Opens one side's ends of the three pipes. Each end is a separate open file description, so the server's are non-blocking
 * and the program's blocking.
 * @param owner the process whose descriptors `pipes` are
 * @param pipes stdin, stdout and stderr
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
