/** Chooses cases by name and number. */
import type { ConformanceCase } from './case.ts';

/**
 * Whether a pattern covers a case. `*` matches any characters. A pattern also covers the cases below it: `6.4` covers 6.4.1,
 * and `utf8` covers utf8/empty.
 */
export function coversCase(pattern: string, { name, number }: ConformanceCase): boolean {
  const parts = pattern.split('*').map(part => part.replaceAll(/[.\\^$+?()[\]{}|]/g, '\\$&'));
  const isWhole = new RegExp(`^${parts.join('.*')}(?:[./].*)?$`);
  return isWhole.test(name) || (number !== undefined && isWhole.test(number));
}

export interface CaseSelection {
  readonly tests: 'servers' | 'clients';
  /** Empty: all. */
  readonly patterns: readonly string[];
  /** Leaves out the large cases. */
  readonly isQuick: boolean;
}

export function selectCases(
  cases: readonly ConformanceCase[],
  { tests, patterns, isQuick }: CaseSelection,
): ConformanceCase[] {
  return cases.filter(
    each =>
      (each.tests === undefined || each.tests === tests) &&
      (each.handshake === undefined || tests === 'servers') &&
      !(isQuick && each.isLarge === true) &&
      (patterns.length === 0 || patterns.some(pattern => coversCase(pattern, each))),
  );
}
