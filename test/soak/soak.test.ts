import assert from 'node:assert/strict';
import { test } from 'node:test';
import { faultsOf, showOutcome } from './report.ts';
import { soak } from './soak.ts';

// `make soak` is the long form, which has half the memory, and asserts how long the innocent clients wait as well.
test('the server survives everything at once, within its memory; newcomers get in and nothing is left behind', {
  timeout: 240_000,
}, async () => {
  const outcome = await soak({ seconds: 8, pollTimeout: '3s', maxMemory: 512 });
  assert.deepEqual(faultsOf(outcome), [], `\n${showOutcome(outcome)}`);
  assert.ok(outcome.innocent.newcomers.count > 0);
});
