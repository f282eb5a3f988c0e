/** A finished run, and the words that all reports share. */
import type { CaseResult, CaseVerdict } from '../verdict.ts';

export interface TimedResult extends CaseResult {
  /** Milliseconds from dialing to the end of TCP. */
  readonly duration: number;
}

export interface Report {
  /** The peer under test: the URL of a server or the name of a client. */
  readonly subject: string;
  /** When the run began: an ISO 8601 time in UTC. */
  readonly started: string;
  /** Milliseconds. */
  readonly duration: number;
  /** In the order of the table. */
  readonly results: readonly TimedResult[];
}

/** The worst first. */
export const verdicts: readonly CaseVerdict[] = [
  'FAILED',
  'NON-STRICT',
  'UNIMPLEMENTED',
  'INFORMATIONAL',
  'OK',
];

/** How many cases have each verdict. */
export function countVerdicts(results: readonly CaseResult[]): ReadonlyMap<CaseVerdict, number> {
  return new Map(verdicts.map(each => [each, results.filter(({ verdict }) => verdict === each).length]));
}

/** Whether the verdict fails the run. @param isStrict whether NON-STRICT does */
export function isFailure({ verdict }: CaseResult, isStrict: boolean): boolean {
  return verdict === 'FAILED' || (isStrict && verdict === 'NON-STRICT');
}

/** The results by the titles of their groups. */
export function byGroup(results: readonly TimedResult[]): ReadonlyMap<string, readonly TimedResult[]> {
  const groups = new Map<string, TimedResult[]>();
  for (const result of results) {
    const group = groups.get(result.test.group);
    if (group === undefined) groups.set(result.test.group, [result]);
    else group.push(result);
  }
  return groups;
}

/** `6.4.1 utf8/fail-fast-frames`, or the name alone. */
export function titleOf({ test: { name, number } }: CaseResult): string {
  return number === undefined ? name : `${number} ${name}`;
}

/** The reason for the verdict, as a sentence. */
export function reasonOf({ behaviorClose, result, resultClose, verdict, behavior }: CaseResult): string {
  if (verdict === 'OK') return result;
  const isClosing = behavior === 'OK' || (behaviorClose !== 'OK' && behavior === 'NON-STRICT');
  return isClosing ? resultClose : result;
}

/** Seconds, such as `12.3`. */
export const seconds = (milliseconds: number) => (milliseconds / 1000).toFixed(milliseconds < 10_000 ? 2 : 1);
