import assert from 'node:assert/strict';
import { test } from 'node:test';
import { killChannels } from './killNine.ts';

test('a server killed at any moment has logged every message that a client received, and subscribers resume without a gap (longer: make kill)', {
  timeout: 120_000,
}, async t => {
  const seed = Date.now() | 0;
  const { logged, answered, received } = await killChannels(4, seed);
  t.diagnostic(`seed ${seed}: ${logged} logged, ${answered} answered, ${received} received`);
  assert.ok(answered > 0 && received > answered);
});
