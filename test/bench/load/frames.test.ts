import assert from 'node:assert/strict';
import { test } from 'node:test';
import { clientFrames, serverFrames } from './frames.ts';

test('the load’s frames are right for each form of the length, masked and unmasked', () => {
  assert.deepEqual([...clientFrames(2, 1)], [0x82, 0x82, 0x37, 0xfa, 0x21, 0x3d, 0x61 ^ 0x37, 0x62 ^ 0xfa]);
  assert.deepEqual([...serverFrames(2, 1)], [0x82, 2, 0x61, 0x62]);
  assert.deepEqual([...clientFrames(300, 1).subarray(0, 4)], [0x82, 0xfe, 1, 44]);
  assert.deepEqual([...serverFrames(126, 1).subarray(0, 4)], [0x82, 126, 0, 126]);
  assert.deepEqual([...serverFrames(0x10000, 1).subarray(0, 10)], [0x82, 127, 0, 0, 0, 0, 0, 1, 0, 0]);
});

test('the load masks with a key that repeats every four bytes', () => {
  const payload = serverFrames(300, 1).subarray(4);
  const masked = clientFrames(300, 1).subarray(4);
  const key = masked.subarray(0, 4);
  assert.deepEqual(
    masked.subarray(4).map((byte, at) => byte ^ key[at % 4]!),
    payload,
  );
});

test('several messages follow each other without a gap', () => {
  const one = clientFrames(300, 1);
  assert.deepEqual(clientFrames(300, 3), Buffer.concat([one, one, one]));
});
