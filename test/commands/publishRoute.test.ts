/** Publishing over HTTP: who may, what a body means, and what is refused. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { chmodSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import {
  freeGuesses,
  maxEventName,
  maxIdempotencyKey,
  maxJsonMessage,
  maxPublication,
} from '../../src/protocol/limits.ts';
import { openSocket } from '../support/channelClients.ts';
import { askServer, openServer, run, secret } from '../support/commandWays.ts';
import { connectKept } from '../support/keptClient.ts';
import { MiB, residentMemory } from '../support/processState.ts';
import { connectTcp, exchange } from '../support/rawClient.ts';
import { type Hooks, startServerFor, startServerWith } from '../support/serverProcess.ts';
import { temporaryFolder } from '../support/temporaryFolder.ts';

const publishSecret = 'this-one-only-publishes';

function tokenFile(token: string): string {
  const path = join(temporaryFolder(), 'publish');
  writeFileSync(path, token, { mode: 0o600 });
  return path;
}

async function openPublishing(t: Hooks | undefined, ...options: string[]) {
  const publishFile = tokenFile(publishSecret);
  const server = await openServer(t, '--publish-token', publishFile, ...options);
  const post = async (
    path: string,
    body: BodyInit,
    headers: Record<string, string> = {},
    token = publishSecret,
  ) => {
    const authorization = { Authorization: `Bearer ${token}` };
    const response = await fetch(`http://127.0.0.1:${server.port}${path}`, {
      method: 'POST',
      body,
      headers: { ...authorization, ...headers },
    });
    const answer = (await response.json()) as { id?: string; subscribers?: number; error?: string };
    return { status: response.status, ...answer };
  };
  const command = (...words: string[]) => askServer(server, ...words);
  return { ...server, publishFile, post, command };
}

const form = { 'Content-Type': 'application/x-www-form-urlencoded' };
const json = { 'Content-Type': 'application/json' };

test('the answer has the id of the message; ids of all channels count up together', async t => {
  const server = await openPublishing(t);
  const first = await server.post('/channels/orders', 'paid');
  assert.deepEqual([first.status, first.subscribers], [200, 0]);
  const [epoch, number] = first.id!.split('-');
  assert.match(epoch!, /^[a-z\d]+$/);
  assert.equal(number, '1');
  assert.equal((await server.post('/channels/other', 'paid')).id, `${epoch}-2`);
});

test('a path is decoded once, even if the encoded text is the name of a channel', async t => {
  const server = await openPublishing(t);
  assert.equal((await server.post('/channels/50%25', 'paid')).status, 200);
  assert.equal((await server.post('/channels/50%2525', 'paid')).status, 200);
  assert.equal((await server.post('/channels/50%', 'paid')).status, 400);
  assert.equal((await server.post('/channels/50%25', 'paid')).status, 200);
  const { stdout } = await server.command('history', '50%');
  assert.equal(stdout.match(/paid/g)?.length, 2, stdout);
});

test('publishing over HTTP is off without a token, and the refusal says how to turn it on', async t => {
  const server = await startServerFor(t);
  const response = await fetch(`http://127.0.0.1:${server.port}/channels/orders`, {
    method: 'POST',
    body: 'x',
  });
  assert.equal(response.status, 403);
  assert.match(await response.text(), /start the server with --publish-token FILE or --api-token FILE/);
});

describe('the token', () => {
  test('of --publish-token and of --api-token both publish, but the first runs no commands', async t => {
    const server = await openPublishing(t);
    assert.equal((await server.post('/channels/a', 'x', {}, secret)).status, 200);
    assert.equal((await server.post('/channels/a', 'x', {}, publishSecret)).status, 200);
    assert.equal((await server.post('/api/list', '{}', json, secret)).status, 200);
    assert.equal((await server.post('/api/stop', '{}', json, publishSecret)).status, 401);
    assert.equal((await server.post('/api/publish', '{}', json, publishSecret)).status, 401);
  });

  test('that is missing or wrong gets 401 before the body is read', async t => {
    const server = await openPublishing(t);
    const head = 'POST /channels/a HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n';
    for (const fields of [
      '',
      'Authorization: Bearer wrong\r\n',
      `Authorization: Basic ${publishSecret}\r\n`,
    ]) {
      const answer = (await exchange(server.port, `${head}${fields}\r\n`)).toString();
      assert.match(answer, /^HTTP\/1\.1 401 /);
      assert.match(answer, /\r\nWWW-Authenticate: Bearer realm="pollywog"/);
    }
    assert.equal((await server.post('/channels/a?token=this-one-only-publishes', 'x')).status, 400);
  });

  test('is guessed as slowly as that of the API: wrong ones for both count together', async t => {
    const server = await openPublishing(t);
    for (let count = 0; count < freeGuesses; count++) {
      const path = count % 2 === 0 ? '/channels/a' : '/api/list';
      assert.equal((await server.post(path, '{}', json, `wrong-${count}`)).status, 401);
    }
    const answers = await Promise.all(
      Array.from({ length: 20 }, (_, count) => server.post('/channels/a', 'x', {}, `another-${count}`)),
    );
    const statuses = new Set(answers.map(({ status }) => status));
    assert.deepEqual([...statuses].sort(), [401, 429]);
    assert.equal((await server.post('/channels/a', 'x')).status, 200, 'the right token is always accepted');
  });

  test('is read again at a reload', async t => {
    const server = await openPublishing(t);
    const next = 'the-next-token-to-publish';
    writeFileSync(server.publishFile, next);
    assert.equal((await server.post('/channels/a', 'x', {}, next)).status, 401);
    assert.equal((await server.command('reload')).stderr, '');
    assert.equal((await server.post('/channels/a', 'x', {}, next)).status, 200);
    assert.equal((await server.post('/channels/a', 'x', {}, publishSecret)).status, 401);
  });

  test('that a reload replaces no longer publishes over a WebSocket that is open', async t => {
    const server = await openPublishing(t);
    const client = await openSocket(server.port, `/channels?format=json&token=${publishSecret}`);
    await client.next();
    client.send({ publish: 'a', data: 'x' });
    assert.ok('ok' in (await client.nextJson()));
    writeFileSync(server.publishFile, 'the-next-token-to-publish');
    assert.equal((await server.command('reload')).stderr, '');
    client.send({ publish: 'a', data: 'x' });
    assert.match(String((await client.nextJson())['error']), /publishing needs a token/);
    client.socket.terminate();
  });

  test('cannot be that of the API, which allows everything', async () => {
    const path = tokenFile(secret);
    chmodSync(path, 0o600);
    const none = ['--control', 'none', '--config', 'none'];
    const told = await run(['-p', '0', ...none, '--api-token', path, '--publish-token', path]);
    assert.equal(told.exit, 2);
    assert.match(told.stderr, /have the same token, which would allow every command/);
  });
});

describe('a request is refused with its reason', () => {
  const long = (count: number) => 'x'.repeat(count);
  const nested = (levels: number) => `${'['.repeat(levels)}${']'.repeat(levels)}`;
  const refusals: [
    what: string,
    status: number,
    reason: RegExp,
    path: string,
    headers?: object,
    body?: BodyInit,
  ][] = [
    ['if it names no channel', 404, /name a channel/, '/channels/'],
    ['if it names no channel, without a slash', 404, /name a channel/, '/channels'],
    ['if the name has an empty part', 400, /between slashes/, '/channels/a//b'],
    ['if the name has an encoded dot', 400, /between slashes/, '/channels/a%2F%2E%2e'],
    ['if the name is too long', 400, /1 to 200 characters/, `/channels/${long(201)}`],
    ['if the name has a control character', 400, /control characters/, '/channels/a%00'],
    ['if the name is not UTF-8', 400, /percent-encoded UTF-8/, '/channels/%ff'],
    ['if the name is not percent-encoded', 400, /percent-encoded UTF-8/, '/channels/100%'],
    ['if the query is not UTF-8', 400, /the query is not percent-encoded UTF-8/, '/channels/a?event=%ff'],
    [
      'if a parameter is unknown',
      400,
      /unknown parameter "evnt"; there are event, ttl, key/,
      '/channels/a?evnt=x',
    ],
    ['if the channel is in the query, too', 400, /unknown parameter "c"/, '/channels/a?c=b'],
    ['if a parameter is repeated', 400, /ttl is given twice/, '/channels/a?ttl=1&ttl=2'],
    ['if the event is empty', 400, /name of an event/, '/channels/a?event='],
    ['if the event is too long', 400, /name of an event/, `/channels/a?event=${long(maxEventName + 1)}`],
    ['if the event could start a line', 400, /name of an event/, '/channels/a?event=x%0Adata:%20y'],
    ['if the event is the name of a gap', 400, /must not be called gap/, '/channels/a?event=gap'],
    ['if the ttl is zero', 400, /time to live/, '/channels/a?ttl=0'],
    ['if the ttl is no number', 400, /whole number of seconds/, '/channels/a?ttl=1e3'],
    ['if the ttl is longer than a year', 400, /time to live/, '/channels/a?ttl=9999999999'],
    ['if the key is empty', 400, /idempotency key/, '/channels/a?key='],
    ['if the key is too long', 400, /idempotency key/, `/channels/a?key=${long(maxIdempotencyKey + 1)}`],
    ['if there are two keys', 400, /given twice/, '/channels/a?key=1', { 'Idempotency-Key': '2' }],
    ['if it is not JSON', 400, /not valid JSON/, '/channels/a', json, '{"a":'],
    ['if the JSON is empty', 400, /not valid JSON/, '/channels/a', json, ''],
    ['if the JSON is huge', 400, /at most 1048576 bytes/, '/channels/a', json, `"${long(maxJsonMessage)}"`],
    ['if the text is not UTF-8', 400, /must be UTF-8/, '/channels/a', {}, Buffer.from([0xff])],
    [
      'if the text has another charset',
      415,
      /not "latin1"/,
      '/channels/a',
      { 'Content-Type': 'text/plain; charset=latin1' },
    ],
    [
      'if the body is compressed',
      415,
      /must not be compressed/,
      '/channels/a',
      { 'Content-Encoding': 'gzip' },
    ],
    ['if the form has another field', 400, /encode & in it as %26/, '/channels/a', form, 'data=fish & chips'],
    ['if the form has another field first', 400, /encode & in it as %26/, '/channels/a', form, 'to=x&data=y'],
    ['if the form is not UTF-8', 400, /data in the form is not UTF-8/, '/channels/a', form, 'data=%ff'],
    [
      'if the form has unescaped bytes that are not UTF-8',
      400,
      /data in the form is not UTF-8/,
      '/channels/a',
      form,
      Buffer.from('data=\xff', 'latin1'),
    ],
    ['if the JSON has too many levels', 400, /at most 500 levels/, '/channels/a', json, nested(501)],
    [
      'if it is larger than --max-message',
      413,
      /longer than 2097152 bytes/,
      '/channels/a',
      {},
      long(2_097_153),
    ],
  ];
  let server: Awaited<ReturnType<typeof openPublishing>>;
  before(async () => {
    server = await openPublishing(undefined, '--max-message', '2MB');
  });
  after(() => server.kill());
  /** Publishes a message. @returns the number in its id */
  const nextNumber = async () => Number((await server.post('/channels/a', 'x')).id!.split('-')[1]);

  for (const [what, status, reason, path, headers, body = 'x'] of refusals) {
    test(what, async () => {
      const earlier = await nextNumber();
      const type = { 'Content-Type': 'text/plain' };
      const answer = await server.post(path, body, { ...type, ...headers });
      assert.deepEqual([answer.status, answer.id], [status, undefined]);
      assert.match(answer.error!, reason);
      assert.equal(await nextNumber(), earlier + 1, 'nothing was published');
    });
  }

  test('if it is a multipart form', async () => {
    const data = new FormData();
    data.append('data', 'paid');
    const answer = await server.post('/channels/a', data);
    assert.equal(answer.status, 415);
    assert.match(answer.error!, /multipart forms are not read/);
  });

  test('if the method is neither GET nor POST', async () => {
    for (const method of ['PUT', 'DELETE', 'PATCH']) {
      const response = await fetch(`http://127.0.0.1:${server.port}/channels/a`, { method });
      assert.equal(response.status, 405);
      assert.equal(response.headers.get('allow'), 'GET, HEAD, POST, OPTIONS');
    }
  });
});

test('JSON of 500 levels is published, and history shows it', async t => {
  const server = await openPublishing(t);
  const deep = `{"[[":"\\"[[","a":${'['.repeat(499)}${']'.repeat(499)}}`;
  assert.equal((await server.post('/channels/a', deep, json)).status, 200);
  assert.match((await server.command('history', 'a')).stdout, /\[\[\[/);
});

test('long numbers of JSON stay as they were published, also in the history', async t => {
  const server = await openPublishing(t);
  const order = '{"id":\r\n12345678901234567890,"price":1.00}';
  assert.equal((await server.post('/channels/a', order, json)).status, 200);
  const polled = await fetch(`http://127.0.0.1:${server.port}/channels/a?last=1`);
  assert.ok((await polled.text()).includes(order));
  for (const words of [
    ['history', 'a'],
    ['history', 'a', '--json'],
  ])
    assert.match((await server.command(...words)).stdout, /\{"id": +12345678901234567890,"price":1\.00\}/);
});

test('the message does not have the byte order mark before its JSON', async t => {
  const server = await openPublishing(t);
  assert.equal((await server.post('/channels/a', '\ufeff{"order":17}', json)).status, 200);
  const polled = await fetch(`http://127.0.0.1:${server.port}/channels/a?last=1`);
  assert.match(await polled.text(), /"data":\{"order":17\}/);
});

test('a body that looks like a form of a million fields is published as text, without a slow search', {
  timeout: 20_000,
}, async t => {
  const server = await openPublishing(t);
  const answer = await server.post('/channels/a', `a=${'&data='.repeat(1_000_000)}!`, form);
  // A form has no exclamation mark.
  assert.equal(answer.status, 200);
});

test('blanks in a Content-Type are skipped without a slow search', { timeout: 20_000 }, async t => {
  const server = await openPublishing(t, '--max-header', '1MB');
  const type = `text/plain; charset=${' '.repeat(1_000_000)}x y`;
  assert.equal((await server.post('/channels/a', 'paid', { 'Content-Type': type })).status, 200);
});

test('a repeated idempotency key gets the same answer, for each publisher and each channel on its own', async t => {
  const server = await openPublishing(t);
  const first = await server.post('/channels/a?key=17', 'x');
  assert.deepEqual(await server.post('/channels/a?key=17', 'x'), first);
  assert.deepEqual(await server.post('/channels/a', 'y', { 'Idempotency-Key': '17' }), first);
  assert.deepEqual(await server.post('/channels/a', 'y', { 'Idempotency-Key': '"17"' }), first);
  const numbers = [
    await server.post('/channels/b?key=17', 'x'),
    await server.post('/channels/a?key=17', 'x', {}, secret),
    await server.post('/channels/a?key=18', 'x'),
  ].map(({ id }) => Number(id!.split('-')[1]));
  assert.deepEqual(numbers, [2, 3, 4]);
});

test('a kept message has its channel, key and event in memory, and not the head of its request', async t => {
  const server = await openPublishing(t, '--history', '10000', '--rooms', 'none');
  const client = await connectKept(server.port);
  const publishMany = async (count: number, optionsOf: (at: number) => string) => {
    for (let at = 0; at < count; at++) {
      const head = `POST /channels/channel-of-the-test?${optionsOf(at)} HTTP/1.1\r\nHost: x\r\nCookie: ${'c'.repeat(15_000)}`;
      const fields = `Authorization: Bearer ${publishSecret}\r\nContent-Type: text/plain\r\nContent-Length: 1`;
      assert.equal((await client.ask(`${head}\r\n${fields}\r\n\r\nx`)).status, 200);
    }
  };
  // The same work without new messages: the heap grows to its usual size.
  await publishMany(5000, () => 'key=the-same-key-each-time&event=of-the-same-name');
  const before = residentMemory(server.pid);
  await publishMany(5000, at => `key=another-key-each-time-${at}&event=of-another-name-${at}`);
  const grown = residentMemory(server.pid) - before;
  assert.ok(grown < 30 * MiB, `${grown} bytes`);
  client.socket.destroy();
});

test('pages of other sites publish only if --origin allows them, and their preflights need no token', async t => {
  const server = await openPublishing(t, '--origin', 'https://shop.example');
  const preflight = async (Origin: string) => {
    const url = `http://127.0.0.1:${server.port}/channels/a`;
    return fetch(url, { method: 'OPTIONS', headers: { Origin, 'Access-Control-Request-Method': 'POST' } });
  };
  const allowed = await preflight('https://shop.example');
  assert.equal(allowed.status, 204);
  assert.equal(allowed.headers.get('access-control-allow-origin'), 'https://shop.example');
  assert.match(allowed.headers.get('access-control-allow-headers')!, /Authorization.*Idempotency-Key/);
  assert.equal((await preflight('https://other.example')).status, 403);
  assert.equal((await server.post('/channels/a', 'x', { Origin: 'https://shop.example' })).status, 200);
  assert.equal((await server.post('/channels/a', 'x', { Origin: 'https://other.example' })).status, 403);
});

test('a long message of escapes, line ends or control characters does not use up the heap', async t => {
  const standard = ['-p', '0', '--host', '127.0.0.1', '--config', 'none', '--control', 'none'];
  const options = ['--data', temporaryFolder(), '--publish-token', tokenFile(publishSecret)];
  const environment = { ...process.env, NODE_OPTIONS: '--max-old-space-size=256' };
  const { port } = await startServerWith([...standard, ...options], { test: t, environment });
  const stream = await connectTcp(port);
  stream.on('error', () => {});
  stream.write('GET /channels/a HTTP/1.1\r\nHost: x\r\nAccept: text/event-stream\r\n\r\n');
  await once(stream, 'data');
  stream.pause();
  const messages = [
    // The first one reaches the event stream, which does not read the others.
    ['text/plain', '\n'.repeat(15 * MiB)],
    ['application/x-www-form-urlencoded', `data=${'%41'.repeat(5 * MiB)}`],
    ['text/plain', '\x7f'.repeat(15 * MiB)],
  ] as const;
  for (const [type, body] of messages) {
    const headers = { Authorization: `Bearer ${publishSecret}`, 'Content-Type': type };
    const answer = await fetch(`http://127.0.0.1:${port}/channels/a`, { method: 'POST', body, headers });
    assert.equal(((await answer.json()) as { subscribers: number }).subscribers, 1);
  }
  stream.destroy();
});

test('a message of more than 64 MiB gets 413 before it is read, whatever --max-message allows', async t => {
  const { port } = await openPublishing(t, '--max-message', '128MB');
  const head = `POST /channels/a HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${publishSecret}\r\n`;
  const answer = await exchange(port, `${head}Content-Length: ${maxPublication + 1}\r\n\r\n`);
  assert.match(answer.toString(), /^HTTP\/1\.1 413 /);
});
