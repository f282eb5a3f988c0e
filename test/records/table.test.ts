import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { addEntry, freeClosedIds, newTable, nextId, removeEntry } from '../../src/records/table.ts';

test('ids count up from 0, and the lowest free id is given first', () => {
  const table = newTable<string>();
  assert.deepEqual(
    ['a', 'b', 'c', 'd'].map(entry => addEntry(table, entry)),
    [0, 1, 2, 3],
  );
  for (const id of [3, 1, 0]) removeEntry(table, id);
  freeClosedIds(table);
  assert.equal(nextId(table), 0);
  assert.deepEqual(
    ['e', 'f', 'g', 'h'].map(entry => addEntry(table, entry)),
    [0, 1, 3, 4],
  );
  assert.deepEqual(table.entries, ['e', 'f', 'c', 'g', 'h']);
});

test('an id that was closed in this turn is not given again before the next turn', () => {
  const table = newTable<string>();
  addEntry(table, 'a');
  addEntry(table, 'b');
  removeEntry(table, 0);
  assert.equal(table.entries[0], undefined);
  assert.equal(table.size, 1);
  assert.equal(addEntry(table, 'c'), 2);
  freeClosedIds(table);
  assert.equal(addEntry(table, 'd'), 0);
});

test('an id that is removed twice is given only once', () => {
  const table = newTable<string>();
  addEntry(table, 'a');
  removeEntry(table, 0);
  removeEntry(table, 0);
  removeEntry(table, 7);
  freeClosedIds(table);
  assert.deepEqual([addEntry(table, 'b'), addEntry(table, 'c')], [0, 1]);
  assert.equal(table.size, 2);
});

test('the table agrees with a naive model after any sequence of additions and removals', () => {
  const step = fc.oneof(
    { weight: 4, arbitrary: fc.record({ do: fc.constant('add' as const), at: fc.constant(0) }) },
    { weight: 3, arbitrary: fc.record({ do: fc.constant('remove' as const), at: fc.nat(40) }) },
    { weight: 1, arbitrary: fc.record({ do: fc.constant('turn' as const), at: fc.constant(0) }) },
  );
  fc.assert(
    fc.property(fc.array(step, { maxLength: 200 }), steps => {
      const table = newTable<number>();
      const taken = new Map<number, number>();
      const closing = new Set<number>();
      steps.forEach((step, entry) => {
        if (step.do === 'add') {
          let lowest = 0;
          while (taken.has(lowest) || closing.has(lowest)) lowest++;
          assert.equal(nextId(table), lowest);
          assert.equal(addEntry(table, entry), lowest);
          taken.set(lowest, entry);
        } else if (step.do === 'remove') {
          removeEntry(table, step.at);
          if (taken.delete(step.at)) closing.add(step.at);
        } else {
          freeClosedIds(table);
          closing.clear();
        }
        assert.equal(table.size, taken.size);
        for (let id = 0; id < 41; id++) assert.equal(table.entries[id], taken.get(id));
      });
    }),
    { seed: 6455, numRuns: 300 },
  );
});
