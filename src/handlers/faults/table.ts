/** The one table of faults. `pollywog help faults`, the handler `faulty`, `--fault` and the command `fault` follow it. */
import { closingFaults } from './closing.ts';
import type { FaultKind } from './fault.ts';
import { handshakeFaults } from './handshake.ts';

/** By name, in the order of the manual. */
export const faults: ReadonlyMap<string, FaultKind> = new Map(
  [...handshakeFaults, ...closingFaults].map(kind => [kind.name, kind]),
);
