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
    help: 'largest message, after decompression',
  },
  maxConnections: {
    kind: count,
    default: defaults.maxConnections,
    group: 'Limits',
    help: 'limit on simultaneous connections',
  },
  maxPerAddress: {
    kind: countOrHalf,
    default: defaults.maxPerAddress,
    group: 'Limits',
    help: 'the same for each client address',
  },
  maxBuffered: {
    kind: size,
    default: defaults.maxBuffered,
    group: 'Limits',
    help: 'unsent bytes before a client is cut off',
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
    help: 'largest HTTP request header',
  },
  handshakeTimeout: {
    kind: duration,
    default: defaults.handshakeTimeout,
    group: 'Timeouts',
    help: 'from accept to the end of the handshake',
  },
  greetingDelay: {
    kind: duration,
    alias: 'greetAfter',
    default: defaults.greetingDelay,
    group: 'Timeouts',
    help: 'silence before a module greets; 0: never',
  },
  pingInterval: {
    kind: duration,
    default: defaults.pingInterval,
    group: 'Timeouts',
    help: 'ping a client after this much silence',
  },
  pongTimeout: {
    kind: duration,
    default: defaults.pongTimeout,
    group: 'Timeouts',
    help: 'time to answer a ping',
  },
  idleTimeout: {
    kind: duration,
    default: defaults.idleTimeout,
    group: 'Timeouts',
    help: 'close after this long without a message',
  },
  closeTimeout: {
    kind: duration,
    default: defaults.closeTimeout,
    group: 'Timeouts',
    help: 'time to complete the closing handshake',
  },
  pollTimeout: {
    kind: duration,
    default: defaults.pollTimeout,
    group: 'Timeouts',
    help: 'silence that ends an HTTP polling session',
  },
  drainTimeout: {
    kind: duration,
    default: defaults.drainTimeout,
    group: 'Timeouts',
    help: 'time for clients to leave on SIGTERM',
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
