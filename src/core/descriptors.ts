/**
 * File descriptors in use. Connections are counted in any case; every other kind that a client can make the server open
 * adds its own here, and subtracts them when they are closed. The rest of the process uses the reserve.
 */

import { reservedDescriptors } from '../protocol/limits.ts';
import type { Server } from '../records/records.ts';

/** The number of counted descriptors. Polling clients are connections without a socket. */
export function descriptorsInUse({ connections, polling, descriptors }: Server): number {
  const { listeners, files, pipes } = descriptors;
  return connections - polling.clients + listeners + files + pipes;
}

/** How many descriptors may be in use; the rest is the reserve. */
export function usableDescriptors({ descriptors }: Server): number {
  return descriptors.limit - reservedDescriptors;
}

/**
 * Whether `count` more of a kind may be opened: files and pipes get at most a third of the descriptors each, so that
 * neither keeps the other, or connections, from getting any.
 */
export function mayOpen(server: Server, kind: 'files' | 'pipes', count: number): boolean {
  const usable = usableDescriptors(server);
  return server.descriptors[kind] + count <= usable / 3 && descriptorsInUse(server) + count <= usable;
}
