/** Faults of the opening handshake: what a client must notice in the server's response (RFC 6455 §4.1, RFC 9112). */
import { defineFault } from './fault.ts';

export const handshakeFaults = [
  defineFault({
    name: 'drop-before',
    sentence: 'closes TCP instead of answering the handshake',
    stage: 'handshake',
    takes: 'response',
    make: (_, { end }) => ({ take: () => end('drop') }),
  }),
] as const;
