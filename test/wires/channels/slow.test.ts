/** Subscribers that do not read: the others notice nothing, and they catch up later, or get a gap. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { usedMemory } from '../../../src/core/memory.ts';
import { openEvents, openSocket, pollChannel, type SocketSubscriber } from '../../support/channelClients.ts';
import { startChannels, until } from '../../support/channelServer.ts';
import { MiB } from '../../support/processState.ts';
import { connectRaw } from '../../support/rawClient.ts';

const patience = { timeout: 300_000 };

test(
  'some subscribers stall: the others receive everything, and these catch up or get a gap',
  patience,
  async t => {
    const limit = 64 * MiB;
    const server = await startChannels(
      t,
      ...['--max-memory', '64MB', '--max-buffered', '1MB', '--history', '20', '--history-memory', '8MB'],
      ...['--max-connections', '0', '--max-per-address', '0'],
    );
    const { port, publish, channels, id } = server;
    const path = '/channels/feed?format=json';
    const readers: SocketSubscriber[] = [];
    for (let count = 0; count < 90; count++) readers.push(await openSocket(port, path));
    const sockets = await Promise.all(Array.from({ length: 5 }, () => connectRaw(port, { path })));
    const streams = await Promise.all(Array.from({ length: 5 }, () => openEvents(port, path)));
    for (const stream of streams) await stream.next();
    for (const { socket } of [...sockets, ...streams]) socket.pause();
    const rest = 'x'.repeat(40_000);
    const total = 250;
    let mostUsed = 0;
    for (let seq = 1; seq <= total; seq++) {
      await publish('feed', `${seq} ${rest}`);
      mostUsed = Math.max(mostUsed, usedMemory(server.server));
    }
    assert.ok(mostUsed < limit, `${mostUsed} bytes`);
    const stalled = [...channels.subscribers.values()].filter(({ isLive }) => !isLive);
    t.diagnostic(`${stalled.length} stalled, at most ${(mostUsed / MiB).toFixed(1)} MiB`);
    assert.equal(stalled.length, 10);
    assert.equal(server.server.counters.fellBehind, 0);
    assert.equal(server.server.counters.evicted, 0);
    await until(() => readers.every(({ received }) => received.length === total + 1));
    for (const { received } of readers) {
      received.slice(1).forEach((message, at) => {
        assert.ok(String(message).startsWith(`{"id":"${id(at + 1)}",`));
      });
    }
    for (const { socket } of [...sockets, ...streams]) socket.resume();
    for (const client of sockets) {
      const records: Record<string, unknown>[] = [];
      while (records.at(-1)?.['id'] !== id(total)) {
        const frame = await client.nextFrame();
        assert.ok(frame !== undefined, 'the connection stays open');
        if (frame.opcode === 1) records.push(JSON.parse(String(frame.payload)));
      }
      checkOrder(records.slice(1));
    }
    for (const stream of streams) {
      const records: Record<string, unknown>[] = [];
      while (records.at(-1)?.['id'] !== id(total)) {
        const event = await stream.next();
        assert.ok(event !== undefined, 'the stream goes on');
        if (event.data !== undefined) records.push(JSON.parse(event.data));
      }
      checkOrder(records);
    }
    for (const { socket } of readers) socket.terminate();
    for (const { socket } of [...sockets, ...streams]) socket.destroy();
  },
);

/** Numbers ascend by one, except behind a gap. */
function checkOrder(records: readonly Record<string, unknown>[]): void {
  let before = 0;
  let isGap = false;
  let gaps = 0;
  for (const { id, gap } of records) {
    if (gap !== undefined) {
      isGap = true;
      gaps++;
      continue;
    }
    const seq = Number(String(id).split('-')[1]);
    assert.ok(isGap ? seq > before : seq === before + 1, `${seq} after ${before}`);
    isGap = false;
    before = seq;
  }
  assert.ok(gaps > 0, 'the buffers cannot have held everything');
}

test('a burst that exceeds --max-buffered closes no subscriber of a channel', patience, async t => {
  const { port, publish, channels, server, id } = await startChannels(t, '--max-buffered', '300KB');
  const client = await connectRaw(port, { path: '/channels/feed?format=json' });
  client.socket.pause();
  const rest = 'x'.repeat(100_000);
  // The socket's buffers take the first ones.
  let count = 0;
  const isBusy = () => [...channels.subscribers.keys()].some(({ socket }) => socket.isBusy);
  for (; !isBusy() && count < 500; count++) await publish('feed', rest);
  assert.ok(isBusy());
  for (let burst = 0; burst < 3; burst++, count += 8)
    await Promise.all(Array.from({ length: 8 }, () => publish('feed', rest)));
  assert.equal(server.counters.fellBehind, 0);
  client.socket.resume();
  for (;;) {
    const frame = await client.nextFrame();
    assert.ok(frame !== undefined && frame.opcode !== 8, 'the connection stays open');
    if (String(frame.payload).startsWith(`{"id":"${id(count)}"`)) break;
  }
  client.destroy();
});

test('a subscriber that is evicted leaves nothing behind, over any transport', patience, async t => {
  const { port, channels, server, publish } = await startChannels(t);
  const socket = await connectRaw(port, { path: '/channels?c=feed&c=news' });
  const stream = await openEvents(port, '/channels?c=feed&c=news');
  await stream.next();
  const polling = pollChannel(port, '/channels?c=feed&c=news').catch(() => undefined);
  await until(() => channels.byName.get('feed')?.waiters.size === 1);
  server.configuration = { ...server.configuration, maxMemory: 1 };
  await publish('other', 'x');
  await until(() => channels.subscribers.size === 0 && !channels.byName.has('news'));
  assert.ok(server.counters.evicted >= 3);
  assert.equal((await socket.nextFrame())?.opcode, 1);
  assert.equal((await socket.nextFrame())?.opcode, 8);
  await polling;
});
