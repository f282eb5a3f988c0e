/** The short form of `make strangers`. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { skipUnlessLinux } from '../support/linux.ts';
import { crowdFromOneAddress, hoardMemory } from './strangers.ts';

const patience = { timeout: 240_000 };

test(
  'while strangers hold all they can, memory stays within 1.25 times --max-memory and 128 MiB, and commands are answered',
  patience,
  async t => {
    if (skipUnlessLinux(t, '/proc')) return;
    const { report, faults } = await hoardMemory(t, { seconds: 8, strangers: 200 }, '--max-memory', '256MB');
    t.diagnostic(report.join('\n'));
    assert.deepEqual(faults, []);
  },
);

test(
  'one address with many connections, polls and half handshakes keeps no other address out',
  patience,
  async t => {
    if (skipUnlessLinux(t, '127.0.2.1')) return;
    const { report, faults } = await crowdFromOneAddress(t, 3000, '--max-connections', '1000');
    t.diagnostic(report.join('\n'));
    assert.deepEqual(faults, []);
  },
);
