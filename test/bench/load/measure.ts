import { setTimeout as wait } from 'node:timers/promises';
import { cpuSeconds } from '../cost.ts';
import type { Sample, Target } from '../jobs.ts';

/** Warms up, then takes a sample of a running load. `count` returns the work done so far. */
export async function measure(target: Target, count: () => number): Promise<Sample> {
  await wait(target.warmUp * 1000);
  const doneBefore = count();
  const cpuBefore = cpuSeconds(target.pid);
  const from = performance.now();
  await wait(target.seconds * 1000);
  const done = count() - doneBefore;
  const cpu = cpuSeconds(target.pid) - cpuBefore;
  const elapsed = (performance.now() - from) / 1000;
  if (done === 0) throw new Error(`nothing was done in ${target.seconds} s`);
  return { figure: (cpu * 1e6) / done, perSecond: done / elapsed, cores: cpu / elapsed };
}
