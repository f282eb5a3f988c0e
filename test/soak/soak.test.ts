import assert from 'node:assert/strict';
import { test } from 'node:test';
import { niced } from './place.ts';
import { faultsOf, showOutcome } from './report.ts';
import { soak } from './soak.ts';

// `make soak` is the long form, with half the memory and limits for the delays of innocent clients.
test('the server survives all loads at once within its memory, admits new clients, and frees everything', {
  timeout: 240_000,
}, async () => {
  // Clients of a low priority poll late on a busy machine.
  const outcome = await soak({
    ...{ seconds: 8, pollTimeout: '6s', maxMemory: 512 },
    loadsUnder: niced,
  });
  assert.deepEqual(faultsOf(outcome), [], `\n${showOutcome(outcome)}`);
  assert.ok(outcome.innocent.newcomers.count > 0);
});
