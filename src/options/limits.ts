/** The part of the table of options that sets bounds: on sizes and counts, and on times. */
import { totalmem } from 'node:os';
import { defaults } from '../protocol/limits.ts';
import type { OptionTable } from './option.ts';
import { count, countOrHalf, duration, size } from './values.ts';

export const limitOptions = {
  maxMessage: {
    kind: size,
    default: defaults.maxMessage,
    group: 'Limits',
    help: 'largest message, inflated',
  },
  maxConnections: {
    kind: count,
    default: defaults.maxConnections,
    group: 'Limits',
    help: 'connections at once',
  },
  maxPerAddress: {
    kind: countOrHalf,
    default: defaults.maxPerAddress,
    group: 'Limits',
    help: 'connections of one address at once',
  },
  maxBuffered: {
    kind: size,
    default: defaults.maxBuffered,
    group: 'Limits',
    help: 'unsent bytes before a slow client goes',
  },
  maxMemory: {
    kind: size,
    default: defaultMaxMemory(),
    group: 'Limits',
    help: 'memory for all connections together',
  },
  maxHeader: {
    kind: size,
    default: defaults.maxHeader,
    group: 'Limits',
    help: 'largest HTTP request head',
  },
  handshakeTimeout: {
    kind: duration,
    default: defaults.handshakeTimeout,
    group: 'Timeouts',
    help: 'from accept to the end of the handshake',
  },
  greetAfter: {
    kind: duration,
    default: defaults.greetAfter,
    group: 'Timeouts',
    help: 'silence before a module greets; 0 is never',
  },
  pingInterval: {
    kind: duration,
    default: defaults.pingInterval,
    group: 'Timeouts',
    help: 'silence before a ping is sent',
  },
  pongTimeout: {
    kind: duration,
    default: defaults.pongTimeout,
    group: 'Timeouts',
    help: 'wait for the answer to a ping',
  },
  idleTimeout: {
    kind: duration,
    default: defaults.idleTimeout,
    group: 'Timeouts',
    help: 'longest time without a message',
  },
  closeTimeout: {
    kind: duration,
    default: defaults.closeTimeout,
    group: 'Timeouts',
    help: 'wait for the other side to close',
  },
  pollTimeout: {
    kind: duration,
    default: defaults.pollTimeout,
    group: 'Timeouts',
    help: 'silence that ends a session over HTTP',
  },
  drainTimeout: {
    kind: duration,
    default: defaults.drainTimeout,
    group: 'Timeouts',
    help: 'wait for clients to leave at SIGTERM',
  },
} as const satisfies OptionTable;

/**
 * Half of the memory that the system or the control group of this process has, at most 512 MiB: the rest is for the
 * programs beside this one. Redis recommends a limit for its clients of 5% of the memory, as its data takes the rest.
 */
function defaultMaxMemory(): number {
  const MiB = 1024 * 1024;
  // 0, or more than the machine has, where there is no limit.
  const constrained = process.constrainedMemory() ?? 0;
  const total = constrained > 0 ? Math.min(constrained, totalmem()) : totalmem();
  return Math.min(512, Math.max(1, Math.floor(total / 2 / MiB))) * MiB;
}
