import assert from 'node:assert/strict';
import { test } from 'node:test';
import { killNine } from './killNine.ts';

test('a server killed at any moment has written everything that anyone received (longer: killNine.ts --times 100)', {
  timeout: 60_000,
}, async t => {
  const seed = Date.now() | 0;
  const { heard, writtenOnly } = await killNine(5, seed);
  t.diagnostic(`seed ${seed}: ${heard} messages were heard, ${writtenOnly} written and not heard`);
  assert.ok(heard > 0);
});
