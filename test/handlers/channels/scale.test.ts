/** The short form of `make scale`. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { skipUnlessLinux } from '../../support/linux.ts';
import { MiB } from '../../support/processState.ts';
import { fillChannel, fillChannels, stallSome } from './scale.ts';

const patience = { timeout: 120_000 };

test('the server needs no more descriptors for a thousand channels than for one', patience, async t => {
  if (skipUnlessLinux(t, '/proc')) return;
  const { descriptors, memoryEach } = await fillChannels(1000);
  t.diagnostic(`${Math.round(memoryEach)} bytes a channel`);
  assert.equal(descriptors[1], descriptors[0]);
});

test('each of many subscribers gets each message, by WebSocket and by EventSource', patience, async () => {
  await fillChannel('websocket', 500, 3);
  await fillChannel('eventsource', 500, 3);
});

test(
  'subscribers that stall cost the others nothing, stay within --max-memory, and get a gap',
  patience,
  async t => {
    if (skipUnlessLinux(t, '/proc')) return;
    const { memory, gaps } = await stallSome(20, 5, 300);
    t.diagnostic(`${(memory / MiB).toFixed(0)} MiB`);
    assert.equal(gaps, 5);
  },
);
