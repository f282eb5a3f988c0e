/** After an onslaught: is everything given back? */
import assert from 'node:assert/strict';
import { roundTrip } from './echoProbe.ts';
import { openDescriptors, residentMemory } from './processState.ts';
import { connectRaw, type RawClient } from './rawClient.ts';
import type { ServerProcess } from './serverProcess.ts';

export interface Baseline {
  readonly server: ServerProcess;
  /** Stays connected all along, and is served all along. */
  readonly probe: RawClient;
  readonly descriptors: number;
  readonly memory: number;
}

/** How things are with one connection. */
export async function baselineOf(server: ServerProcess): Promise<Baseline> {
  const probe = await connectRaw(server.port, { path: '/echo' });
  await roundTrip(probe);
  return { server, probe, descriptors: openDescriptors(server.pid), memory: residentMemory(server.pid) };
}

/** Bytes of memory that the server has more than then. */
export function grownSince({ server, memory }: Baseline): number {
  return residentMemory(server.pid) - memory;
}

/** Waits until no descriptor is left of those who came since, while the probe is served. */
export async function untilBack({ server, probe, descriptors }: Baseline): Promise<void> {
  while (openDescriptors(server.pid) > descriptors) await roundTrip(probe);
  assert.equal(server.child.exitCode, null, 'the server runs on');
  const faults = server.logged().filter(({ level }) => level === 'error');
  assert.deepEqual(faults, [], 'and found no fault in itself');
}
