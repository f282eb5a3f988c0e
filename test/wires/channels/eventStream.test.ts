/** Subscribers that read an event stream, as EventSource does. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { test } from 'node:test';
import { openEvents } from '../../support/channelClients.ts';
import { startChannels, until } from '../../support/channelServer.ts';
import { ask, requestBytes } from '../../support/pollClient.ts';
import { exchange } from '../../support/rawClient.ts';

const patience = { timeout: 30_000 };

test(
  'a stream begins with the position, and has each message as published, with its id',
  patience,
  async t => {
    const { port, publish, id } = await startChannels(t);
    await publish('orders', 'before');
    const stream = await openEvents(port, '/channels/orders');
    assert.deepEqual(await stream.next(), { retry: '250', id: id(1) });
    await publish('orders', 'one\r\ntwo\rthree\n');
    await publish('orders', '{"n":\n1}', { kind: 'json', event: 'payment' });
    await publish('orders', Buffer.from([0, 255]));
    assert.deepEqual(await stream.next(), { id: id(2), data: 'one\ntwo\nthree\n' });
    assert.deepEqual(await stream.next(), { id: id(3), event: 'payment', data: '{"n":\n1}' });
    assert.deepEqual(await stream.next(), { id: id(4), data: 'AP8=' });
    const head = stream.text().slice(0, stream.text().indexOf('\r\n\r\n')).toLowerCase();
    assert.match(head, /content-type: text\/event-stream/);
    assert.match(head, /x-accel-buffering: no/);
    assert.match(head, /vary: origin, accept/);
  },
);

test('a stream of several channels has the JSON form', patience, async t => {
  const { port, publish, id } = await startChannels(t);
  const stream = await openEvents(port, '/channels?c=orders&c=news');
  await stream.next();
  await publish('news', '[1,\n2]', { kind: 'json' });
  await publish('orders', 'paid', { from: 'Ada' });
  const [first, second] = [await stream.next(), await stream.next()];
  assert.deepEqual(JSON.parse(first!.data!), { id: id(1), channel: 'news', data: [1, 2] });
  assert.equal(second?.data, `{"id":"${id(2)}","channel":"orders","from":"Ada","data":"paid"}`);
});

test('a stream resumes after Last-Event-ID, which counts more than the query', patience, async t => {
  const { port, publish, id } = await startChannels(t);
  for (const text of ['one', 'two', 'three']) await publish('orders', text);
  const byField = await openEvents(port, `/channels/orders?after=${id(0)}&last=9`, {
    'Last-Event-ID': id(2),
  });
  assert.deepEqual(await byField.next(), { retry: '250', id: id(2) });
  assert.deepEqual(await byField.next(), { id: id(3), data: 'three' });
  const byQuery = await openEvents(port, `/channels/orders?after=${id(0)}&lastEventId=${id(1)}`);
  assert.deepEqual(await byQuery.next(), { retry: '250', id: id(1) });
  assert.equal((await byQuery.next())?.data, 'two');
});

test(
  'a stream that is cut off before its first message has an id from which nothing is missing',
  patience,
  async t => {
    const { port, publish, id } = await startChannels(t);
    for (const text of ['one', 'two', 'three']) await publish('orders', text);
    const stream = await openEvents(port, '/channels/orders?last=2');
    assert.deepEqual(await stream.next(), { retry: '250', id: id(1) });
    const fromAfter = await openEvents(port, '/channels?c=orders&c=news&after=otherlog-5');
    assert.deepEqual(await fromAfter.next(), { retry: '250', id: 'otherlog-5' });
    assert.deepEqual(await fromAfter.next(), { event: 'gap', data: '{"gap":["orders","news"]}' });
  },
);

test(
  'a stream that has caught up has the newest id, even if the last messages were of other channels',
  patience,
  async t => {
    const { port, publish, id } = await startChannels(t, '--history', '1');
    for (const channel of ['orders', 'orders', 'news']) await publish(channel, channel);
    const stream = await openEvents(port, `/channels/orders?after=${id(0)}`);
    assert.deepEqual(await stream.next(), { retry: '250', id: id(0) });
    assert.deepEqual(await stream.next(), { event: 'gap', data: '{"gap":["orders"]}' });
    assert.deepEqual(await stream.next(), { id: id(2), data: 'orders' });
    assert.deepEqual(await stream.next(), { id: id(3) });
  },
);

test('a silent stream gets a comment after each ping interval', patience, async t => {
  const { port } = await startChannels(t, '--ping-interval', '50ms');
  const stream = await openEvents(port, '/channels/orders');
  while (!stream.text().endsWith('\n\n:\n\n:\n\n')) await once(stream.socket, 'data');
});

test('a stream ends in a graceful shutdown, so the client comes again', patience, async t => {
  const { port, drain, channels } = await startChannels(t);
  const stream = await openEvents(port, '/channels/orders');
  await stream.next();
  drain();
  assert.equal(await stream.next(), undefined);
  stream.socket.destroy();
  await until(() => channels.byName.size === 0);
});

test('nothing of a subscriber is left when its connection has ended, in whatever way', patience, async t => {
  const { port, channels, publish } = await startChannels(t);
  const ways = ['destroy', 'resetAndDestroy', 'end'] as const;
  for (const way of ways) {
    const stream = await openEvents(port, '/channels?c=orders&c=news');
    await stream.next();
    assert.equal(channels.subscribers.size, 1);
    stream.socket[way]();
    await until(() => channels.subscribers.size === 0 && channels.byName.size === 0);
  }
  await publish('orders', 'paid');
  assert.equal(channels.byName.get('orders')?.live.size, 0);
});

test('HEAD and requests of other origins are answered without a stream', patience, async t => {
  const { port, channels } = await startChannels(t, '--origin', 'https://a.example');
  const Accept = 'text/event-stream';
  const head = await ask(port, 'HEAD', '/channels/orders', { headers: { Accept } });
  assert.equal(head.status, 200);
  assert.equal(head.headers.get('content-type'), Accept);
  const Origin = 'https://a.example';
  const stranger = { Origin: 'https://b.example', Accept };
  const refused = await ask(port, 'GET', '/channels/orders', { headers: stranger });
  assert.equal(refused.status, 403);
  assert.equal(refused.headers.has('access-control-allow-origin'), false);
  const readable = await ask(port, 'GET', '/channels/orders?after=x', {
    headers: { Origin },
  });
  assert.equal(readable.status, 400);
  assert.equal(readable.headers.get('access-control-allow-origin'), Origin);
  assert.equal(channels.subscribers.size, 0);
});

test(
  'answers to HEAD have no Content-Length, like those to GET, and keep the connection open',
  patience,
  async t => {
    const { port } = await startChannels(t);
    const head = 'HEAD /channels/orders HTTP/1.1\r\nHost: x\r\n';
    const stream = `${head}Accept: text/event-stream\r\n\r\n`;
    const answers = String(await exchange(port, Buffer.from(`${stream}${head}Connection: close\r\n\r\n`)));
    assert.doesNotMatch(answers, /content-length|transfer-encoding/i);
    const heads = answers.split('\r\n\r\n');
    assert.match(heads[0]!, /^HTTP\/1\.1 200 .*\r\nContent-Type: text\/event-stream/s);
    assert.match(heads[1]!, /^HTTP\/1\.1 200 .*\r\nContent-Type: application\/json/s);
    assert.deepEqual(heads.slice(2), ['']);
  },
);

test('a client that accepts pages and event streams, such as htmx 4, gets a stream', patience, async t => {
  const { port, publish, id } = await startChannels(t);
  const stream = await openEvents(port, '/channels/orders', { Accept: 'text/html, text/event-stream' });
  assert.deepEqual(await stream.next(), { retry: '250', id: id(0) });
  await publish('orders', '<li>paid</li>');
  assert.deepEqual(await stream.next(), { id: id(1), data: '<li>paid</li>' });
});

test(
  'a stream is refused with a sentence if no channel is named or the server is full',
  patience,
  async t => {
    const { port } = await startChannels(t, '--max-connections', '1', '--max-per-address', '0');
    const unnamed = await ask(port, 'GET', '/channels');
    assert.equal(unnamed.status, 400);
    assert.match(unnamed.body, /name a channel/);
    const stream = await openEvents(port, '/channels/orders');
    await stream.next();
    const headers = { Accept: 'text/event-stream' };
    const bytes = requestBytes('GET', '/channels/orders', { headers });
    assert.match(String(await exchange(port, bytes)), /^HTTP\/1\.1 503 .*there are 1 connections already/s);
  },
);
