/** Subscribers resume across `kill -9` of a server with a log, over every transport. */
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { openEvents, openSocket, pollChannel } from '../../support/channelClients.ts';
import { type Hooks, startServerFor } from '../../support/serverProcess.ts';
import { temporaryFolder } from '../../support/temporaryFolder.ts';
import { copyLog } from './logFolders.ts';

const token = 'a-token-for-the-tests';

/** A folder with a token, in which servers are started one after another. */
function newPlace(t: Hooks) {
  const folder = temporaryFolder();
  const file = join(folder, 'token');
  writeFileSync(file, token, { mode: 0o600 });
  return {
    async start(data = join(folder, 'data')) {
      const server = await startServerFor(t, '--data', data, '--publish-token', file);
      return { ...server, data };
    },
    /** @returns the id */
    async publish(port: number, body: string): Promise<string> {
      const headers = { Authorization: `Bearer ${token}`, 'Content-Type': 'text/plain' };
      const url = `http://127.0.0.1:${port}/channels/orders`;
      const answer = await fetch(url, { method: 'POST', body, headers });
      return ((await answer.json()) as { id: string }).id;
    },
  };
}

test('with an older copy of the log, an id above all its numbers is a gap, and then new messages follow', {
  timeout: 60_000,
}, async t => {
  const { start, publish } = newPlace(t);
  const first = await start();
  await publish(first.port, 'copied');
  const copy = copyLog(first.data);
  await publish(first.port, 'lost');
  const lost = await publish(first.port, 'lost as well');
  await first.kill();
  const { port } = await start(copy);
  const socket = await openSocket(port, `/channels/orders?after=${lost}`);
  assert.equal(await socket.next(), '{"gap":["orders"]}');
  const both = await openSocket(port, `/channels?c=orders&c=news&after=${lost}`);
  const copied = lost.replace(/\d+$/, '1');
  assert.deepEqual(await both.nextJson(), { last: copied });
  assert.deepEqual(await both.nextJson(), { gap: ['orders', 'news'] });
  both.send({ subscribe: 'more', after: lost });
  assert.deepEqual(await both.nextJson(), { ok: { subscribe: 'more', last: copied } });
  assert.deepEqual(await both.nextJson(), { gap: ['more'] });
  const stream = await openEvents(port, '/channels/orders', { 'Last-Event-ID': lost });
  assert.deepEqual(await stream.next(), { retry: '250', id: lost });
  assert.deepEqual(await stream.next(), { event: 'gap', data: '{"gap":["orders"]}' });
  assert.deepEqual(await stream.next(), { id: copied });
  const poll = await pollChannel(port, `/channels/orders?after=${lost}`);
  assert.deepEqual(poll, { messages: [], gap: ['orders'], last: copied });
  await publish(port, 'new');
  assert.equal(await socket.next(), 'new');
  assert.equal((await both.nextJson())['data'], 'new');
  assert.equal((await stream.next())?.data, 'new');
  const { messages } = await pollChannel(port, `/channels/orders?after=${poll.last}`);
  assert.deepEqual(
    messages.map(({ data }) => data),
    ['new'],
  );
  for (const one of [socket, both]) one.socket.terminate();
  stream.socket.destroy();
});

test('messages published before and after a kill -9 arrive once, in order', {
  timeout: 60_000,
}, async t => {
  const { start, publish } = newPlace(t);
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
