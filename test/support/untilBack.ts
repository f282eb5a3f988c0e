/** Compares a server's memory and descriptors before and after a load. */
import assert from 'node:assert/strict';
import { setTimeout } from 'node:timers/promises';
import { roundTrip } from './echoProbe.ts';
import { openDescriptors, residentMemory } from './processState.ts';
import { connectRaw, type RawClient } from './rawClient.ts';
import type { ServerProcess } from './serverProcess.ts';

export interface Baseline {
  readonly server: ServerProcess;
  /** Stays connected and is served all the time. */
  readonly probe: RawClient;
  readonly descriptors: number;
  readonly memory: number;
}

/** The state of the server with one connection. */
export async function baselineOf(server: ServerProcess): Promise<Baseline> {
  const probe = await connectRaw(server.port, { path: '/echo' });
  await roundTrip(probe);
  return { server, probe, descriptors: openDescriptors(server.pid), memory: residentMemory(server.pid) };
}

/** @returns by how many bytes the server's resident memory has grown since */
export function grownSince({ server, memory }: Baseline): number {
  return residentMemory(server.pid) - memory;
}

/** Waits until the server has no more descriptors than then, and checks that it logged no error. */
export async function untilBack({ server, probe, descriptors }: Baseline): Promise<void> {
  while (openDescriptors(server.pid) > descriptors) {
    await roundTrip(probe);
    await setTimeout(5);
  }
  assert.equal(server.child.exitCode, null, 'the server still runs');
  const faults = server.logged().filter(({ level }) => level === 'error');
  assert.deepEqual(faults, [], 'the log has no errors');
}
