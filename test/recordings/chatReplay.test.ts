/** A few minutes of chat; `make replay` takes an hour. */
import assert from 'node:assert/strict';
import { readdirSync } from 'node:fs';
import { test } from 'node:test';
import { plantChange, recordHour, replayAgainst } from './chatHour.ts';

test('a replay of a recorded chat is equal against the same server, and differs against a changed one', async () => {
  const { folder } = await recordHour({ people: 6, minutes: 8, seed: 7 });
  const sessions = readdirSync(folder).length;
  assert.ok(sessions > 6);
  const equal = await replayAgainst(folder);
  assert.deepEqual([equal.status, equal.stderr], [0, '']);
  assert.match(
    equal.stdout,
    new RegExp(`^replayed ${sessions} sessions: \\d{3,} sent, \\d{3,} compared: equal\n$`),
  );
  const different = await replayAgainst(folder, plantChange());
  assert.equal(different.status, 1);
  assert.match(different.stderr, /^[\w-]+: line \d+: expected binary 456a.*; the server sent binary 456a/);
});
