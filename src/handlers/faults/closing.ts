/** Faults of the closing handshake and of TCP's (RFC 6455 §7). */
import { defineFault } from './fault.ts';

export const closingFaults = [
  defineFault({
    name: 'reset',
    sentence: 'resets the TCP connection (RST)',
    stage: 'closing',
    takes: 'none',
    needsFrames: false,
    make: (_, { end }) => ({ act: () => end('reset') }),
  }),
] as const;
