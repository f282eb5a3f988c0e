/** Faults of the closing handshake and of TCP's (RFC 6455 §7). */
import { type ActiveFault, defineFault, type End, type FaultContext } from './fault.ts';

/** Acts once: ends the output. */
function ending({ end }: FaultContext, how: End): ActiveFault {
  let isDone = false;
  return {
    get isDone() {
      return isDone;
    },
    act() {
      isDone = true;
      end(how);
    },
  };
}

export const closingFaults = [
  defineFault({
    name: 'reset',
    sentence: 'resets the TCP connection (RST)',
    stage: 'closing',
    takes: 'none',
    needsFrames: false,
    make: (_, context) => ending(context, 'reset'),
  }),
] as const;
