/** The manual's tables match the code and the reactions of the two clients. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { faults } from '../../../src/handlers/faults/table.ts';
import { manualPage } from '../../support/documents.ts';
import { faultSections, reactionHead, reactionLine } from './manualTables.ts';
import { observeReactions, type ReactionRow } from './reactions.ts';

const page = manualPage('faults');
const remedy =
  'replace the tables of src/manual/faults.md by the output of node build/test/handlers/faults/manualTables.js';

/** Milliseconds for a second try: the machine may have been too busy for the first. */
const secondPatience = 40_000;

test('the manual describes every fault as the table does', () => {
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
  if (!isSame)
    t.diagnostic(`the manual has ${table[0]}; the installed versions are ${versions.join(' and ')}`);
  // Other versions may use other words, but must refuse the same faults.
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
