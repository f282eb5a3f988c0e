import { setTimeout as wait } from 'node:timers/promises';
import { cpuSeconds, residentKiB } from '../cost.ts';
import type { IdleJob, Sample, Target } from '../jobs.ts';
import { dialMany, failOnSilence } from './dial.ts';

/**
 * The first connections let the server compile its code and size its heap. Before each reading the server gets
 * `target.seconds` of quiet to collect garbage.
 */
export async function loadIdle(target: Target, job: IdleJob): Promise<Sample> {
  await open(target, job.warmUp);
  await wait(target.seconds * 1000);
  const memoryBefore = residentKiB(target.pid);
  const cpuBefore = cpuSeconds(target.pid);
  const from = performance.now();
  await open(target, job.connections);
  const elapsed = (performance.now() - from) / 1000;
  const cpu = cpuSeconds(target.pid) - cpuBefore;
  await wait(target.seconds * 1000);
  return {
    figure: (residentKiB(target.pid) - memoryBefore) / job.connections,
    perSecond: job.connections / elapsed,
    cores: cpu / elapsed,
  };
}

async function open(target: Target, count: number): Promise<void> {
  const callOff = failOnSilence(5, () => `while opening ${count} connections`);
  await dialMany(target, count);
  callOff();
}
