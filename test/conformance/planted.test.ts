/** Runs a sample of `make planted`, and checks that every bug can still be planted. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { conformanceCases } from '../../src/conformance/table.ts';
import { findBug, withBug } from './plant.ts';
import { plantedBugs } from './plantedBugs.ts';

/** One bug each of framing, text and the handshake. */
const sample = [
  'accepts reserved opcodes of data',
  'accepts characters above U+10FFFF',
  'accepts a handshake in HTTP/1.0',
];

test('there are at least 50 planted bugs, each with a place in the code and a case', () => {
  assert.ok(plantedBugs.length >= 50);
  const names = new Set(conformanceCases.map(({ name }) => name));
  for (const bug of plantedBugs) {
    withBug(bug);
    assert.ok(names.has(bug.case), bug.case);
  }
});

describe('planted bugs', { concurrency: 2 }, () => {
  for (const does of sample) {
    test(`the case finds that the server ${does}`, async () => {
      const bug = plantedBugs.find(each => each.does === does);
      assert.ok(bug);
      assert.equal((await findBug(bug)).verdict, 'FAILED');
    });
  }
});
