/** The one table of cases: the classic ones first, in the classic suite's order, then ours. */
import type { ConformanceCase } from './case.ts';
import { autoFragments } from './cases/autoFragments.ts';
import { closing } from './cases/closing.ts';
import { fragments } from './cases/fragments.ts';
import { framing } from './cases/framing.ts';
import { pings } from './cases/pings.ts';
import { reserved } from './cases/reserved.ts';
import { text } from './cases/text.ts';

/** The cases of the classic suite, in its order: its case 1 is the first. */
export const classicCases: readonly ConformanceCase[] = [
  ...framing,
  ...pings,
  ...reserved,
  ...fragments,
  ...text,
  ...closing,
  ...autoFragments,
];

export const conformanceCases: readonly ConformanceCase[] = classicCases;
