import assert from 'node:assert/strict';
import { test } from 'node:test';
import { show, swarm } from './swarm.ts';

// `make swaps` is the long form: 200 versions, 20 of them broken.
test('1,000 clients notice none of 20 swaps, which include each kind of broken version', async () => {
  const outcome = await swarm(1000, 25, 5);
  assert.deepEqual(outcome.faults, [], show(outcome));
  assert.equal(outcome.broken, 5);
  assert.ok(outcome.messages > outcome.clients * 10, show(outcome));
  // Node keeps the source and code of every version; connections and messages must not be kept with it.
  assert.ok(outcome.heapAfter - outcome.heapBefore < 8 * 1024 * 1024, show(outcome));
});
