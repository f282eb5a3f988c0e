import assert from 'node:assert/strict';
import { test } from 'node:test';
import { skipUnlessLinux } from '../support/linux.ts';
import { cpuSeconds, parseCpuTicks, residentKiB } from './cost.ts';

test('the CPU time is user plus system time, even if the command’s name contains parentheses', () => {
  const after = 'S 1 2 3 0 -1 4194560 5528 0 0 0 88 230 7 9 20 0 11 0 100 739788 44000';
  assert.equal(parseCpuTicks(`42 (node) ${after}`), 318);
  assert.equal(parseCpuTicks(`42 (a) R 1 (b ) ${after}`), 318);
  assert.throws(() => parseCpuTicks('42 (node) S 1'), /not a line/);
});

test('the CPU time and memory of a process can be read from /proc', t => {
  if (skipUnlessLinux(t, '/proc')) return;
  assert.ok(cpuSeconds(process.pid) >= 0);
  assert.ok(residentKiB(process.pid) > 1000);
});
