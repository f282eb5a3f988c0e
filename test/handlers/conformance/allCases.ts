/**
 * Runs all 517 cases with all drivers, or with one: `allCases.js [ws|websockets|pollywog]`. Prints the differences from the
 * known verdicts, and exits with 1 if there are any.
 */
import { badlyClosed, drivers, knownVerdicts, runDriver, unusual } from './drivers.ts';

const chosen = process.argv.slice(2) as (keyof typeof drivers)[];
const clients = chosen.length > 0 ? chosen : (Object.keys(drivers) as (keyof typeof drivers)[]);

for (const client of clients) {
  const { results } = await runDriver(client, []);
  const seconds = Object.values(results).reduce((sum, { duration }) => sum + duration, 0) / 1000;
  const known = knownVerdicts[client];
  const seen = unusual(client, results);
  const numbers = [...new Set([...Object.keys(known), ...Object.keys(seen)])];
  const wrong = numbers.filter(number => known[number] !== seen[number]);
  const badly = badlyClosed(results).filter(number => seen[number] !== 'FAILED');
  process.stdout.write(`${client}: ${Object.keys(results).length} cases in ${Math.round(seconds)} s\n`);
  for (const number of wrong)
    process.stdout.write(`  ${number}: ${seen[number] ?? 'OK'}, not ${known[number] ?? 'OK'}\n`);
  for (const number of badly)
    process.stdout.write(`  ${number}: closed badly, ${results[number]!.behaviorClose}\n`);
  if (Object.keys(results).length !== 517 || wrong.length + badly.length > 0) process.exitCode = 1;
}
