import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { editDistance, nearest } from '../../src/options/error.ts';

test('a swap of neighbouring letters counts as one edit', () => {
  const distances: [string, string, number][] = [
    ['', '', 0],
    ['', 'abc', 3],
    ['abc', '', 3],
    ['port', 'port', 0],
    ['pot', 'port', 1],
    ['prot', 'port', 1],
    ['port', 'sort', 1],
    ['kitten', 'sitting', 3],
  ];
  for (const [a, b, expected] of distances) assert.equal(editDistance(a, b), expected, `${a} to ${b}`);
});

test('the edit distance is symmetric and at most the length of the longer word', () => {
  const word = fc.string({ maxLength: 12 });
  fc.assert(
    fc.property(word, word, (a, b) => {
      const distance = editDistance(a, b);
      assert.equal(distance, editDistance(b, a));
      assert.ok(distance <= Math.max(a.length, b.length));
      assert.equal(distance === 0, a === b);
    }),
    { seed: 6455 },
  );
});

test('nearest finds the closest word, and none if all are too far', () => {
  const known = ['--port', '--host', '--help', '--max-header'];
  assert.equal(nearest('--pot', known), '--port');
  assert.equal(nearest('--hots', known), '--host');
  assert.equal(nearest('--max-haeder', known), '--max-header');
  assert.equal(nearest('--zebra', known), undefined);
  assert.equal(nearest('-q', ['-p', '-h']), undefined);
  assert.equal(nearest('', known), undefined);
  assert.equal(nearest('x'.repeat(1_000_000), ['--port', '--host']), undefined);
});
