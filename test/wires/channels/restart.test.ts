/** Subscribers resume across `kill -9` of a server with a log, over every transport. */
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { openEvents, openSocket, pollChannel } from '../../support/channelClients.ts';
import { startServer } from '../../support/serverProcess.ts';
import { temporaryFolder } from '../../support/temporaryFolder.ts';

const token = 'a-token-for-the-tests';

test('what was published before a kill -9 and after it arrives once, in order', {
  timeout: 60_000,
}, async t => {
  const folder = temporaryFolder();
  const file = join(folder, 'token');
  writeFileSync(file, token, { mode: 0o600 });
  const start = async () => {
    const server = await startServer('--data', join(folder, 'data'), '--publish-token', file);
    t.after(() => server.kill());
    return server;
  };
  const publish = async (port: number, body: string): Promise<string> => {
    const headers = { Authorization: `Bearer ${token}`, 'Content-Type': 'text/plain' };
    const answer = await fetch(`http://127.0.0.1:${port}/channels/orders`, { method: 'POST', body, headers });
    return ((await answer.json()) as { id: string }).id;
  };
  const first = await start();
  const socket = await openSocket(first.port, '/channels/orders');
  const seen = await publish(first.port, 'seen');
  assert.equal(await socket.next(), 'seen');
  await publish(first.port, 'missed');
  await first.kill();
  const second = await start();
  const newest = await publish(second.port, 'new');
  const expected = ['missed', 'new'];
  const resumed = await openSocket(second.port, `/channels/orders?after=${seen}`);
  assert.deepEqual([await resumed.next(), await resumed.next()], expected);
  const stream = await openEvents(second.port, '/channels/orders', { 'Last-Event-ID': seen });
  assert.deepEqual(await stream.next(), { retry: '250', id: seen });
  assert.deepEqual([(await stream.next())?.data, (await stream.next())?.data], expected);
  const { messages, last, gap } = await pollChannel(second.port, `/channels/orders?after=${seen}`);
  assert.deepEqual(
    messages.map(({ data }) => data),
    expected,
  );
  assert.equal(last, newest);
  assert.equal(gap, undefined);
  resumed.socket.terminate();
  stream.socket.destroy();
});
