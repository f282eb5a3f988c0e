import assert from 'node:assert/strict';
import { test } from 'node:test';
import { clock, skipLostTime } from '../../src/process/clock.ts';

test('the clock does not advance while the process is stopped', () => {
  const expected = clock() - 5000;
  assert.equal(skipLostTime(expected), true);
  assert.ok(clock() < expected + 2000, 'it goes on from when something was expected');
  assert.equal(skipLostTime(clock()), false);
  assert.equal(skipLostTime(0), false, 'nothing was expected');
});
