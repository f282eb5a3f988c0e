/** The short form of `make strangers`. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { strangerNames } from '../soak/load/loads.ts';
import { skipUnlessLinux } from '../support/linux.ts';
import { crowdFromOneAddress, hoardMemory } from './strangers.ts';

// On a busy machine, posts of 16 MiB take minutes beside all the others. The soak has them, too.
const only = strangerNames.filter(name => name !== 'unfetched posts');
const patience = { timeout: 240_000 };

test(
  'while strangers hold all they can, memory stays within 1.25 times --max-memory and 128 MiB, and commands are answered',
  patience,
  async t => {
    if (skipUnlessLinux(t, '/proc')) return;
    const { report, faults } = await hoardMemory(
      t,
      { seconds: 8, strangers: 200, only },
      '--max-memory',
      '256MB',
    );
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
