import assert from 'node:assert/strict';
import { test } from 'node:test';
import { readyIn } from './start.ts';

test('a ready line is a line of JSON with a port, and no other line is', () => {
  assert.deepEqual(readyIn('{"level":"info","event":"ready","port":8080,"pid":7}'), { port: 8080, pid: 7 });
  for (const line of [
    '',
    'listening on 8080',
    '{"port":0}',
    '{"port":"8080"}',
    '{"port":',
    '{"event":"x"}',
    '8080',
  ]) {
    assert.equal(readyIn(line), undefined, line);
  }
});
