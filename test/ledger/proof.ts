/** Proves the ledger: breaks each marked check, and requires that a test of its rule fails. */
import { readFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { root } from '../support/documents.ts';
import { type Attempt, attemptsAt, brokenSource, readBreaks } from './breakage.ts';
import { collectMarkers } from './markers.ts';
import type { Claim } from './page.ts';
import { compileInto, newShadow, runTests } from './shadow.ts';

export interface Verdict {
  readonly id: string;
  readonly attempt: Attempt;
  /** Undefined: proven. */
  readonly fault: string | undefined;
}

/** The ways to break the rules, without those listed as unproven. */
export function allAttempts(claims: readonly Claim[]): Attempt[] {
  const unproven = claims.filter(({ statement }) => statement.unproven !== undefined);
  const isUnproven = (id: string) => unproven.some(({ statement }) => statement.id === id);
  return attemptsAt(collectMarkers().places, readBreaks())
    .map(attempt => ({ ...attempt, ids: attempt.ids.filter(id => !isUnproven(id)) }))
    .filter(({ ids }) => ids.length > 0);
}

/** Breaks one check, and runs the tests of its rules. */
async function prove(shadow: string, attempt: Attempt, claims: readonly Claim[]): Promise<Verdict[]> {
  const { ids, place } = attempt;
  const text = readFileSync(new URL(place.file, root), 'utf8');
  const verdict = (id: string, fault: string | undefined): Verdict => ({ id, attempt, fault });
  try {
    await compileInto(shadow, place.file, brokenSource(text, attempt));
  } catch (error) {
    return ids.map(id => verdict(id, (error as Error).message));
  }
  try {
    const verdicts = await verdictsOf(shadow, ids, claims);
    return ids.map((id, index) => verdict(id, verdicts[index]));
  } finally {
    await compileInto(shadow, place.file, text);
  }
}

/** Runs the tests of these rules. @returns for each rule why it is not proven; undefined if it is */
async function verdictsOf(
  shadow: string,
  ids: readonly string[],
  claims: readonly Claim[],
): Promise<(string | undefined)[]> {
  const { passed, failed, hasHung } = await runTests(shadow, filesOf(claims, ids), ids);
  const isFor = (id: string) => (name: string) =>
    new RegExp(`[[ ]${id.replaceAll('.', '\\.')}[\\],]`).test(name);
  const verdicts: (string | undefined)[] = [];
  for (const id of ids) {
    const hasPassed = passed.some(isFor(id));
    if (failed.some(isFor(id))) verdicts.push(undefined);
    else if (!hasHung)
      verdicts.push(hasPassed ? 'its tests pass although the check is broken' : 'none of its tests ran');
    // A test that hangs fails, too. To find its rule, run the tests of each rule separately.
    else verdicts.push(ids.length === 1 ? undefined : (await verdictsOf(shadow, [id], claims))[0]);
  }
  return verdicts;
}

function filesOf(claims: readonly Claim[], ids: readonly string[]): string[] {
  const tests = claims.filter(({ statement }) => ids.includes(statement.id)).flatMap(claim => claim.tests);
  return [...new Set(tests.map(({ file }) => file))];
}

/**
 * Breaks each check, with several workers at once.
 * @param onVerdict called for each rule at each of its places
 */
export async function proveAll(
  claims: readonly Claim[],
  attempts: readonly Attempt[],
  onVerdict: (verdict: Verdict) => void,
  workers = Math.min(2, availableParallelism()),
): Promise<void> {
  const waiting = [...attempts];
  const work = async () => {
    const shadow = newShadow();
    for (let next = waiting.shift(); next !== undefined; next = waiting.shift()) {
      for (const verdict of await prove(shadow, next, claims)) onVerdict(verdict);
    }
  };
  await Promise.all(Array.from({ length: workers }, work));
}

/** Runs the tests of all rules on the unbroken code. @returns the names of the tests that fail */
export async function failingTests(claims: readonly Claim[]): Promise<readonly string[]> {
  const ids = claims.filter(({ tests }) => tests.length > 0).map(({ statement }) => statement.id);
  const { failed, hasHung } = await runTests(newShadow(), filesOf(claims, ids), ids, 300_000);
  return hasHung ? [...failed, 'a test file that takes too long'] : failed;
}
