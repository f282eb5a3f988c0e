/** Questions to the app of --auth-url, the cache, and answers of all kinds. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, type Socket } from 'node:net';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { openAccess } from '../../src/access/access.ts';
import { type App, type AppQuestion, askApp, forgetUser, openApp } from '../../src/access/app.ts';
import type { AppAnswer } from '../../src/access/appReply.ts';
import { newEntry } from '../../src/access/entry.ts';
import { openTokens } from '../../src/access/tokens.ts';
import { newServer } from '../../src/core/server.ts';
import { watchLog } from '../../src/log/log.ts';
import { readConfiguration } from '../../src/options/configuration.ts';
import { clock } from '../../src/process/clock.ts';
import { maxAppAnswers, maxAppQuestions, maxQueuedRechecks } from '../../src/protocol/accessLimits.ts';
import type { Connection, Server } from '../../src/records/records.ts';
import { answerByCookie, startApp } from '../support/appServer.ts';
import { temporaryFolder } from '../support/temporaryFolder.ts';

const limit = { timeout: 60_000 };

function open(url: string, ...options: string[]): { app: App; server: Server } {
  const server = newServer(readConfiguration(['--auth-url', url, ...options], {}, ['echo']));
  return { app: openApp(server), server };
}

async function change(server: Server, ...options: string[]): Promise<void> {
  const next = readConfiguration(options, {}, ['echo']);
  const commits = await Promise.all(server.reloadables.map(one => one.prepare(next)));
  server.configuration = next;
  for (const commit of commits) commit();
}

function question(given: Partial<AppQuestion> = {}): AppQuestion {
  return {
    cookie: 'sid=17',
    authorization: undefined,
    origin: undefined,
    address: '203.0.113.7:40000',
    uri: '/channels/orders',
    channels: ['orders'],
    ...given,
  };
}

const ask = (app: App, given: Partial<AppQuestion> = {}): Promise<AppAnswer> =>
  new Promise(resolve => askApp(app, question(given), resolve));

const userOf = (answer: AppAnswer) => (answer.kind === 'user' ? answer.identity.user : answer.kind);
const whyOf = (answer: AppAnswer) => (answer.kind === 'failed' ? answer.why : answer.kind);

/** A server whose answer is these bytes, and which counts its connections. */
async function startRaw(t: TestContext, onConnection: (socket: Socket, count: number) => void) {
  let count = 0;
  const raw = createServer(socket => {
    socket.on('error', () => {});
    t.after(() => void socket.destroy());
    onConnection(socket, ++count);
  });
  raw.listen(0, '127.0.0.1');
  await once(raw, 'listening');
  t.after(() => void raw.close());
  const { port } = raw.address() as { port: number };
  return { url: `http://127.0.0.1:${port}/auth`, connections: () => count };
}

test(
  'the app gets the credentials, the address, the URI and the channels, and names the user',
  limit,
  async t => {
    const { url, requests } = await startApp(t, answerByCookie);
    const { app } = open(url);
    const answer = await ask(app, {
      cookie: 'sid=17; theme=dark',
      authorization: 'Basic eA==',
      origin: 'https://example.com',
      uri: '/channels?c=a&c=b%2C&after=x-7&last=3&token=-',
      channels: ['a', 'b,', 'ö'],
    });
    assert.ok(answer.kind === 'user');
    const { user, means, expiresAt, subscribe, publish } = answer.identity;
    assert.deepEqual([user, means, expiresAt, publish.length], ['17', 'app', undefined, 0]);
    assert.deepEqual(
      subscribe.map(({ source }) => source),
      ['user-17', 'news-*'],
    );
    const [{ method, url: path, headers } = assert.fail()] = requests;
    assert.deepEqual([method, path], ['GET', '/auth']);
    const { host, connection, ...sent } = headers;
    assert.deepEqual(sent, {
      cookie: 'sid=17; theme=dark',
      authorization: 'Basic eA==',
      origin: 'https://example.com',
      'x-forwarded-for': '203.0.113.7',
      'x-original-uri': '/channels?c=a&c=b%2C&token=-',
      'x-channels': 'a, b%2C, %C3%B6',
    });
  },
);

test('an app on a Unix socket is asked in the same way', limit, async t => {
  const { url } = await startApp(t, answerByCookie, join(temporaryFolder(), 'app.sock'));
  assert.equal(userOf(await ask(open(url).app)), '17');
});

test('401 is anonymous, 403 refuses, and everything else is a failure', limit, async t => {
  const { url } = await startApp(t, ({ headers }, response) => {
    const [, status = ''] = /status=(\d+)/.exec(headers.cookie ?? '') ?? [];
    response.writeHead(Number(status), { Location: '/login' }).end();
  });
  const { app } = open(url);
  const kindOf = async (status: number) => (await ask(app, { cookie: `status=${status}` })).kind;
  assert.equal(await kindOf(401), 'anonymous');
  assert.equal(await kindOf(403), 'refused');
  for (const status of [200, 204, 301, 302, 303, 304, 307, 400, 404, 407, 410, 429, 500, 502, 503, 999])
    assert.equal(await kindOf(status), 'failed', `${status}`);
});

test('an X-User or a list of channels that is not valid is a failure', limit, async t => {
  let fields: Record<string, string | string[]> = {};
  const { url } = await startApp(t, (_, response) => {
    response.writeHead(200, fields).end();
  });
  const { app } = open(url, '--auth-cache', '0');
  const answerTo = async (given: typeof fields) => {
    fields = given;
    return ask(app);
  };
  const latin1 = (text: string) => Buffer.from(text).toString('latin1');
  const valid = { 'X-User': '17' };
  const refused: (typeof fields)[] = [
    {},
    { 'X-User': '' },
    { 'X-User': ['17', '18'] },
    { 'X-User': 'x'.repeat(201) },
    { 'X-User': 'a\tb' },
    { 'X-User': '\xff\xfe' },
    { 'X-User': latin1('a\u0085b') },
    { ...valid, 'X-Channels': '%' },
    { ...valid, 'X-Channels': '\xff' },
    { ...valid, 'X-Publish': '%ff' },
    { ...valid, 'X-Channels': 'a,'.repeat(1001) },
  ];
  for (const given of refused)
    assert.equal((await answerTo(given)).kind, 'failed', JSON.stringify(given).slice(0, 80));
  assert.match(
    whyOf(await answerTo({})),
    /^answered 200 without X-User; it must answer 401 if nobody is signed in$/,
  );
  assert.equal(userOf(await answerTo({ 'X-User': latin1('Zoë 🦆') })), 'Zoë 🦆');
  const answer = await answerTo({ ...valid, 'X-Channels': ['a', 'b%2Cc, ,d'], 'X-Publish': latin1('ö-*') });
  assert.ok(answer.kind === 'user');
  assert.deepEqual(
    answer.identity.subscribe.map(({ source }) => source),
    ['a', 'b,c', 'd'],
  );
  assert.deepEqual(
    answer.identity.publish.map(({ source }) => source),
    ['ö-*'],
  );
});

test(
  'connections to the app are kept, and never more than --auth-concurrency requests are open',
  limit,
  async t => {
    const waiting: (() => void)[] = [];
    const app1 = await startApp(t, (request, response) => {
      waiting.push(() => answerByCookie(request, response));
      if (waiting.length === 3) for (const answer of waiting.splice(0)) answer();
    });
    const { app, server } = open(app1.url, '--auth-concurrency', '3');
    const answers = await Promise.all(
      Array.from({ length: 60 }, (_, user) => ask(app, { cookie: `sid=${user}` })),
    );
    assert.deepEqual(
      answers.map(userOf),
      Array.from({ length: 60 }, (_, user) => `${user}`),
    );
    assert.equal(app1.mostAtOnce(), 3);
    assert.equal(app1.connections(), 3);
    assert.equal(server.descriptors.app, 3);
    assert.equal(server.counters.appRequests, 60);
  },
);

test('a higher --auth-concurrency applies at a reload, to questions that wait', limit, async t => {
  const app1 = await startApp(t, () => {});
  const { app, server } = open(app1.url, '--auth-concurrency', '1');
  for (let user = 0; user < 5; user++) askApp(app, question({ cookie: `sid=${user}` }), () => {});
  await app1.untilAsked(1);
  await change(server, '--auth-url', app1.url, '--auth-concurrency', '4');
  await app1.untilAsked(4);
  assert.equal(app1.requests.length, 4);
});

test('identical questions share one request, and later ones its answer', limit, async t => {
  const { url, requests } = await startApp(t, answerByCookie);
  const { app, server } = open(url);
  const answers = await Promise.all(Array.from({ length: 100 }, () => ask(app)));
  assert.deepEqual(new Set(answers.map(userOf)), new Set(['17']));
  assert.equal(
    userOf(await ask(app, { address: '198.51.100.1:1', uri: '/channels/orders?after=x-1' })),
    '17',
  );
  assert.equal(requests.length, 1);
  assert.equal(server.counters.appCacheHits, 1);
});

test(
  'an answer is never given to a question that differs in any credential, the origin, the URI or the channels',
  limit,
  async t => {
    const { url, requests } = await startApp(t, answerByCookie);
    const { app } = open(url);
    const others: Partial<AppQuestion>[] = [
      {},
      { cookie: 'sid=18' },
      { cookie: 'sid=17; a' },
      { cookie: undefined, authorization: 'sid=17' },
      { authorization: 'Bearer x' },
      { authorization: 'Bearer y' },
      { cookie: undefined },
      { cookie: undefined, address: '203.0.113.8:1' },
      { origin: 'https://a' },
      { uri: '/channels/order' },
      { channels: ['orders', 'b'] },
      { channels: ['orders,b'] },
      { channels: [] },
      // No field can pass for another one.
      { origin: '"],"https://a' },
    ];
    for (const [index, other] of others.entries()) {
      await ask(app, other);
      assert.equal(requests.length, index + 1, JSON.stringify(other));
    }
    for (const other of others) await ask(app, other);
    assert.equal(requests.length, others.length);
  },
);

test(
  'with --auth-cookie the app gets these cookies and no other credential, and they alone tell clients apart',
  limit,
  async t => {
    const { url, requests } = await startApp(t, answerByCookie);
    const { app } = open(url, '--auth-cookie', 'sid');
    const cookies = ['sid=17; _ga=1', '_ga=2; sid=17', 'sid=17', ' sid=17 ;x'];
    for (const cookie of cookies)
      assert.equal(userOf(await ask(app, { cookie, authorization: 'Bearer x' })), '17');
    assert.deepEqual(
      requests.map(({ headers }) => [headers.cookie, headers.authorization]),
      [['sid=17', undefined]],
    );
    assert.equal(userOf(await ask(app, { cookie: 'sid=18; sid=17' })), '18');
    assert.equal(userOf(await ask(app, { cookie: 'SID=17; xsid=17; a="; sid=17"x' })), '17');
    assert.deepEqual(
      requests.map(({ headers }) => headers.cookie),
      ['sid=17', 'sid=18; sid=17', 'sid=17"x'],
    );
    assert.equal(userOf(await ask(app, { cookie: 'SID=17; xsid=17' })), 'anonymous');
  },
);

test(
  'an answer with a user is reused for --auth-cache, a refusal for a second, and no failure is',
  limit,
  async t => {
    const { url, requests } = await startApp(t, ({ headers }, response) => {
      if (headers.cookie === 'broken') response.writeHead(500).end();
      else if (headers.cookie === 'banned') response.writeHead(403).end();
      else answerByCookie({ headers } as never, response);
    });
    const { app, server } = open(url);
    const countAfter = async (given: Partial<AppQuestion>) => {
      const before = requests.length;
      await ask(app, given);
      return requests.length - before;
    };
    const advance = (milliseconds: number) => {
      for (const list of [app.answers.users, app.answers.refusals])
        for (const kept of list.values()) Object.assign(kept, { since: kept.since - milliseconds });
    };
    const [user, stranger, banned, broken] = ['sid=17', 'x', 'banned', 'broken'].map(cookie => ({ cookie }));
    for (const given of [user!, stranger!, banned!]) {
      assert.equal(await countAfter(given), 1);
      assert.equal(await countAfter(given), 0);
    }
    for (let round = 0; round < 2; round++) assert.equal(await countAfter(broken!), 1);
    advance(1000);
    assert.equal(await countAfter(user!), 0);
    assert.equal(await countAfter(stranger!), 1);
    assert.equal(await countAfter(banned!), 1);
    advance(9000);
    assert.equal(await countAfter(user!), 1);
    await change(server, '--auth-url', url, '--auth-cache', '0');
    assert.equal(await countAfter(user!), 1);
    assert.equal(await countAfter(user!), 1);
  },
);

test('kept answers are bounded in number and bytes, and refusals do not push out users', limit, async t => {
  const { url } = await startApp(t, answerByCookie);
  const { app, server } = open(url, '--auth-concurrency', '50', '--max-memory', '1GB');
  await ask(app);
  assert.equal(server.memory.app, app.answers.bytes);
  const { keepAnswer, findAnswer } = await import('../../src/access/appAnswers.ts');
  const known = [...app.answers.users.keys()][0]!;
  const room = { now: clock(), lifetime: 10_000, maxBytes: 4 * 1024 * 1024 * 1024 };
  for (let at = 0; at < 2 * maxAppAnswers; at++) keepAnswer(app.answers, `k${at}`, { kind: 'refused' }, room);
  assert.equal(app.answers.refusals.size + app.answers.users.size, maxAppAnswers);
  assert.ok(findAnswer(app.answers, known, clock(), 10_000));
  keepAnswer(app.answers, 'last', { kind: 'refused' }, { ...room, maxBytes: 5000 });
  assert.ok(app.answers.bytes <= 5000);
  keepAnswer(app.answers, 'none', { kind: 'refused' }, { ...room, maxBytes: 0 });
  assert.deepEqual([app.answers.bytes, app.answers.users.size, app.answers.refusals.size], [0, 0, 0]);
});

test('a question whose askers are all gone is not asked, and others are', limit, async t => {
  const open1: (() => void)[] = [];
  const app1 = await startApp(t, (request, response) => {
    open1.push(() => answerByCookie(request, response));
  });
  const { app, server } = open(app1.url, '--auth-concurrency', '1');
  const first = ask(app, { cookie: 'sid=1' });
  const cancels = [2, 3].map(user => askApp(app, question({ cookie: `sid=${user}` }), () => assert.fail()));
  cancels.push(askApp(app, question({ cookie: 'sid=4' }), () => assert.fail()));
  const last = ask(app, { cookie: 'sid=4' });
  await app1.untilAsked(1);
  // A second call has no effect.
  for (const cancel of [...cancels, ...cancels]) cancel();
  open1[0]!();
  await first;
  await app1.untilAsked(2);
  open1[1]!();
  assert.equal(userOf(await last), '4');
  assert.equal(app1.requests.length, 2);
  assert.equal(app.pending.size, 0);
  assert.equal(server.memory.app, app.answers.bytes);
});

test(
  'a request whose askers are gone counts until it is answered, and its answer is kept',
  limit,
  async t => {
    const open1: (() => void)[] = [];
    const app1 = await startApp(t, (request, response) => {
      open1.push(() => answerByCookie(request, response));
    });
    const { app } = open(app1.url, '--auth-concurrency', '1');
    const cancel = askApp(app, question({ cookie: 'sid=1' }), () => assert.fail());
    await app1.untilAsked(1);
    cancel();
    const next = ask(app, { cookie: 'sid=2' });
    const back = ask(app, { cookie: 'sid=1' });
    open1[0]!();
    assert.equal(userOf(await back), '1');
    await app1.untilAsked(2);
    open1[1]!();
    assert.equal(userOf(await next), '2');
    assert.equal(app1.mostAtOnce(), 1);
  },
);

test('after forgetUser the app is asked again, and an answer on its way does not count', limit, async t => {
  const held: (() => void)[] = [];
  let isSignedIn = true;
  const app1 = await startApp(t, ({ headers }, response) => {
    const isIn = isSignedIn;
    held.push(() => answerByCookie({ headers: isIn ? headers : {} } as never, response));
  });
  const { app } = open(app1.url);
  const first = ask(app);
  await app1.untilAsked(1);
  isSignedIn = false;
  forgetUser(app, '17');
  held[0]!();
  await app1.untilAsked(2);
  held[1]!();
  assert.equal((await first).kind, 'anonymous');
  app.answers.refusals.clear();

  isSignedIn = true;
  const [again, other] = [ask(app), ask(app, { cookie: 'sid=18' })];
  await app1.untilAsked(4);
  for (const answer of held.slice(2)) answer();
  assert.equal(userOf(await again), '17');
  await other;
  forgetUser(app, '17');
  const third = ask(app);
  await app1.untilAsked(5);
  held[4]!();
  assert.equal(userOf(await third), '17');
  await ask(app, { cookie: 'sid=18' });
  assert.equal(app1.requests.length, 5, 'answers about other users stay');
});

test(
  'after a change of --auth-url the new app is asked, also about what the old one was being asked',
  limit,
  async t => {
    const before = await startApp(t, () => {});
    const after = await startApp(t, answerByCookie);
    const { app, server } = open(before.url);
    const waiting = ask(app);
    await before.untilAsked(1);
    await change(server, '--auth-url', after.url);
    before.server.closeAllConnections();
    assert.equal(userOf(await waiting), '17');
    await change(server);
    assert.equal(whyOf(await ask(app)), 'is not configured');
    await change(server, '--auth-url', after.url);
    assert.equal(userOf(await ask(app)), '17');
    assert.equal(after.requests.length, 2);
  },
);

test(
  'an app that does not answer, breaks off, or answers with garbage is a failure, and the next question is asked',
  limit,
  async t => {
    const head = 'HTTP/1.1 200 OK\r\nX-User: 17\r\n';
    const shapes: [name: string, behave: (socket: Socket) => void, why: RegExp][] = [
      ['hangs', () => {}, /^has not answered within 0.3 s$/],
      ['sends a head without end', socket => void socket.write(head), /^has not answered/],
      ['closes', socket => socket.end(), /^closed the connection without an answer$/],
      ['resets', socket => void socket.resetAndDestroy(), /^closed the connection without an answer$/],
      ['breaks off in the head', socket => socket.end(head), /^closed the connection without an answer$/],
      [
        'sends garbage',
        socket => socket.end('SSH-2.0-OpenSSH\r\n\r\n'),
        /^answered with something that is not HTTP/,
      ],
      ['sends a bad field', socket => socket.end(`${head}a b: c\r\n\r\n`), /not HTTP/],
      [
        'sends a long head',
        socket => socket.end(`${head}A: ${'x'.repeat(100_000)}\r\n\r\n`),
        /head of more than 16 KB$/,
      ],
      [
        'switches protocols',
        socket => socket.end('HTTP/1.1 101 X\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n'),
        /./,
      ],
      [
        'redirects',
        socket => socket.end('HTTP/1.1 302 Found\r\nLocation: /login\r\nContent-Length: 0\r\n\r\n'),
        /^answered 302, a redirect/,
      ],
    ];
    for (const [name, behave, why] of shapes) {
      const raw = await startRaw(t, (socket, count) =>
        count === 1
          ? socket.once('data', () => behave(socket))
          : socket.end(`${head}Content-Length: 0\r\n\r\n`),
      );
      const { app, server } = open(raw.url, '--auth-timeout', '300ms', '--auth-concurrency', '1');
      assert.match(whyOf(await ask(app)), why, name);
      assert.equal(userOf(await ask(app)), '17', name);
      assert.equal(raw.connections(), 2, name);
      while (server.descriptors.app > 0) await new Promise(resolve => setImmediate(resolve));
    }
  },
);

test(
  'the body of an answer is ignored: an endless, slow or broken one only ends its connection',
  limit,
  async t => {
    const head = 'HTTP/1.1 200 OK\r\nX-User: 17\r\n';
    // Only its size ends the endless one.
    const shapes: [name: string, behave: (socket: Socket) => void, timeout?: string][] = [
      [
        'endless',
        socket => {
          socket.write(`${head}Transfer-Encoding: chunked\r\n\r\n`);
          const write = () => {
            while (!socket.destroyed && socket.write(`4000\r\n${'x'.repeat(0x4000)}\r\n`));
          };
          socket.on('drain', write);
          write();
        },
        '0',
      ],
      ['slow', socket => void socket.write(`${head}Content-Length: 10\r\n\r\nx`)],
      ['cut', socket => socket.end(`${head}Content-Length: 10\r\n\r\nx`)],
      ['malformed', socket => void socket.write(`${head}Transfer-Encoding: chunked\r\n\r\nzz\r\n`)],
    ];
    for (const [name, behave, timeout = '300ms'] of shapes) {
      const raw = await startRaw(t, socket => socket.once('data', () => behave(socket)));
      const { app } = open(raw.url, '--auth-timeout', timeout, '--auth-concurrency', '1');
      assert.equal(userOf(await ask(app)), '17', name);
      // The request counts until its body has ended.
      assert.equal(userOf(await ask(app, { cookie: 'sid=18' })), '17', name);
      assert.equal(raw.connections(), 2, name);
    }
  },
);

test('a request that a kept connection loses is sent once more on a new connection', limit, async t => {
  const answer = 'HTTP/1.1 200 OK\r\nX-User: 17\r\nContent-Length: 0\r\n\r\n';
  let isBroken = false;
  const raw = await startRaw(t, socket => {
    let requests = 0;
    socket.on('data', () => {
      if (++requests === 1 && !isBroken) socket.write(answer);
      else socket.resetAndDestroy();
    });
  });
  const { app, server } = open(raw.url, '--auth-cache', '0');
  for (let round = 1; round <= 3; round++) assert.equal(userOf(await ask(app)), '17');
  assert.equal(server.counters.appFailures, 0);
  const before = raw.connections();
  isBroken = true;
  await ask(app);
  assert.equal((await ask(app)).kind, 'failed');
  assert.ok(raw.connections() - before <= 3, 'no more than one repetition');
});

test('failures are logged once a minute, with their number', limit, async t => {
  const { url } = await startApp(t, (_, response) => response.writeHead(500).end());
  const lines: string[] = [];
  const unwatch = watchLog(line => lines.push(line) > 0, 'warn', 'json');
  t.after(unwatch);
  const { app, server } = open(url);
  for (let round = 0; round < 50; round++) assert.equal((await ask(app)).kind, 'failed');
  app.failureLoggedAt -= 60_000;
  await ask(app);
  assert.deepEqual(
    lines
      .map(line => JSON.parse(line))
      .map(({ event, url: shown, why, failures }) => ({ event, shown, why, failures })),
    [1, 50].map(failures => ({
      event: 'asking the app failed',
      shown: url,
      why: 'the app answered 500',
      failures,
    })),
  );
  assert.equal(server.counters.appFailures, 51);
});

test('an app that is down is named with the remedy', limit, async () => {
  const { app } = open('http://127.0.0.1:1/auth');
  assert.equal(
    whyOf(await ask(app)),
    'does not listen at http://127.0.0.1:1/auth; start it, or correct --auth-url',
  );
  const { app: onSocket } = open('unix:/nonexistent/app.sock');
  assert.match(whyOf(await ask(onSocket)), /^does not listen at unix:\/nonexistent\/app.sock;/);
});

test(
  'questions that wait are bounded, one address has a quarter of the places, and addresses take turns',
  limit,
  async t => {
    const answers: (() => void)[] = [];
    const asked: string[] = [];
    const app1 = await startApp(t, (request, response) => {
      asked.push(request.headers['x-forwarded-for'] as string);
      answers.push(() => answerByCookie(request, response));
    });
    const { app, server } = open(
      app1.url,
      '--auth-concurrency',
      '1',
      '--auth-timeout',
      '0',
      '--max-memory',
      '1GB',
    );
    const kinds: string[] = [];
    const put = (address: string, cookie: string) =>
      askApp(app, question({ address, cookie }), answer => kinds.push(answer.kind));
    put('203.0.113.1:1', 'sid=0');
    await app1.untilAsked(1);
    for (let at = 0; at < maxAppQuestions / 4; at++) put('203.0.113.1:1', `sid=a${at}`);
    const lastOfFirst = app.queue.byAddress.get('203.0.113.1')!.questions.size;
    assert.ok(lastOfFirst <= maxAppQuestions / 4 && lastOfFirst > 1000);
    put('203.0.113.2:1', 'sid=b');
    for (let at = 0; at < 10; at++) put('203.0.113.1:1', `sid=c${at}`);
    for (let turn = 0; turn < 3; turn++) {
      answers[turn]!();
      await app1.untilAsked(turn + 2);
    }
    assert.deepEqual(asked, ['203.0.113.1', '203.0.113.1', '203.0.113.2', '203.0.113.1']);
    for (let at = 0; at < 50_000; at++) put(`10.0.${at >> 8}.${at & 255}:1`, `sid=d${at}`);
    assert.ok(app.queue.count <= maxAppQuestions);
    assert.ok(server.memory.app < 20 * 1024 * 1024, `${server.memory.app}`);
    await new Promise(resolve => setImmediate(resolve));
    assert.ok(kinds.filter(kind => kind === 'failed').length > 10_000);
  },
);

test('rechecks leave room in the queue, and go on with the next connection', limit, () => {
  const { app, server } = open('http://127.0.0.1:9/auth', '--auth-recheck', '1s');
  // No request is sent.
  app.requests = Number.POSITIVE_INFINITY;
  const connections = Array.from({ length: maxQueuedRechecks + 500 }, (_, at) => ({
    kind: 'connection',
    phase: 'open',
    address: `203.0.113.${at % 250}:40000`,
    identity: { user: `${at}`, means: 'app' },
    claim: {
      cookie: `sid=${at}`,
      uri: '/echo',
      checkedAt: -1_000_000,
      connect: undefined,
      cancel: undefined,
    },
  }));
  server.table.entries.push(...(connections as unknown as Connection[]));
  const entry = newEntry(server, openAccess(server), app, openTokens(server));
  const isChecked = ({ claim }: (typeof connections)[number]) => claim.checkedAt >= 0;
  entry.recheck(() => []);
  assert.equal(app.queue.count, maxQueuedRechecks);
  assert.equal(connections.filter(isChecked).length, maxQueuedRechecks);
  for (const { claim } of connections) {
    (claim.cancel as (() => void) | undefined)?.();
    claim.cancel = undefined;
    // The first are due again, but the others are next.
    if (claim.checkedAt >= 0) claim.checkedAt = -1_000_000;
  }
  assert.equal(app.queue.count, 0);
  entry.recheck(() => []);
  assert.ok(connections.slice(maxQueuedRechecks + 1).every(isChecked));
});

test('with little --max-memory fewer questions wait', limit, async t => {
  const { url } = await startApp(t, () => {});
  const { app, server } = open(url, '--max-memory', '1MB');
  for (let at = 0; at < 1000; at++)
    askApp(app, question({ cookie: `sid=${at}`, address: `10.0.${at >> 8}.${at & 255}:1` }), () => {});
  assert.ok(app.queue.bytes <= (1024 * 1024) / 16);
  assert.ok(server.memory.app <= (1024 * 1024) / 8);
});

test(
  'a question too long for any app, or with a character that no field may have, fails alone',
  limit,
  async t => {
    const { url, requests } = await startApp(t, answerByCookie);
    const { app } = open(url);
    assert.equal(
      whyOf(await ask(app, { cookie: 'x'.repeat(60_000) })),
      'gets no request of more than 48 KiB',
    );
    assert.match(whyOf(await ask(app, { cookie: 'a\nb' })), /^cannot be sent: /);
    assert.equal(userOf(await ask(app)), '17');
    assert.equal(requests.length, 1);
    while (app.requests > 0) await new Promise(resolve => setImmediate(resolve));
  },
);
