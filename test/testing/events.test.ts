/** The events of a server in a test's process: `server.events` and `server.waitFor`. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { connect } from '../../src/client/index.ts';
import { listen } from '../../src/index.ts';
import { log, logAs } from '../../src/log/log.ts';
import { maxKeptEvents } from '../../src/protocol/testLimits.ts';
import { forgetEvents, openEvents, readEvents, waitForEvent } from '../../src/testing/events.ts';
import type { ServerEvent } from '../../src/testing/interface.ts';

function newSource() {
  const source = {};
  const { ring, close } = openEvents(source);
  const add = (event: string) => logAs(source, () => log('info', event));
  return {
    ring,
    close,
    add,
    addMany: (count: number) => Array.from({ length: count }, (_, at) => add(`event ${at}`)),
  };
}

test('waitFor finds past events since the last reset, and future ones', async t => {
  const server = await listen();
  t.after(() => server.close());
  const past = server.waitFor(({ event }) => event === 'opened');
  const client = await connect(`${server.url}/echo`);
  const { id, number } = await past;
  assert.equal(await server.waitFor(({ event }) => event === 'opened'), await past);
  const later = server.waitFor(({ event }) => event === 'opened', { after: await past });
  await connect(`${server.url}/echo`);
  assert.ok((await later).number > number);
  await client.close();
  assert.equal((await server.waitFor(({ event }) => event === 'closed')).id, id);
  await server.reset();
  await assert.rejects(
    server.waitFor(({ event }) => event === 'opened', { timeout: 1 }),
    { message: 'no such event within 0.001 s; there were none' },
  );
});

test('a failed wait shows the last events; when the server closes, waits fail at once', async () => {
  const { ring, close, add } = newSource();
  add('splash');
  await assert.rejects(
    waitForEvent(ring, () => false, { timeout: 1 }),
    /the last events were:\n {2}splash \{\}$/,
  );
  await assert.rejects(
    waitForEvent(ring, () => {
      throw new Error('mistake');
    }),
    { message: 'mistake' },
  );
  const pending = waitForEvent(ring, ({ event }) => event === 'later', { timeout: 0 });
  add('other');
  add('later');
  assert.equal((await pending).event, 'later');
  const hopeless = waitForEvent(ring, () => false, { timeout: 0 });
  close();
  await assert.rejects(hopeless, /^Error: the server closed before such an event/);
  assert.equal(ring.listeners.size, 0);
});

test('a wait that is longer than any timer does not fail at once', async () => {
  const { ring, add } = newSource();
  const waits = [2 ** 31, Number.POSITIVE_INFINITY].map(timeout =>
    waitForEvent(ring, ({ event }) => event === 'later', { timeout }),
  );
  const outcome = Promise.allSettled(waits);
  await assert.rejects(waitForEvent(ring, () => false, { timeout: 10 }));
  add('later');
  assert.deepEqual(
    (await outcome).map(({ status }) => status),
    ['fulfilled', 'fulfilled'],
  );
});

test('a reader that is too slow loses the oldest events, and learns how many', async () => {
  const { ring, close, add, addMany } = newSource();
  add('first');
  const reader = readEvents(ring);
  const next = async () => (await reader.next()).value as ServerEvent;
  assert.equal((await next()).event, 'first');
  addMany(maxKeptEvents + 3);
  const lost = await next();
  assert.deepEqual([lost.event, lost.level, lost['count']], ['events lost', 'warn', 3]);
  const oldest = await next();
  assert.deepEqual([oldest.event, oldest.number], ['event 3', lost.number + 1]);
  close();
  let rest = 0;
  for await (const event of reader) rest = event.number;
  assert.equal(rest, maxKeptEvents + 4);
  assert.ok(ring.events.length <= maxKeptEvents);
});

test('a waiting reader gets each event; events that a reset drops do not count as lost', async () => {
  const { ring, close, add } = newSource();
  const reader = readEvents(ring);
  const waiting = reader.next();
  add('splash');
  assert.equal(((await waiting).value as ServerEvent).event, 'splash');
  add('forgotten');
  forgetEvents(ring);
  add('remembered');
  close();
  const rest = [];
  for await (const { event } of reader) rest.push(event);
  assert.deepEqual(rest, ['remembered']);
});

test('events of other servers, and of no server, are left out', () => {
  const { ring, close, add } = newSource();
  const other = newSource();
  log('info', 'of no server');
  other.add('of another server');
  add('own');
  close();
  other.close();
  assert.deepEqual(
    ring.events.filter(Boolean).map(({ event }) => event),
    ['own'],
  );
});
