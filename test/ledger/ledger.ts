/** `make ledger`: checks that every rule has code and a test, or a reason, and writes the page of the manual. */
import { readFileSync, writeFileSync } from 'node:fs';
import { root } from '../support/documents.ts';
import { readLedger } from './check.ts';
import { manualPageOf, pagePath } from './page.ts';

const { claims, faults } = readLedger();
for (const fault of faults) console.error(fault);
const page = manualPageOf(claims);
const url = new URL(pagePath, root);
let isCurrent = true;
try {
  isCurrent = readFileSync(url, 'utf8') === page;
} catch {
  isCurrent = false;
}
if (faults.length === 0) {
  const count = claims.filter(({ places }) => places.length > 0).length;
  console.log(
    `${claims.length} rules: ${count} in the code, each with a test, and ${claims.length - count} not applicable, each with a reason`,
  );
  if (!isCurrent) {
    writeFileSync(url, page);
    console.error(`${pagePath} was out of date; commit the new version`);
  }
}
process.exitCode = faults.length === 0 && isCurrent ? 0 : 1;
