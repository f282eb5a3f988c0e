/** Subscribers of channels over WebSocket: the request, both forms of messages, and the commands of the JSON form. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { test } from 'node:test';
import { memberText } from '../../../src/handlers/channels/publicationObject.ts';
import { openSocket } from '../../support/channelClients.ts';
import { startChannels, until } from '../../support/channelServer.ts';
import { tryRaw } from '../../support/rawClient.ts';

const patience = { timeout: 30_000 };

test('a subscriber of one channel receives each message as it was published', patience, async t => {
  const { port, publish } = await startChannels(t);
  const client = await openSocket(port, '/channels/orders');
  await publish('orders', 'paid');
  await publish('others', 'not for it');
  await publish('orders', '{"n": 1}', { kind: 'json' });
  await publish('orders', Buffer.from([0, 255]));
  assert.equal(await client.next(), 'paid');
  assert.equal(await client.next(), '{"n": 1}');
  assert.deepEqual(await client.next(), Buffer.from([0, 255]));
});

test(
  'the JSON form has the id, the channel, the event and the speaker of each message',
  patience,
  async t => {
    const { port, publish, id } = await startChannels(t);
    const client = await openSocket(port, '/channels?c=orders&c=user/17&c=orders');
    assert.deepEqual(await client.nextJson(), { last: id(0) });
    await publish('orders', 'paid "in full"\n', { event: 'payment', from: 'Ada' });
    await publish('user/17', '[1, 12345678901234567890]', { kind: 'json' });
    await publish('orders', Buffer.from([0, 255]));
    assert.deepEqual(await client.nextJson(), {
      ...{ id: id(1), channel: 'orders', event: 'payment', from: 'Ada', data: 'paid "in full"\n' },
    });
    assert.equal(
      await client.next(),
      `{"id":"${id(2)}","channel":"user/17","data":[1, 12345678901234567890]}`,
    );
    assert.deepEqual(await client.nextJson(), { id: id(3), channel: 'orders', base64: 'AP8=' });
  },
);

test(
  'one channel is sent in the JSON form if the query or the subprotocol asks for it',
  patience,
  async t => {
    const { port, publish, id } = await startChannels(t);
    const byQuery = await openSocket(port, '/channels/orders?format=json');
    const byProtocol = await openSocket(port, '/channels/orders', ['channels.json']);
    const plain = await openSocket(port, '/channels/orders', ['channels', 'channels.json']);
    assert.equal(byProtocol.socket.protocol, 'channels.json');
    assert.equal(plain.socket.protocol, 'channels');
    await publish('orders', 'paid');
    for (const client of [byQuery, byProtocol]) {
      assert.deepEqual(await client.nextJson(), { last: id(0) });
      assert.deepEqual(await client.nextJson(), { id: id(1), channel: 'orders', data: 'paid' });
    }
    assert.equal(await plain.next(), 'paid');
  },
);

test(
  'a client resumes exactly after the id it gives, and starts with as many messages as it asks for',
  patience,
  async t => {
    const { port, publish, id } = await startChannels(t);
    for (const text of ['one', 'two', 'three']) await publish('orders', text);
    const resumed = await openSocket(port, `/channels/orders?after=${id(1)}`);
    assert.deepEqual([await resumed.next(), await resumed.next()], ['two', 'three']);
    const latest = await openSocket(port, '/channels/orders?last=1');
    assert.equal(await latest.next(), 'three');
    const newest = await openSocket(port, '/channels/orders');
    await publish('orders', 'four');
    assert.deepEqual(
      [await resumed.next(), await latest.next(), await newest.next()],
      ['four', 'four', 'four'],
    );
  },
);

test('a gap comes before the rest if messages after the id are no longer kept', patience, async t => {
  const { port, publish, id } = await startChannels(t, '--history', '2');
  for (const text of ['one', 'two', 'three', 'four']) await publish('orders', text);
  const cut = await openSocket(port, `/channels/orders?after=${id(1)}`);
  assert.deepEqual(await cut.nextJson(), { gap: ['orders'] });
  assert.deepEqual([await cut.next(), await cut.next()], ['three', 'four']);
  const whole = await openSocket(port, `/channels/orders?after=${id(2)}`);
  assert.equal(await whole.next(), 'three');
  const foreign = await openSocket(port, '/channels?c=orders&c=empty&after=otherlog-7');
  assert.deepEqual(await foreign.nextJson(), { last: id(4) });
  assert.deepEqual(await foreign.nextJson(), { gap: ['orders', 'empty'] });
  assert.equal((await foreign.nextJson())['data'], 'three');
});

test('a request that cannot be served is refused before the upgrade, with a sentence', patience, async t => {
  const { port } = await startChannels(t);
  const many = Array.from({ length: 101 }, (_, at) => `c=${at}`).join('&');
  const refusals: [path: string, reason: RegExp][] = [
    ['/channels/', /1 to 200 characters/],
    [`/channels/${'x'.repeat(201)}`, /1 to 200 characters/],
    ['/channels/a//b', /between slashes/],
    ['/channels/a/%2e%2e', /between slashes/],
    ['/channels/%00', /control characters/],
    ['/channels/%ff', /percent-encoding/],
    ['/channels?c=a&c=%ff', /the query is not percent-encoded UTF-8/],
    ['/channels?c=%c3&c=%bc', /the query is not percent-encoded UTF-8/],
    ['/channels/a?c=b', /not in both/],
    [`/channels?${many}`, /100 channels at most/],
    ['/channels/a?format=xml', /only format is "json"/],
    ['/channels/a?last=-1', /number of messages/],
    ['/channels/a?after=', /cannot resume: this is not the id/],
    ['/channels/a?after=12', /cannot resume: this is not the id/],
  ];
  for (const [path, reason] of refusals) {
    const client = await tryRaw(port, { path });
    assert.equal(client.status, 400, path);
    client.socket.destroy();
    // `fetch` resolves the dots of a path itself.
    if (path.includes('%2e')) continue;
    const answer = await fetch(`http://127.0.0.1:${port}${path}`).then(it => it.text());
    assert.match(answer, reason, path);
  }
  const { status, socket } = await tryRaw(port, { path: '/channelsX/a' });
  assert.equal(status, 101, 'the path of another handler, the default');
  socket.destroy();
});

test('a duplicate channel in the query counts once', patience, async t => {
  const { port, channels } = await startChannels(t);
  const path = `/channels?${Array.from({ length: 150 }, (_, at) => `c=${at % 50}`).join('&')}`;
  const client = await openSocket(port, path);
  assert.equal(channels.byName.size, 50);
  client.socket.close();
  await until(() => channels.byName.size === 0);
  assert.equal(channels.subscribers.size, 0);
});

test(
  'subscribing and unsubscribing over the connection is answered before any message',
  patience,
  async t => {
    const { port, publish, id, channels } = await startChannels(t);
    await publish('orders', 'one');
    await publish('orders', 'two');
    const client = await openSocket(port, '/channels?format=json');
    assert.deepEqual(await client.nextJson(), { last: id(2) });
    client.send({ subscribe: 'orders', after: id(1), ref: 7 });
    assert.deepEqual(await client.nextJson(), { ok: { subscribe: 'orders', last: id(2) }, ref: 7 });
    assert.deepEqual(await client.nextJson(), { id: id(2), channel: 'orders', data: 'two' });
    client.send({ subscribe: 'news', last: 3, ref: 'a' });
    assert.deepEqual(await client.nextJson(), { ok: { subscribe: 'news', last: id(2) }, ref: 'a' });
    await publish('news', 'sun');
    await publish('orders', 'three');
    assert.deepEqual(await client.nextJson(), { id: id(3), channel: 'news', data: 'sun' });
    assert.deepEqual(await client.nextJson(), { id: id(4), channel: 'orders', data: 'three' });
    client.send({ unsubscribe: 'news' });
    assert.deepEqual(await client.nextJson(), { ok: { unsubscribe: 'news' } });
    await publish('news', 'rain');
    await publish('orders', 'four');
    assert.deepEqual(await client.nextJson(), { id: id(6), channel: 'orders', data: 'four' });
    assert.equal(channels.byName.get('news')?.subscriptions.size, 0);
  },
);

test('a command that cannot be run is answered with a sentence and its ref', patience, async t => {
  const { port } = await startChannels(t);
  const client = await openSocket(port, '/channels?c=a&c=b');
  await client.next();
  const errors: [command: unknown, reason: RegExp][] = [
    [{}, /send one of/],
    [{ subscribe: 'x', publish: 'x' }, /send one of/],
    [[], /not a JSON object/],
    [{ subscribe: 1, ref: 'r' }, /must be the name/],
    [{ subscribe: '..', ref: 'r' }, /between slashes/],
    [{ subscribe: '\ud800', ref: 'r' }, /valid Unicode/],
    [{ subscribe: 'a', ref: 'r' }, /already subscribed/],
    [{ subscribe: 'x', after: 'y', ref: 'r' }, /cannot resume/],
    [{ subscribe: 'x', last: -1, ref: 'r' }, /number of messages/],
    [{ unsubscribe: 'x', ref: 'r' }, /not subscribed/],
    [{ publish: 'x', data: 1, ref: 'r' }, /needs a token/],
    [{ subscribe: 'x', ref: {} }, /"ref" must be/],
  ];
  for (const [command, reason] of errors) {
    client.send(command as object);
    const { error, ref } = await client.nextJson();
    assert.match(String(error), reason);
    assert.equal(ref, (command as { ref?: unknown }).ref === 'r' ? 'r' : undefined);
  }
  client.socket.send('{');
  assert.match(String((await client.nextJson())['error']), /not valid JSON/);
  client.socket.send(Buffer.from('{}'));
  assert.match(String((await client.nextJson())['error']), /text messages/);
  client.socket.send(`{"publish":"x","data":"${'x'.repeat(1024 * 1024)}"}`);
  assert.match(String((await client.nextJson())['error']), /1048576 bytes at most/);
  for (let at = 2; at < 100; at++) client.send({ subscribe: `c${at}` });
  for (let at = 2; at < 100; at++) assert.ok('ok' in (await client.nextJson()));
  client.send({ subscribe: 'one-too-many' });
  assert.match(String((await client.nextJson())['error']), /100 channels at most/);
});

test('a client whose handshake carried a token publishes over its connection', patience, async t => {
  const { port, channels, id } = await startChannels(t);
  channels.publisherOf = ({ query }) => (query.includes('token=secret') ? () => 'api' : undefined);
  const client = await openSocket(port, '/channels?c=orders&c=news&token=secret');
  await client.next();
  const big = '[12345678901234567890, "a\\"}", {"data": 1}]';
  client.socket.send(`{ "publish" : "orders" , "data" : ${big}, "ref" : 1 }`);
  client.send({ publish: 'news', data: 'text', event: 'sun', ref: 2 });
  client.send({ publish: 'news', base64: 'AP8=', ref: 3 });
  client.send({ publish: 'nobody', data: null, key: 'k', ttl: 60, ref: 4 });
  const answers: Record<string, unknown>[] = [];
  const messages: string[] = [];
  while (answers.length < 4 || messages.length < 3) {
    const next = String(await client.next());
    if (next.startsWith('{"id"')) messages.push(next);
    else answers.push(JSON.parse(next));
  }
  assert.deepEqual(answers, [
    { ok: { publish: 'orders', id: id(1), subscribers: 1 }, ref: 1 },
    { ok: { publish: 'news', id: id(2), subscribers: 1 }, ref: 2 },
    { ok: { publish: 'news', id: id(3), subscribers: 1 }, ref: 3 },
    { ok: { publish: 'nobody', id: id(4), subscribers: 0 }, ref: 4 },
  ]);
  assert.deepEqual(messages, [
    `{"id":"${id(1)}","channel":"orders","data":${big}}`,
    `{"id":"${id(2)}","channel":"news","event":"sun","data":"text"}`,
    `{"id":"${id(3)}","channel":"news","base64":"AP8="}`,
  ]);
  client.send({ publish: 'nobody', data: 'again', key: 'k', ref: 5 });
  assert.deepEqual(await client.nextJson(), { ok: { publish: 'nobody', id: id(4), subscribers: 0 }, ref: 5 });
  const errors: [command: object, reason: RegExp][] = [
    [{ publish: 'x' }, /give the message/],
    [{ publish: 'x', data: 1, base64: '' }, /give the message/],
    [{ publish: 'x', base64: '!' }, /not valid base64/],
    [{ publish: 'x', data: '\udc00' }, /valid Unicode/],
    [{ publish: 'x', data: 1, event: 'gap' }, /must not be called gap/],
    [{ publish: 'x', data: 1, event: 'a\nb' }, /name of an event/],
    [{ publish: 'x', data: 1, ttl: 0 }, /time to live/],
    [{ publish: 'x', data: 1, key: '' }, /idempotency key/],
    [{ publish: 'x', data: 1, key: 5 }, /must be strings/],
  ];
  for (const [command, reason] of errors) {
    client.send(command);
    assert.match(String((await client.nextJson())['error']), reason);
  }
});

test('a subscriber of the plain form that sends anything is closed with the reason', patience, async t => {
  const { port } = await startChannels(t);
  const client = await openSocket(port, '/channels/orders');
  client.send({ subscribe: 'x' });
  const [code, reason] = await once(client.socket, 'close');
  assert.equal(code, 1008);
  assert.match(String(reason), /only receives; commands need \?format=json/);
});

test('the text of a member is found whatever surrounds it', () => {
  const cases: [json: string, value: string][] = [
    ['{"data":1}', '1'],
    [' { "a" : "\\"data\\":2\\\\" , "data" : [1,{"data":3}] }', '[1,{"data":3}]'],
    ['{"data":1,"d\\u0061ta":{"x":"}"}}', '{"x":"}"}'],
    ['{"x":[[],{}],"data":"\\\\"}', '"\\\\"'],
    ['{"data":-1.5e+3\n}', '-1.5e+3'],
  ];
  for (const [json, value] of cases) {
    assert.deepEqual(JSON.parse(json).data, JSON.parse(value));
    assert.equal(memberText(json, 'data'), value);
  }
});
