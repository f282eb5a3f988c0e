/** A storm of reconnects, in a short form; `make storm` has 5,000 clients. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { runStorm } from './storm.ts';

test('after a restart, the app gets one question for each user and channel, at most 20 at once, and all clients come back', {
  timeout: 120_000,
}, async t => {
  const [clients, users] = [600, 40];
  const { asked, mostAtOnce, back, refused } = await runStorm(t, clients, users);
  assert.equal(back, clients);
  assert.equal(refused, 0);
  assert.equal(asked.size, 2 * users);
  assert.deepEqual(new Set(asked.values()), new Set([1]));
  assert.ok(mostAtOnce <= 20, `${mostAtOnce}`);
});
