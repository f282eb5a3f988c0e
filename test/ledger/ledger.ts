/** `make ledger`: checks that every rule has code and a test, or a reason, and writes the page of the manual. */
import { readFileSync, writeFileSync } from 'node:fs';
import { root } from '../support/documents.ts';
import { readLedger } from './check.ts';
import { manualPageOf, pagePath, tableOf, tablePath } from './page.ts';

const { claims, faults } = readLedger();
for (const fault of faults) console.error(fault);
const written = new Map([
  [pagePath, manualPageOf(claims)],
  [tablePath, tableOf(claims)],
]);
const outdated = [...written].filter(([path, text]) => {
  try {
    return readFileSync(new URL(path, root), 'utf8') !== text;
  } catch {
    return true;
  }
});
if (faults.length === 0) {
  const count = claims.filter(({ places }) => places.length > 0).length;
  console.log(
    `${claims.length} rules: ${count} in the code, each with a test, and ${claims.length - count} not applicable, each with a reason`,
  );
  for (const [path, text] of outdated) {
    writeFileSync(new URL(path, root), text);
    console.error(`${path} was out of date; commit the new version`);
  }
}
process.exitCode = faults.length + outdated.length === 0 ? 0 : 1;
