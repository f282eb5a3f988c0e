/** `make ledger-proof`: breaks every marked check in turn, and lists those whose tests still pass. */
import { parseArgs } from 'node:util';
import { readLedger } from './check.ts';
import { allAttempts, failingTests, proveAll, type Verdict } from './proof.ts';

/** The share of the enforced rules that must be proven. */
const leastProven = 0.95;

const { values } = parseArgs({ options: { only: { type: 'string' } } });
const { claims, faults } = readLedger();
for (const fault of faults) console.error(fault);
const attempts = allAttempts(claims).filter(
  ({ ids, place }) =>
    values.only === undefined || ids.includes(values.only) || place.file.includes(values.only),
);
const began = Date.now();
const verdicts: Verdict[] = [];
if (values.only === undefined) {
  const failing = await failingTests(claims);
  for (const name of failing) console.error(`fails on the unbroken code: ${name}`);
  if (failing.length > 0) process.exit(1);
}
await proveAll(claims, attempts, verdict => {
  verdicts.push(verdict);
  const { id, attempt, fault } = verdict;
  const { file, line, name } = attempt.place;
  if (fault !== undefined) console.error(`${id} in ${name} (${file}:${line + 1}): ${fault}`);
  else if (values.only !== undefined) console.log(`${id} in ${name} (${file}:${line + 1}): proven`);
});
const tried = new Set(attempts.flatMap(({ ids }) => ids));
const isTried = (id: string) => values.only === undefined || tried.has(id);
const enforced = claims.filter(({ places, statement }) => places.length > 0 && isTried(statement.id));
const open = enforced.filter(({ statement }) => statement.unproven !== undefined);
for (const { statement } of open) console.log(`${statement.id} is not proven: ${statement.unproven}`);
const broken = new Set(verdicts.filter(({ fault }) => fault !== undefined).map(({ id }) => id));
const proven = enforced.length - open.length - broken.size;
const share = proven / enforced.length;
console.log(
  `${attempts.length} checks broken in ${Math.round((Date.now() - began) / 1000)} s: ${proven} of ${enforced.length} rules proven (${(100 * share).toFixed(1)}%)`,
);
process.exitCode = faults.length === 0 && broken.size === 0 && share >= leastProven ? 0 : 1;
