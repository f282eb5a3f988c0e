/** `make replay`: the hour of chatHour.ts, in full. */
import { readdirSync } from 'node:fs';
import { plantChange, recordHour, replayAgainst } from './chatHour.ts';

const hour = { people: 20, minutes: 60, seed: Number(process.env['SEED'] ?? 1) };
const timed = async <Result>(name: string, act: () => Promise<Result>): Promise<Result> => {
  const begun = performance.now();
  const result = await act();
  console.log(`${name}: ${((performance.now() - begun) / 1000).toFixed(1)} s`);
  return result;
};

const { folder, posts } = await timed('recorded', () => recordHour(hour));
console.log(`${posts} messages of ${hour.people} people, ${readdirSync(folder).length} sessions`);
const equal = await timed('replayed against the same build', () => replayAgainst(folder));
console.log(equal.stdout + equal.stderr);
const different = await timed('replayed against a build with a change', () =>
  replayAgainst(folder, plantChange()),
);
console.log(different.stdout + different.stderr.split('\n').slice(0, 3).join('\n'));
process.exitCode = equal.status === 0 && different.status === 1 ? 0 : 1;
