/** The client library with `shared`: several tabs, here in one process, have one connection. */
import assert from 'node:assert/strict';
import { afterEach, beforeEach, test } from 'node:test';
import fc from 'fast-check';
import type { Transport } from '../../../src/web/library/records.ts';
import { type Harness, newHarness, type Seen, settle } from './harness.ts';

let harness: Harness;
beforeEach(() => {
  harness = newHarness();
});
afterEach(() => harness.end());

const shared = { shared: true };

const channelsAsked = ({ server }: Harness) =>
  [...server.subscribers].map(({ channels }) => [...channels].sort());

test('three tabs have one connection for the channels of all of them, and each gets its own', async () => {
  const { server, subscribe } = harness;
  const first = subscribe(['orders', 'news'], shared);
  await settle();
  const second = subscribe('orders', shared);
  await settle();
  assert.equal(server.requests.length, 1, 'the second tab needs no new connection');
  const third = subscribe(['news', 'user-17'], shared);
  await settle();
  assert.deepEqual(channelsAsked(harness), [['news', 'orders', 'user-17']]);
  server.publish('orders', { data: 1 });
  server.publish('news', { data: 2 });
  server.publish('user-17', { base64: 'AA==' });
  await settle();
  assert.deepEqual(first.log, [1, 2]);
  assert.deepEqual(second.log, [1]);
  assert.deepEqual(third.log, [2, Uint8Array.of(0)]);
  for (const tab of [first, second, third]) assert.deepEqual(tab.states, ['connecting', 'open websocket']);
});

test('another tab takes over when the one with the connection closes: nothing is lost or doubled', async () => {
  const { server, subscribe } = harness;
  const tabs = ['orders', 'orders', 'news'].map(channel => subscribe(channel, shared));
  await settle();
  server.publish('orders', { data: 1 });
  await settle();
  tabs[0]!.close();
  server.publish('orders', { data: 2 });
  server.publish('news', { data: 3 });
  await settle();
  server.publish('orders', { data: 4 });
  await settle();
  assert.deepEqual(
    tabs.map(({ log }) => log),
    [[1], [1, 2, 4], [3]],
  );
  assert.deepEqual(channelsAsked(harness), [['news', 'orders']]);
  tabs[1]!.close();
  server.publish('news', { data: 5 });
  await settle();
  assert.deepEqual(tabs[2]!.log, [3, 5]);
  assert.deepEqual(channelsAsked(harness), [['news']]);
});

test('a new tab starts now: it gets neither older messages nor a gap of the connection it joins', async () => {
  const { server, subscribe } = harness;
  const first = subscribe('idle', shared);
  await settle();
  for (const data of [1, 2, 3]) server.publish('busy', { data });
  server.forgotten.set('busy', 2);
  const second = subscribe('busy', shared);
  await settle();
  server.publish('busy', { data: 4 });
  server.publish('idle', { data: 5 });
  await settle();
  assert.deepEqual([first.log, second.log], [[5], [4]]);
});

test('a new tab hears of no gap from before it, whatever the transport', async () => {
  const { server, subscribe } = harness;
  for (const transport of ['websocket', 'eventsource', 'polling'] as const) {
    const first = subscribe('idle', shared);
    await settle();
    server.publish('busy', { data: 'before' });
    server.forgotten.set('busy', server.lastSeq);
    const second = subscribe('busy', shared);
    await settle();
    server.publish('busy', { data: 1 });
    await settle();
    assert.deepEqual([second.log, second.states.at(-1)], [[1], `open ${transport}`]);
    second.close();
    first.close();
    server.blocked.set(transport, 'refused');
  }
});

test('a new tab with a cursor gets what follows it, and the others get nothing twice', async () => {
  const { server, subscribe } = harness;
  const first = subscribe('orders', shared);
  await settle();
  const rendered = server.publish('orders', { data: 1 });
  for (const data of [2, 3]) server.publish('orders', { data });
  await settle();
  const second = subscribe('orders', { ...shared, after: rendered });
  await settle();
  server.publish('orders', { data: 4 });
  await settle();
  assert.deepEqual(
    [first.log, second.log],
    [
      [1, 2, 3, 4],
      [2, 3, 4],
    ],
  );
});

test('a new tab with a cursor of an older log hears of a gap and starts now, and the others notice nothing', async () => {
  const { server, subscribe } = harness;
  const first = subscribe('orders', shared);
  await settle();
  for (const data of [1, 2]) server.publish('orders', { data });
  await settle();
  const second = subscribe('orders', { ...shared, after: 'older-5' });
  await settle();
  const third = subscribe(['orders', 'news'], { ...shared, after: 'older-5' });
  await settle();
  server.publish('orders', { data: 3 });
  server.publish('news', { data: 4 });
  await settle();
  assert.deepEqual(
    [first, second, third].map(({ log }) => log),
    [
      [1, 2, 3],
      ['gap: orders', 3],
      ['gap: orders,news', 3, 4],
    ],
  );
});

test('a new tab gets no message from before it, also if the server has lost its log meanwhile', async () => {
  const { server, subscribe } = harness;
  const first = subscribe('orders', shared);
  await settle();
  server.publish('orders', { data: 'old' });
  await settle();
  server.restart('b');
  for (const data of [1, 2]) server.publish('orders', { data });
  const second = subscribe('orders', shared);
  await settle();
  server.publish('orders', { data: 3 });
  await settle();
  assert.deepEqual([first.log, second.log], [['old', 'gap: orders', 1, 2, 3], [3]]);
});

test('every tab of the channel hears of a gap, and of a lost connection', async () => {
  const { server, subscribe, pass } = harness;
  const tabs = ['orders', 'orders', 'news'].map(channel => subscribe(channel, shared));
  await settle();
  server.drop();
  server.publish('orders', { data: 1 });
  server.forgotten.set('orders', 1);
  await pass(1000);
  assert.deepEqual(
    tabs.map(({ log }) => log),
    [['gap: orders'], ['gap: orders'], []],
  );
  const open = 'open websocket';
  for (const { states } of tabs) assert.deepEqual(states, ['connecting', open, 'connecting', open]);
});

test('a tab that becomes visible wakes the tab with the connection', async () => {
  const { server, subscribe, window, pass } = harness;
  subscribe('orders', shared);
  const second = subscribe('orders', shared);
  await settle();
  server.isDown = true;
  server.drop();
  for (let failure = 0; failure < 8; failure++) await pass(30_000);
  server.isDown = false;
  server.publish('orders', { data: 1 });
  window.dispatchEvent(new Event('visibilitychange'));
  await settle();
  assert.deepEqual(second.log, [1]);
});

test('tabs of different servers have connections of their own', async () => {
  const { server, subscribe } = harness;
  subscribe('orders', shared);
  subscribe('orders', { ...shared, url: 'http://server.example/push' });
  await settle();
  assert.equal(server.subscribers.size, 2);
});

test('without Web Locks, `shared` has a connection of its own', async () => {
  Object.defineProperty(globalThis, 'navigator', { value: {}, configurable: true });
  const tabs = [1, 2].map(() => harness.subscribe('orders', shared));
  await settle();
  harness.server.publish('orders', { data: 1 });
  await settle();
  assert.deepEqual(
    tabs.map(({ log }) => log),
    [[1], [1]],
  );
});

/** What can happen. */
type Step =
  | { readonly publish: string }
  | { readonly open: readonly string[] }
  | { readonly close: number }
  | { readonly block: Transport; readonly how: 'refused' | 'silent' | 'no' }
  | { readonly act: 'drop' | 'down' | 'up' | 'online' | 'visibilitychange' }
  | { readonly pass: number };

const channel = fc.constantFrom('a', 'b', 'c');
const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 6, arbitrary: channel.map(publish => ({ publish })) },
  { weight: 2, arbitrary: fc.uniqueArray(channel, { minLength: 1 }).map(open => ({ open })) },
  { weight: 1, arbitrary: fc.nat(3).map(close => ({ close })) },
  {
    weight: 1,
    arbitrary: fc.record({
      block: fc.constantFrom<Transport[]>('websocket', 'eventsource', 'polling'),
      how: fc.constantFrom('refused', 'silent', 'no'),
    }),
  },
  {
    weight: 2,
    arbitrary: fc
      .constantFrom('drop', 'down', 'up', 'online', 'visibilitychange')
      .map(act => ({ act }) as Step),
  },
  { weight: 3, arbitrary: fc.constantFrom(0, 500, 9_000, 31_000, 301_000).map(pass => ({ pass })) },
);

/** Tabs that were open when a message was published must receive it; a tab may start up to that moment. */
interface ModelTab {
  readonly seen: Seen;
  readonly channels: readonly string[];
  readonly expected: number[];
}

for (const isShared of [true, false]) {
  test(`random losses, blocks and tabs, ${isShared ? 'shared' : 'each for itself'}: every tab gets all messages once, in order`, async () => {
    const run = async (steps: readonly Step[]): Promise<void> => {
      harness.end();
      harness = newHarness();
      const { server, window, pass } = harness;
      let count = 0;
      let tabs: ModelTab[] = [];
      const open = (channels: readonly string[]) => {
        // With a cursor the start is exact, whenever the connection opens.
        const after = `${server.epoch}-${server.lastSeq}`;
        const seen = harness.subscribe(channels, { shared: isShared, after });
        tabs.push({ seen, channels, expected: [] });
      };
      open(['a', 'b']);
      for (const one of steps) {
        if ('publish' in one) {
          server.publish(one.publish, { data: ++count });
          for (const tab of tabs) if (tab.channels.includes(one.publish)) tab.expected.push(count);
        } else if ('open' in one) {
          if (tabs.length < 4) open(one.open);
        } else if ('close' in one) {
          tabs[one.close]?.seen.close();
          tabs = tabs.filter((_, index) => index !== one.close);
        } else if ('block' in one) {
          if (one.how === 'no') server.blocked.delete(one.block);
          else server.blocked.set(one.block, one.how);
        } else if ('pass' in one) await pass(one.pass);
        else if (one.act === 'drop') server.drop();
        else if (one.act === 'down' || one.act === 'up') server.isDown = one.act === 'down';
        else window.dispatchEvent(new Event(one.act));
      }
      server.blocked.clear();
      server.isDown = false;
      for (let wait = 0; wait < 4; wait++) await pass(31_000);
      for (const { seen, channels, expected } of tabs) {
        if (seen.states.at(-1)!.startsWith('closed 403')) continue;
        assert.deepEqual(seen.log, expected, `${channels}: ${seen.states}`);
        assert.match(seen.states.at(-1)!, /^open /);
      }
      if (isShared) assert.ok(server.subscribers.size <= 1, `${server.subscribers.size} connections`);
    };
    await fc.assert(fc.asyncProperty(fc.array(step, { maxLength: 40 }), run), { numRuns: 60 });
  });
}
