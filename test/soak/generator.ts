/** A process that makes the loads of one group: node generator.js GROUP NAMES TARGET. It exits with its parent. */
import type { Counts, Target } from './load/load.ts';
import { groups } from './load/loads.ts';

const reportEvery = 500;

const [group = '', names = '', target = ''] = process.argv.slice(2);
const chosen: readonly string[] = JSON.parse(names);
const counts: Record<string, Counts> = {};
for (const load of groups[group] ?? []) {
  if (!chosen.includes(load.name)) continue;
  const own: Counts = { done: 0, refused: 0, closed: 0 };
  counts[load.name] = own;
  load.run(JSON.parse(target) as Target, own);
}
setInterval(() => process.send?.(counts), reportEvery);
process.once('disconnect', () => process.exit());
