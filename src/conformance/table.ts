/** The one table of cases: the classic ones first, in the classic suite's order, then Pollywog's own. */
import type { ConformanceCase } from './case.ts';
import { autoFragments } from './cases/autoFragments.ts';
import { closing } from './cases/closing.ts';
import { compressionCases } from './cases/compression.ts';
import { fragments } from './cases/fragments.ts';
import { framing } from './cases/framing.ts';
import { handshakes } from './cases/handshakes.ts';
import { limitCases } from './cases/limits.ts';
import { pings } from './cases/pings.ts';
import { reserved } from './cases/reserved.ts';
import { strictClosing } from './cases/strictClosing.ts';
import { strictCompression } from './cases/strictCompression.ts';
import { strictFraming } from './cases/strictFraming.ts';
import { strictText } from './cases/strictText.ts';
import { text } from './cases/text.ts';

/** The cases of the classic suite, in its order: its case 1 is the first. */
export const classicCases: readonly ConformanceCase[] = [
  ...framing,
  ...pings,
  ...reserved,
  ...fragments,
  ...text,
  ...closing,
  ...limitCases,
  ...autoFragments,
  ...compressionCases,
];

export const conformanceCases: readonly ConformanceCase[] = [
  ...classicCases,
  ...handshakes,
  ...strictFraming,
  ...strictText,
  ...strictClosing,
  ...strictCompression,
];
