/**
 * Errors that no call of ours can catch, as they come out of a module's own timers and promises. Node ends the process for
 * those; but a module's fault is no reason to lose everyone's connections.
 */

import { log, stackOf } from '../../log/log.ts';
import { hrefOf } from './load.ts';
import { noteError, type Slot } from './slot.ts';
import { rollBack } from './swap.ts';

export function catchStrays(slots: () => Iterable<Slot>): void {
  process.on('uncaughtException', (error: unknown, origin) => {
    const stack = stackOf(error);
    const culprit = [...slots()].find(({ hrefs }) => [...hrefs].some(href => stack.includes(href)));
    if (culprit === undefined) {
      // What a promise was rejected with need not say where it came from, and we leave none unheeded ourselves. Nor does
      // an `error` event that nobody listens to: a connection of a module's own that was refused has Node's calls only.
      if (origin === 'unhandledRejection' || !isOurs(stack)) return log('error', 'handler threw', { stack });
      // As without modules.
      process.stderr.write(`${stack}\n`);
      process.exit(1);
    }
    noteError(culprit, error);
    log('error', 'handler threw', { handler: culprit.name, stack });
    const { current } = culprit;
    if (stack.includes(`${hrefOf(current.real)}?v=${current.number}:`)) rollBack(culprit, current, error);
  });
}

const ourFolder = new URL('../..', import.meta.url).href;

/** Whether nobody's calls but ours, and Node's, led to the error. */
function isOurs(stack: string): boolean {
  const calls = stack.split('\n').filter(line => /^ {4}at .*\//.test(line) && !/[ (]node:/.test(line));
  return calls.length > 0 && calls.every(line => line.includes(ourFolder));
}
