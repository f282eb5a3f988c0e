/** The client library: what one subscription receives, whatever happens to its connection. */
import assert from 'node:assert/strict';
import { afterEach, beforeEach, describe, test } from 'node:test';
import { WebSocket } from 'ws';
import type { Transport } from '../../../src/web/library/records.ts';
import { type Harness, newHarness, settle, storage, until } from './harness.ts';

let harness: Harness;
beforeEach(() => {
  harness = newHarness();
});
afterEach(() => harness.end());

/** Blocks all better transports than this one. */
function leaveOnly(transport: Transport): void {
  const all: Transport[] = ['websocket', 'eventsource', 'polling'];
  for (const one of all.slice(0, all.indexOf(transport))) harness.server.blocked.set(one, 'refused');
}

test('text, JSON and bytes arrive with their ids, channels, events and speakers', async () => {
  for (const transport of ['websocket', 'eventsource', 'polling'] as const) {
    leaveOnly(transport);
    const { server } = harness;
    const seen = harness.subscribe(['orders', 'user-17']);
    await settle();
    assert.deepEqual(seen.states, ['connecting', `open ${transport}`]);
    const sent = [
      ['orders', { data: 'paid\n\nid: x' }],
      ['other', { data: 'not ours' }],
      ['user-17', { data: { order: [17, null] }, event: 'paid' }],
      ['orders', { base64: 'AP9h', from: 'Ada' }],
      ['orders', { base64: '' }],
    ] as const;
    const ids: string[] = [];
    for (const [channel, content] of sent) {
      ids.push(server.publish(channel, content));
      await settle();
    }
    assert.deepEqual(seen.messages, [
      { id: ids[0], channel: 'orders', data: 'paid\n\nid: x' },
      { id: ids[2], channel: 'user-17', data: { order: [17, null] }, event: 'paid' },
      { id: ids[3], channel: 'orders', data: Uint8Array.of(0, 255, 97), from: 'Ada' },
      { id: ids[4], channel: 'orders', data: Uint8Array.of() },
    ]);
    seen.close();
  }
});

for (const transport of ['websocket', 'eventsource', 'polling'] as const) {
  describe(`over ${transport}`, () => {
    beforeEach(() => leaveOnly(transport));

    test('a lost connection is resumed: nothing is missing and nothing arrives twice', async () => {
      const { server, subscribe, pass } = harness;
      // Messages from before the subscription do not arrive.
      server.publish('orders', { data: 'before' });
      const seen = subscribe('orders');
      await settle();
      // The first connection is lost before any message.
      server.drop();
      server.publish('orders', { data: 1 });
      await pass(1000);
      server.publish('orders', { data: 2 });
      await settle();
      server.drop();
      for (const data of [3, 4]) server.publish('orders', { data });
      await pass(2000);
      server.publish('orders', { data: 5 });
      await settle();
      assert.deepEqual(seen.log, [1, 2, 3, 4, 5]);
      const open = `open ${transport}`;
      assert.deepEqual(seen.states, ['connecting', open, 'connecting', open, 'connecting', open]);
    });

    test('a gap is reported before the messages that follow it', async () => {
      const { server, subscribe, pass } = harness;
      const seen = subscribe(['orders', 'news']);
      await settle();
      server.drop();
      for (const data of [1, 2, 3]) server.publish('orders', { data });
      server.forgotten.set('orders', 2);
      await pass(1000);
      assert.deepEqual(seen.log, ['gap: orders', 3]);
    });

    test('a server with a new log is a gap, once, and what it has follows', async () => {
      const { server, subscribe, pass } = harness;
      const seen = subscribe(['orders', 'news']);
      await settle();
      for (const data of [1, 2]) server.publish('orders', { data });
      await settle();
      server.restart('b');
      await pass(1000);
      assert.deepEqual(seen.log, [1, 2, 'gap: orders,news']);
      server.drop();
      server.publish('news', { data: 3 });
      await pass(2000);
      server.drop();
      await pass(4000);
      server.publish('orders', { data: 4 });
      await settle();
      assert.deepEqual(seen.log, [1, 2, 'gap: orders,news', 3, 4]);
    });

    test('a server that lost the end of its log is a gap in all channels', async () => {
      const { server, subscribe, pass } = harness;
      const seen = subscribe(['orders', 'news']);
      await settle();
      for (const data of [1, 2]) server.publish('orders', { data });
      await settle();
      server.restart('a');
      await pass(1000);
      server.publish('orders', { data: 3 });
      await settle();
      assert.deepEqual(seen.log, [1, 2, 'gap: orders,news', 3]);
    });

    test('a dead connection is noticed, and nothing of the meantime is lost', async () => {
      const { server, subscribe, pass } = harness;
      const seen = subscribe('orders');
      await settle();
      server.publish('orders', { data: 1 });
      await settle();
      server.isFrozen = true;
      server.publish('orders', { data: 2 });
      await pass(transport === 'websocket' ? 30_000 : 0);
      server.isFrozen = false;
      server.subscribers.clear();
      await pass(transport === 'websocket' ? 9_999 : 59_999);
      assert.deepEqual(seen.log, [1]);
      await pass(1);
      await pass(1000);
      assert.deepEqual(seen.log, [1, 2]);
    });
  });
}

test('an idle WebSocket is pinged, and stays open while it answers', async () => {
  const { server, subscribe, pass } = harness;
  const seen = subscribe('orders');
  for (let minute = 0; minute < 10; minute++) await pass(30_000);
  assert.equal(server.sent.length, 10);
  assert.equal(server.requests.length, 1);
  assert.deepEqual(seen.states, ['connecting', 'open websocket']);
});

test('`after` resumes at a cursor that a page was rendered with', async () => {
  const { server, subscribe } = harness;
  const rendered = server.publish('orders', { data: 1 });
  server.publish('orders', { data: 2 });
  const seen = subscribe('orders', { after: rendered });
  await settle();
  assert.deepEqual(seen.log, [2]);
});

test('a transport that does not answer for 10 seconds is followed by the next', async () => {
  const { server, subscribe, pass } = harness;
  server.blocked.set('websocket', 'silent').set('eventsource', 'silent');
  const seen = subscribe('orders');
  await pass(9_999);
  assert.equal(server.requests.length, 1);
  await pass(1);
  assert.equal(server.requests.length, 2);
  await pass(10_000);
  assert.deepEqual(seen.states, ['connecting', 'open polling']);
});

test('the transport that worked is tried first, also by the next page', async () => {
  const { server, subscribe, pass } = harness;
  leaveOnly('polling');
  const seen = subscribe('orders');
  await settle();
  const { length } = server.requests;
  server.drop();
  await pass(1000);
  assert.match(server.requests[length]!, /^polling /);
  assert.equal(storage['pollywog'], 2);
  seen.close();
  subscribe('orders');
  await settle();
  assert.match(server.requests.at(-2)!, /^polling .*last=0$/);
});

test('WebSocket is tried again after five minutes, and nothing is lost or doubled', async () => {
  const { server, subscribe, pass } = harness;
  leaveOnly('polling');
  const seen = subscribe('orders');
  await settle();
  for (let minute = 0; minute < 5; minute++) {
    await pass(59_000);
    server.publish('orders', { data: minute });
  }
  server.blocked.clear();
  await pass(6_000);
  server.publish('orders', { data: 'after five minutes' });
  await settle();
  server.publish('orders', { data: 'by WebSocket' });
  await settle();
  assert.deepEqual(seen.log, [0, 1, 2, 3, 4, 'after five minutes', 'by WebSocket']);
  assert.deepEqual(seen.states, ['connecting', 'open polling', 'open websocket']);
});

test('all transports are tried again after all have failed', async () => {
  const { server, subscribe, pass } = harness;
  leaveOnly('polling');
  const seen = subscribe('orders');
  await settle();
  server.isDown = true;
  server.drop();
  await pass(1000);
  server.isDown = false;
  server.blocked.clear();
  await pass(2000);
  assert.equal(seen.states.at(-1), 'open websocket');
});

test('waits double up to 30 seconds, and are short again after a stable connection', async () => {
  const { server, subscribe, pass } = harness;
  server.isDown = true;
  subscribe('orders');
  for (const wait of [1, 2, 4, 8, 16, 30, 30]) {
    await pass(0);
    const { length } = server.requests;
    await pass(wait * 1000 - 1);
    assert.equal(server.requests.length, length, `${wait} s`);
    server.isDown = wait !== 30 || length < 19;
    await pass(1);
    assert.ok(server.requests.length > length, `${wait} s`);
  }
  // Open, but not for long: the exponent is halved.
  const { length } = server.requests;
  await pass(9_000);
  server.drop();
  await pass(Math.floor(1000 * 2 ** 3.5));
  assert.equal(server.requests.length, length);
  await pass(1);
  assert.equal(server.requests.length, length + 1);
  await pass(10_001);
  server.drop();
  await pass(1000);
  assert.equal(server.requests.length, length + 2);
});

test('jitter: the wait is a random part of the longest', async t => {
  const { server, subscribe, pass } = harness;
  t.mock.method(Math, 'random', () => 0.25);
  server.isDown = true;
  subscribe('orders');
  await pass(249);
  assert.equal(server.requests.length, 3);
  await pass(1);
  assert.equal(server.requests.length, 6);
});

test('a page that comes online or becomes visible reconnects at once', async () => {
  const { server, subscribe, window, pass } = harness;
  const seen = subscribe('orders');
  await settle();
  for (const type of ['online', 'visibilitychange']) {
    server.isDown = true;
    server.drop();
    for (let failure = 0; failure < 8; failure++) await pass(30_000);
    assert.equal(seen.states.at(-1), 'connecting');
    server.isDown = false;
    server.publish('orders', { data: type });
    window.dispatchEvent(new Event(type));
    await settle();
    assert.deepEqual([seen.states.at(-1), seen.log.at(-1)], ['open websocket', type]);
  }
});

test('a change of the network checks an open connection: a WebSocket within 10 seconds, others at once', async () => {
  const { server, subscribe, window, pass } = harness;
  const seen = subscribe('orders');
  await settle();
  window.dispatchEvent(new Event('online'));
  assert.deepEqual(server.sent, ['{}']);
  await pass(10_000);
  assert.equal(server.requests.length, 1);
  server.isFrozen = true;
  window.dispatchEvent(new Event('offline'));
  server.subscribers.clear();
  server.isFrozen = false;
  await pass(10_000);
  await pass(1_000);
  assert.equal(server.requests.length, 2);
  leaveOnly('polling');
  server.drop();
  await pass(2_000);
  assert.equal(seen.states.at(-1), 'open polling');
  window.dispatchEvent(new Event('online'));
  server.blocked.clear();
  await settle();
  assert.equal(seen.states.at(-1), 'open websocket');
});

test('a page that becomes visible after a sleep checks its connection, and not after a glance at another tab', async () => {
  const { server, subscribe, window, pass } = harness;
  leaveOnly('eventsource');
  subscribe('orders');
  await pass(29_000);
  const { length } = server.requests;
  window.dispatchEvent(new Event('visibilitychange'));
  await settle();
  assert.equal(server.requests.length, length);
  await pass(2_000);
  window.dispatchEvent(new Event('visibilitychange'));
  await settle();
  assert.ok(server.requests.length > length);
});

test('the token is asked for at each connection; over HTTP, the query has it', async () => {
  const { server, subscribe, pass } = harness;
  let calls = 0;
  const seen = subscribe('a/ü &', {
    token: async () => {
      if (++calls === 2) throw new Error('no token now');
      return `t&${calls}`;
    },
  });
  await settle();
  server.blocked.set('websocket', 'refused');
  server.drop();
  await pass(1000);
  assert.equal(seen.states.at(-1), 'open eventsource');
  const tokens = server.requests.map(request => new URL(request.split(' ')[1]!, 'http://x').searchParams);
  assert.deepEqual(
    tokens.map(query => [query.get('token'), query.get('c'), query.get('format')]),
    [
      [null, 'a/ü &', 'json'],
      ['t&3', 'a/ü &', 'json'],
    ],
  );
  seen.close();
  subscribe('orders', { token: 'secret', url: 'http://server.example/push/' });
  await settle();
  assert.match(server.requests.at(-1)!, / \/push\/channels\?format=json&c=orders&token=secret/);
});

test('a WebSocket has the token in its first message, and announces it in the query', async () => {
  const { server, subscribe, pass } = harness;
  let calls = 0;
  const seen = subscribe('orders', { token: () => `"${++calls}"` });
  await settle();
  // As a token that has expired.
  server.drop();
  await pass(1000);
  assert.equal(seen.states.at(-1), 'open websocket');
  const url = 'websocket /channels?format=json&c=orders&await=token';
  assert.deepEqual(server.requests, [url, `${url}&after=a-0`]);
  assert.deepEqual(
    server.sent.map(text => JSON.parse(text)),
    [{ token: '"1"' }, { token: '"2"' }],
  );
});

test('a refusal ends the subscription with the reason of the server', async () => {
  const { server, subscribe, pass } = harness;
  for (const status of [400, 401, 403, 404]) {
    server.refusal = { status, text: 'the token has expired' };
    const seen = subscribe('orders');
    await settle();
    assert.deepEqual(seen.states, ['connecting', `closed ${status} the token has expired`]);
    const { length } = server.requests;
    await pass(100_000);
    assert.equal(server.requests.length, length);
  }
});

test('an answer that is no refusal of this subscription is tried again', async () => {
  const { server, subscribe, pass } = harness;
  for (const status of [408, 429, 500, 502, 503]) {
    server.refusal = { status, text: 'later' };
    const seen = subscribe('orders');
    await settle();
    server.refusal = undefined;
    await pass(1000);
    assert.equal(seen.states.at(-1), 'open websocket');
    seen.close();
  }
});

test('a token that expires is asked for again before the server’s refusal counts', async () => {
  const { server, subscribe, pass } = harness;
  leaveOnly('polling');
  const seen = subscribe('orders');
  await settle();
  server.refusal = { status: 401, text: 'the token has expired' };
  server.publish('orders', { data: 1 });
  await settle();
  server.refusal = undefined;
  server.publish('orders', { data: 2 });
  await pass(1000);
  assert.deepEqual([seen.log, seen.states.at(-1)], [[1, 2], 'open polling']);
});

test('an exception in a callback is reported, and the next message arrives', async () => {
  const { server, subscribe, reported } = harness;
  const failure = new Error('a bug of the page');
  const seen = subscribe('orders', {}, () => {
    throw failure;
  });
  await settle();
  for (const data of [1, 2]) server.publish('orders', { data });
  await settle();
  assert.deepEqual(seen.log, [1, 2]);
  assert.deepEqual(reported, [failure, failure]);
});

test('no callback is called after close, not even within a callback, and the connection ends', async () => {
  const { server, subscribe, window, pass } = harness;
  for (const transport of ['websocket', 'eventsource', 'polling'] as const) {
    leaveOnly(transport);
    const seen = subscribe('orders', {}, () => seen.close());
    await settle();
    server.drop();
    for (const data of [1, 2]) server.publish('orders', { data });
    await pass(1000);
    assert.deepEqual(seen.log, [1]);
    const { length } = server.requests;
    window.dispatchEvent(new Event('online'));
    await pass(100_000);
    assert.equal(server.subscribers.size, 0);
    assert.equal(server.requests.length, length);
    assert.equal(seen.states.at(-1), `open ${transport}`);
  }
});

test('without WebSocket, as in Node 20, the next transport serves', async () => {
  Object.defineProperty(globalThis, 'WebSocket', { value: undefined, configurable: true });
  const seen = harness.subscribe('orders');
  await settle();
  assert.deepEqual(seen.states, ['connecting', 'open eventsource']);
});

test('with the package ws as WebSocket, a connection that fails does not end the process', async () => {
  Object.defineProperty(globalThis, 'WebSocket', { value: WebSocket, configurable: true });
  // Nothing listens on port 1.
  const seen = harness.subscribe('orders', { url: 'http://127.0.0.1:1' });
  await until(() => seen.states.includes('open eventsource'));
});

test('an invalid URL is an exception', () => {
  assert.throws(() => harness.subscribe('orders', { url: 'http://' }), TypeError);
});
