/** The one table of cases: the classic ones first and in the classic suite's order, then ours. */
import type { ConformanceCase } from './case.ts';
import { framing } from './cases/framing.ts';
import { pings } from './cases/pings.ts';

export const conformanceCases: readonly ConformanceCase[] = [...framing, ...pings];

/** The cases of the classic suite, in its order: case 1 is the first. */
export const classicCases: readonly ConformanceCase[] = conformanceCases.filter(
  ({ number }) => number !== undefined,
);
