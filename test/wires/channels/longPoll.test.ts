/** Subscribers that poll: what each answer has, when it comes, and what it costs. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { test } from 'node:test';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { connectionMemory, pollWindow, subscriptionMemory } from '../../../src/protocol/limits.ts';
import { type ChannelPoll, pollChannel } from '../../support/channelClients.ts';
import { startChannels, until } from '../../support/channelServer.ts';
import { ask, requestBytes } from '../../support/pollClient.ts';
import { connectTcp } from '../../support/rawClient.ts';

const patience = { timeout: 60_000 };

test('a poll with "last" is answered at once, with the position', patience, async t => {
  const { port, publish, id } = await startChannels(t);
  assert.deepEqual(await pollChannel(port, '/channels/orders?last=0'), { messages: [], last: id(0) });
  for (const text of ['one', 'two']) await publish('orders', text);
  await publish('news', '{}', { kind: 'json' });
  assert.deepEqual(await pollChannel(port, '/channels?c=orders&c=news&last=1'), {
    messages: [
      { id: id(2), channel: 'orders', data: 'two' },
      { id: id(3), channel: 'news', data: {} },
    ],
    last: id(3),
  });
});

test('a poll waits for the next message of any of its channels', patience, async t => {
  const { port, publish, id, channels } = await startChannels(t);
  await publish('orders', 'before');
  const waiting = pollChannel(port, `/channels?c=orders&c=news&after=${id(1)}`);
  const fresh = pollChannel(port, '/channels/orders');
  await until(() => channels.byName.get('orders')?.waiters.size === 2);
  await publish('others', 'not for it');
  await Promise.all([publish('orders', 'one'), publish('news', 'two'), publish('orders', 'three')]);
  assert.deepEqual(await waiting, {
    messages: [
      { id: id(3), channel: 'orders', data: 'one' },
      { id: id(4), channel: 'news', data: 'two' },
      { id: id(5), channel: 'orders', data: 'three' },
    ],
    last: id(5),
  });
  assert.deepEqual((await fresh).messages.length, 2);
  assert.equal(channels.byName.get('orders')?.waiters.size, 0);
  assert.equal(channels.byName.get('news')?.waiters.size, 0);
});

test('a waiting poll receives a message that is not kept', patience, async t => {
  const { port, publish, id, channels } = await startChannels(t, '--history', '0');
  const waiting = pollChannel(port, '/channels?c=orders&c=quiet');
  await until(() => channels.byName.size === 2);
  await publish('orders', 'gone');
  assert.deepEqual(await waiting, {
    messages: [{ id: id(1), channel: 'orders', data: 'gone' }],
    last: id(1),
  });
  assert.equal(channels.byName.size, 0);
  const late = await pollChannel(port, `/channels/orders?after=${id(0)}`);
  assert.deepEqual(late, { messages: [], gap: ['orders'], last: id(1) });
});

test('a poll reports a gap once, beside the messages that are left', patience, async t => {
  const { port, publish, id } = await startChannels(t, '--history', '1');
  for (const text of ['one', 'two', 'three']) await publish('orders', text);
  const poll = await pollChannel(port, `/channels?c=orders&c=news&after=${id(1)}`);
  assert.deepEqual(poll, {
    messages: [{ id: id(3), channel: 'orders', data: 'three' }],
    gap: ['orders'],
    last: id(3),
  });
  const foreign = await pollChannel(port, '/channels/news?after=otherlog-1');
  assert.deepEqual(foreign, { messages: [], gap: ['news'], last: id(3) });
});

test('a poll is answered without messages after the ping interval, and in a shutdown', patience, async t => {
  const quick = await startChannels(t, '--ping-interval', '50ms');
  assert.deepEqual(await pollChannel(quick.port, '/channels/orders'), { messages: [], last: quick.id(0) });
  await until(() => quick.channels.byName.size === 0);
  const { port, drain, id, channels } = await startChannels(t);
  const waiting = pollChannel(port, '/channels/orders');
  await until(() => channels.byName.size === 1);
  drain();
  assert.deepEqual(await waiting, { messages: [], last: id(0) });
});

test(
  'a waiting poll receives as many messages of a turn as its answer has room for, and their position',
  patience,
  async t => {
    const { port, publish, id, channels } = await startChannels(t, '--history', '0');
    const waiting = pollChannel(port, '/channels/orders');
    await until(() => channels.byName.get('orders')?.waiters.size === 1);
    const text = 'x'.repeat(100_000);
    await Promise.all(Array.from({ length: 10 }, () => publish('orders', text)));
    const { messages, last } = await waiting;
    assert.equal(messages.length, Math.ceil(pollWindow / text.length));
    assert.equal(last, id(messages.length));
    assert.deepEqual(await pollChannel(port, `/channels/orders?after=${last}`), {
      messages: [],
      gap: ['orders'],
      last: id(10),
    });
  },
);

test('the list of messages that a poll collects counts as memory of its connection', patience, async t => {
  const { port, channels, server } = await startChannels(t);
  const waiting = pollChannel(port, '/channels/orders');
  await until(() => channels.byName.get('orders')?.waiters.size === 1);
  const [waiter] = channels.byName.get('orders')!.waiters;
  const before = server.memory.connections;
  for (let seq = 1; seq <= 1000; seq++)
    waiter!.take({
      ...{ seq, time: 0, channel: 'orders', kind: 'text', data: Buffer.from('x'), isKept: false },
    });
  assert.ok(server.memory.connections - before >= 8 * 896, `${server.memory.connections - before} bytes`);
  waiter!.wake();
  assert.equal((await waiting).messages.length, 1000);
});

test(
  'a poll that was answered no longer counts its channels, though its connection stays',
  patience,
  async t => {
    const { port, channels, server, publish } = await startChannels(t);
    const socket = await connectTcp(port);
    const names = Array.from({ length: 100 }, (_, at) => `c=${at}`).join('&');
    socket.write(`GET /channels?${names} HTTP/1.1\r\nHost: x\r\n\r\n`);
    await until(() => channels.byName.size === 100);
    assert.ok(server.memory.connections > 100 * subscriptionMemory);
    await publish('7', 'hello');
    await once(socket, 'data');
    assert.equal(server.memory.connections, connectionMemory);
    socket.destroy();
  },
);

test(
  'a poll that a shutdown answers gets no second answer for a message of the same turn',
  patience,
  async t => {
    const { port, publish, drain, channels } = await startChannels(t);
    const socket = await connectTcp(port);
    socket.write(requestBytes('GET', '/channels/orders'));
    await until(() => channels.byName.get('orders')?.waiters.size === 1);
    const published = publish('orders', 'one');
    drain();
    await published;
    let received = '';
    for await (const bytes of socket) received += bytes;
    assert.equal(received.split('HTTP/1.1 ').length - 1, 1, received);
  },
);

test(
  'an answer is bounded, and the client gets the rest with the position it was given',
  patience,
  async t => {
    const { port, publish, id } = await startChannels(t, '--history', '10000');
    const text = 'x'.repeat(100_000);
    for (let count = 0; count < 10; count++) await publish('orders', `${count} ${text}`);
    const received: string[] = [];
    let answers = 0;
    for (let last = id(0); last !== id(10); answers++) {
      const { body } = await ask(port, 'GET', `/channels/orders?after=${last}`, {
        headers: { Connection: 'close' },
      });
      assert.ok(body.length < 2 * pollWindow, `${body.length} bytes`);
      const poll = JSON.parse(body) as ChannelPoll;
      received.push(...poll.messages.map(({ data }) => String(data).split(' ', 1)[0]!));
      last = poll.last;
    }
    assert.deepEqual(received, ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9']);
    assert.equal(answers, 4);
  },
);

test('requests that are pipelined behind a poll are answered after it', patience, async t => {
  const { port, publish, id, channels } = await startChannels(t);
  const socket = await connectTcp(port);
  let text = '';
  socket.setEncoding('utf8').on('data', piece => {
    text += piece;
  });
  const headers = { Connection: 'keep-alive' };
  socket.write(requestBytes('GET', '/channels/orders', { headers }));
  socket.write(requestBytes('GET', '/channels/orders?last=0', { headers }));
  await until(() => channels.byName.size === 1);
  await publish('orders', 'paid');
  await until(() => text.split('"last"').length === 3);
  const bodies = [...text.matchAll(/^\{.*\}$/gm)].map(([body]) => JSON.parse(body) as ChannelPoll);
  assert.deepEqual(bodies, [
    { messages: [{ id: id(1), channel: 'orders', data: 'paid' }], last: id(1) },
    { messages: [], last: id(1) },
  ]);
  socket.destroy();
});

test(
  'nothing of a poll is left when its client is gone, and a half-closed one gets its answer',
  patience,
  async t => {
    const { port, publish, channels } = await startChannels(t);
    const gone = await connectTcp(port);
    gone.write(requestBytes('GET', '/channels?c=orders&c=news'));
    await until(() => channels.byName.size === 2);
    gone.resetAndDestroy();
    await until(() => channels.byName.size === 0);
    const half = pollChannel(port, '/channels/orders');
    const halfClosed = await connectTcp(port);
    halfClosed.end(requestBytes('GET', '/channels/orders'));
    await until(() => channels.byName.get('orders')?.waiters.size === 2);
    await publish('orders', 'paid');
    assert.match(String(Buffer.concat(await halfClosed.toArray())), /"data":"paid"/);
    assert.equal((await half).messages.length, 1);
  },
);

test('a thousand polls of one channel are answered from one encoded body', { timeout: 120_000 }, async t => {
  const { port, publish, channels, server } = await startChannels(
    t,
    '--max-connections',
    '0',
    '--max-per-address',
    '0',
  );
  const sockets = await Promise.all(Array.from({ length: 1000 }, () => connectTcp(port)));
  const bodies = sockets.map(socket => {
    socket.write(requestBytes('GET', '/channels/orders'));
    return socket.toArray();
  });
  await until(() => channels.byName.get('orders')?.waiters.size === 1000);
  let encodings = 0;
  const { stringify } = JSON;
  const data = 'x'.repeat(50_000);
  t.mock.method(JSON, 'stringify', (value: unknown) => {
    if (value === data) encodings++;
    return stringify(value);
  });
  await publish('orders', data);
  const answers = await Promise.all(bodies);
  assert.equal(encodings, 1);
  assert.ok(server.arena.held < 50_000_000);
  for (const answer of answers) assert.ok(Buffer.concat(answer as Buffer[]).includes(`"data":"${data}"`));
});

test('the answer with a large message does not stay in memory until the next answer', patience, async t => {
  const { port, publish, channels } = await startChannels(t, '--history', '0');
  setFlagsFromString('--expose-gc');
  const collect = runInNewContext('gc') as () => void;
  const used = () => {
    collect();
    const { heapUsed, external } = process.memoryUsage();
    return heapUsed + external;
  };
  const receiveLarge = async () => {
    const waiting = pollChannel(port, '/channels/orders');
    await until(() => channels.byName.get('orders')?.waiters.size === 1);
    await publish('orders', 'x'.repeat(8_000_000));
    assert.equal((await waiting).messages.length, 1);
  };
  await pollChannel(port, '/channels/orders?last=0');
  const before = used();
  await receiveLarge();
  await until(() => used() - before < 4_000_000);
});
