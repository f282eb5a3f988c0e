/**
 * File descriptors in use. Connections are counted in any case; every other kind that a client can make the server open
 * adds its own here, and subtracts them when they are closed. The rest of the process uses the reserve.
 */

import { reservedDescriptors } from '../protocol/limits.ts';
import type { Server } from '../records/records.ts';

/** The number of counted descriptors. Polling clients are connections without a socket. */
export function descriptorsInUse({ connections, polling, descriptors }: Server): number {
  const { listeners, pipes, files, app } = descriptors;
  return connections - polling.clients + listeners + pipes + files + app;
}

/** How many descriptors may be in use; the rest is the reserve. */
export function usableDescriptors({ descriptors }: Server): number {
  return descriptors.limit - reservedDescriptors;
}

/** Whether `count` more pipes may be opened. Pipes take at most a third of the descriptors. */
export function mayOpenPipes(server: Server, count: number): boolean {
  const usable = usableDescriptors(server);
  return server.descriptors.pipes + count <= usable / 3 && descriptorsInUse(server) + count <= usable;
}

/** Whether one more file may stay open beyond this turn. Files take at most a third of the descriptors. */
export function mayOpenFile(server: Server): boolean {
  const usable = usableDescriptors(server);
  return server.descriptors.files < usable / 3 && descriptorsInUse(server) < usable;
}
