/** The one table of faults, for `pollywog help faults`, the handler `faulty`, `--fault` and the command `fault`. */
import { closingFaults } from './closing.ts';
import type { FaultKind } from './fault.ts';
import { frameFaults } from './frames.ts';
import { handshakeFaults } from './handshake.ts';
import { orderFaults } from './order.ts';
import { pingFaults } from './pings.ts';
import { timeFaults } from './time.ts';

/** By name, in the order of the manual. */
export const faults: ReadonlyMap<string, FaultKind> = new Map(
  [...handshakeFaults, ...frameFaults, ...closingFaults, ...timeFaults, ...orderFaults, ...pingFaults].map(
    kind => [kind.name, kind],
  ),
);
