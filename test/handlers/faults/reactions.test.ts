/** The manual's tables are those of the code, and say what the two clients do. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { faults } from '../../../src/handlers/faults/table.ts';
import { manualPage } from '../../support/documents.ts';
import { faultSections, reactionHead, reactionLine } from './manualTables.ts';
import { observeReactions, type ReactionRow } from './reactions.ts';

const page = manualPage('faults');
const remedy = 'src/manual/faults.md: put in what node build/test/handlers/faults/manualTables.js prints';

/** Milliseconds for a session that differed at first: perhaps the machine was busy. */
const secondPatience = 40_000;

test('the manual has every fault, as it is in the table', () => {
  const sections = faultSections();
  assert.ok(page.includes(`\n${sections}\n`), remedy);
  const rows = [...sections.matchAll(/^\| `([a-z0-9-]+)/gm)].map(([, name]) => name);
  assert.deepEqual(rows.toSorted(), [...faults.keys()].sort());
});

test('ws and websockets react to each fault as the manual says', { timeout: 240_000 }, async t => {
  const table = page.slice(page.indexOf('| fault | ws ')).split('\n');
  const { versions, rows } = await observeReactions();
  assert.equal(rows.length, faults.size);
  const isSame = table[0] === reactionHead(versions);
  if (!isSame) t.diagnostic(`the manual has ${table[0]}; installed are ${versions.join(' and ')}`);
  // Other versions may use other words: what the manual's versions refuse, they refuse, too.
  const refuses = /\| (fails|refuses)[^|]* \| (fails|refuses)[^|]* \|$/;
  const isTrue = (row: ReactionRow) => {
    const line = reactionLine(row);
    if (isSame) return table.includes(line);
    const known = table.find(one => one.startsWith(`| \`${row.fault}\` |`)) ?? '';
    return !refuses.test(known) || refuses.test(line);
  };
  const differing = rows.filter(row => !isTrue(row)).map(({ fault }) => fault);
  if (differing.length === 0) return;
  const again = await observeReactions(differing, secondPatience);
  assert.deepEqual(again.rows.filter(row => !isTrue(row)).map(reactionLine), [], remedy);
});
