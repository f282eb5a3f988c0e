/** Rights on every way into the server: over real wires, with an app that identifies users by their cookie. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { type TestContext, test } from 'node:test';
import { setImmediate } from 'node:timers/promises';
import { WebSocket } from 'ws';
import { watchLog } from '../../src/log/log.ts';
import { allowRule } from '../../src/options/rules.ts';
import type { Server } from '../../src/records/records.ts';
import { httpState } from '../../src/wires/route.ts';
import { type AppServer, answerByCookie, startApp } from '../support/appServer.ts';
import { blockLoop } from '../support/blockLoop.ts';
import { openSocket } from '../support/channelClients.ts';
import { type ChannelServer, startChannels, until } from '../support/channelServer.ts';
import { ask, askStatus } from '../support/pollClient.ts';
import { connectTcp, handshakeRequest, readToEnd, tryRaw } from '../support/rawClient.ts';

const limit = { timeout: 60_000 };

/** A server with these rules and an app that identifies users by the cookie `sid`. */
async function open(
  t: TestContext,
  rules: readonly string[],
  ...options: string[]
): Promise<ChannelServer & { app: AppServer }> {
  const app = await startApp(t, answerByCookie);
  const server = await startChannels(t, '--auth-url', app.url, ...options);
  server.access.rules = rules.map(rule => allowRule.parse(rule)!);
  return { ...server, app };
}

const ofUser = (user: string) => ({ Cookie: `sid=${user}` });

/** How a WebSocket's handshake ends: its status, or the code and the reason of the close frame; `open` if it stays. */
async function tryWebSocket(
  port: number,
  path: string,
  headers: Record<string, string> = {},
  protocols: string[] = [],
): Promise<string> {
  const socket = new WebSocket(`ws://127.0.0.1:${port}${path}`, protocols, { headers });
  try {
    return await new Promise<string>((resolve, reject) => {
      socket.on('unexpected-response', (_, response) => resolve(String(response.statusCode)));
      socket.on('close', (code, reason) => resolve(`${code} ${reason}`));
      socket.on('error', reject);
      // A refused one gets its close frame in the same flush as the answer to its handshake, before this pong.
      socket.on('open', () => socket.ping());
      socket.on('pong', () => resolve('open'));
    });
  } finally {
    socket.terminate();
  }
}

async function statusOf(
  port: number,
  method: string,
  path: string,
  headers = {},
  body = '',
): Promise<number> {
  return (await ask(port, method, path, { headers, body: Buffer.from(body) })).status;
}

const events = { Accept: 'text/event-stream' };

test('only the user whose name is in a channel may receive from it, over all transports', limit, async t => {
  const { port, app } = await open(t, [
    '/channels/user-{user}: subscribe=user',
    '/channels/**: subscribe=anyone',
  ]);
  const path = '/channels/user-17';
  for (const [headers, status, closing] of [
    [{}, 401, '4401 sign in to subscribe to this channel'],
    [ofUser('18'), 403, '4403 you may not subscribe to this channel'],
  ] as const) {
    assert.equal(await tryWebSocket(port, path, headers), closing);
    assert.equal(await tryWebSocket(port, '/channels?c=news&c=user-17', headers), closing);
    assert.equal(await tryWebSocket(port, '/?c=user-17', headers, ['channels']), closing);
    assert.equal(await statusOf(port, 'GET', `${path}?last=1`, headers), status);
    assert.equal(await askStatus(port, path, { ...events, ...headers }), status);
    assert.equal(await statusOf(port, 'POST', `/poll${path}`, headers), status);
  }
  assert.equal(await tryWebSocket(port, path, ofUser('17')), 'open');
  assert.equal(await statusOf(port, 'GET', `${path}?last=1`, ofUser('17')), 200);
  assert.equal(await askStatus(port, path, { ...events, ...ofUser('17') }), 200);
  assert.equal(await statusOf(port, 'POST', `/poll${path}`, ofUser('17')), 201);
  const asked = app.requests.length;
  assert.equal(await tryWebSocket(port, '/channels/news', ofUser('17')), 'open');
  assert.equal(app.requests.length, asked, 'the app is asked only if the rule needs a user');
});

test("the rule for a handler's own path decides, however the handler is chosen", limit, async t => {
  const { port } = await open(t, [
    '/echo: connect=nobody',
    '/broadcast/{user}: connect=user',
    '/broadcast: connect=user',
  ]);
  const closing = '4403 you may not connect here';
  for (const path of ['/', '/echo', '/echo/', '/echo/x', '/%65cho', '/quiz'])
    assert.equal(await tryWebSocket(port, path), closing, path);
  assert.equal(await tryWebSocket(port, '/broadcast', ofUser('17'), ['echo']), closing);
  assert.equal(await statusOf(port, 'POST', '/poll/echo'), 403);
  assert.equal(await statusOf(port, 'POST', '/poll/x?protocol=echo'), 403);
  assert.equal(await tryWebSocket(port, '/broadcast'), '4401 sign in to connect here');
  assert.equal(await tryWebSocket(port, '/broadcast', ofUser('17')), 'open');
  assert.equal(await tryWebSocket(port, '/broadcast/17', ofUser('17')), 'open');
  assert.equal(await tryWebSocket(port, '/broadcast/%31%37', ofUser('17')), 'open');
  assert.equal(await tryWebSocket(port, '/broadcast/18', ofUser('17')), closing);
  for (const path of ['/broadcast//18', '/broadcast/./18', '/broadcast/%2e%2e/18', '/broadcast/%ff'])
    assert.equal((await tryRaw(port, { path, headers: ofUser('17') })).status, 400, path);
});

test(
  '--refuse-with status answers a handshake with 401 or 403, and the log and why name the rule',
  limit,
  async t => {
    const lines: string[] = [];
    const { port, server } = await open(
      t,
      ['/echo: connect=user', '/broadcast: connect=nobody'],
      '--refuse-with',
      'status',
    );
    t.after(watchLog(line => lines.push(line) > 0));
    assert.equal(await tryWebSocket(port, '/echo'), '401');
    assert.equal(await tryWebSocket(port, '/broadcast'), '403');
    const refused = lines.filter(line => / info +refused /.test(line));
    assert.match(refused[0]!, /status=401.*rule="\/echo: connect=user"/);
    assert.match(refused[1]!, /status=403.*rule="\/broadcast: connect=nobody"/);
    await until(() => server.closedConnections.records.length === 2);
    const [, second] = server.closedConnections.records;
    assert.equal(
      second!.ending.why,
      'the handshake was refused with 403: you may not connect here (rule /broadcast: connect=nobody)',
    );
  },
);

test('a closed WebSocket and the log name the rule that refused it', limit, async t => {
  const { port, server } = await open(t, ['/echo: connect=user']);
  await tryWebSocket(port, '/echo');
  await until(() => server.closedConnections.records.length === 1);
  const [{ ending } = assert.fail()] = server.closedConnections.records;
  assert.match(ending.why, /refused with 401: sign in to connect here \(rule \/echo: connect=user\)$/);
  assert.deepEqual(ending.sent, { code: 4401, reason: 'sign in to connect here' });
});

test('a user may subscribe and publish in messages only where the rules say so', limit, async t => {
  const rules = ['/channels/user-{user}: subscribe=user publish=subscribers', '/channels/wall: publish=user'];
  const { port, app } = await open(t, rules);
  const client = await openSocket(port, '/channels', [], ofUser('17'));
  const answer = async (command: object) => {
    client.send(command);
    for (;;) {
      const { ok, error } = await client.nextJson();
      if (ok !== undefined || error !== undefined) return error ?? Object.keys(ok as object)[0];
    }
  };
  await client.next();
  assert.equal(app.requests.length, 0);
  assert.equal(await answer({ publish: 'user-17', data: 'x' }), 'you may not publish in this channel');
  assert.equal(await answer({ subscribe: 'user-17' }), 'subscribe');
  assert.equal(await answer({ publish: 'user-17', data: 'x' }), 'publish');
  assert.equal(await answer({ subscribe: 'user-18' }), 'you may not subscribe to this channel');
  assert.equal(await answer({ publish: 'user-18', data: 'x' }), 'you may not publish in this channel');
  assert.equal(await answer({ publish: 'wall', data: 'x' }), 'publish');
  assert.match(String(await answer({ publish: 'news', data: 'x' })), /^publishing needs a token/);
  assert.equal(await answer({ subscribe: 'news' }), 'subscribe');
  client.socket.terminate();
});

test('a user with the right to publish may POST without a publish token', limit, async t => {
  const { port } = await open(t, ['/channels/wall: publish=user', '/channels/chat: publish=subscribers']);
  const post = (name: string, headers = {}) => statusOf(port, 'POST', `/channels/${name}`, headers, 'hello');
  assert.equal(await post('wall'), 401);
  assert.equal(await post('wall', ofUser('17')), 200);
  assert.equal(await post('chat', ofUser('17')), 403);
  assert.equal(await post('news', ofUser('17')), 403);
  assert.equal(await post('wall', { ...ofUser('17'), Origin: 'http://evil.example' }), 403);
  assert.equal(await post('wall', { ...ofUser('17'), 'Sec-Fetch-Site': 'cross-site' }), 403);
  assert.equal(await post('wall', { ...ofUser('17'), 'Sec-Fetch-Site': 'same-site' }), 403);
  assert.equal(await post('wall', { ...ofUser('17'), 'Sec-Fetch-Site': 'same-origin' }), 200);
  assert.equal(await post('wall', { ...ofUser('17'), Origin: 'http://x' }), 200);
});

test('a cookie does not count in the request of a page of another site', limit, async t => {
  const { port, app } = await open(t, ['/channels/mine: subscribe=user']);
  const foreign = { ...ofUser('17'), Origin: 'http://evil.example' };
  const closing = '4403 pages of other sites may not use your cookies here';
  assert.equal(await tryWebSocket(port, '/channels/mine', foreign), closing);
  assert.equal(await tryWebSocket(port, '/channels/mine', { ...ofUser('17'), Origin: 'null' }), closing);
  assert.equal(await askStatus(port, '/channels/mine', { ...events, ...foreign }), 403);
  assert.equal(await statusOf(port, 'POST', '/poll/channels/mine', foreign), 403);
  assert.equal(app.requests.length, 0);
  const own = { ...ofUser('17'), Origin: `http://127.0.0.1:${port}` };
  assert.equal(await tryWebSocket(port, '/channels/mine', own), 'open');
  const open_ = await ask(port, 'GET', '/channels/news?last=1', { headers: foreign });
  assert.equal(open_.status, 200);
  assert.equal(open_.headers.get('access-control-allow-credentials'), undefined);
});

test('a request waits for the app: what follows is not read, and the client may leave', limit, async t => {
  const held: (() => void)[] = [];
  const app = await startApp(t, (request, response) => held.push(() => answerByCookie(request, response)));
  const { port, server, access } = await startChannels(t, '--auth-url', app.url);
  access.rules = [allowRule.parse('/echo: connect=user')!];
  const socket = await connectTcp(port);
  const text = Buffer.from([0x81, 0x82, 0, 0, 0, 0, 0x68, 0x69]);
  socket.write(
    Buffer.concat([Buffer.from(handshakeRequest({ path: '/echo', headers: ofUser('17') })), text]),
  );
  await app.untilAsked(1);
  const leaver = await connectTcp(port);
  leaver.write(handshakeRequest({ path: '/echo', headers: ofUser('18') }));
  await app.untilAsked(2);
  leaver.resetAndDestroy();
  await until(() => server.connections === 1);
  for (const answer of held) answer();
  const [bytes] = await once(socket, 'data');
  assert.match(String(bytes), /^HTTP\/1\.1 101 /);
  let echoed = Buffer.from(bytes as Buffer);
  while (!echoed.includes(Buffer.from([0x81, 2, 0x68, 0x69])))
    echoed = Buffer.concat([echoed, (await once(socket, 'data'))[0]]);
  socket.destroy();
});

test('many requests that wait for the same answer of the app go on in several turns', limit, async t => {
  const held: (() => void)[] = [];
  const app = await startApp(t, (request, response) => held.push(() => answerByCookie(request, response)));
  const { port, server, access } = await startChannels(t, '--auth-url', app.url);
  access.rules = [allowRule.parse('/slow: connect=user')!];
  const turns: number[] = [];
  const opened = () => {
    blockLoop(1);
    turns.push(server.counters.turns);
  };
  server.handlers.set('slow', { name: 'slow', opened, message() {} });
  const sockets = await Promise.all(Array.from({ length: 100 }, () => connectTcp(port)));
  for (const socket of sockets) socket.write(handshakeRequest({ path: '/slow', headers: ofUser('17') }));
  const isWaiting = (entry: Server['table']['entries'][number]) =>
    entry?.kind === 'connection' && httpState(entry)?.request?.waiting !== undefined;
  await until(() => server.table.entries.filter(isWaiting).length === 100 && held.length === 1);
  held[0]!();
  await until(() => turns.length === 100);
  assert.ok(new Set(turns).size > 10, `${new Set(turns).size} turns`);
  for (const socket of sockets) socket.destroy();
});

test('a request that waits for the app is refused when --handshake-timeout is over', limit, async t => {
  const app = await startApp(t, () => {});
  const { port, access } = await startChannels(
    t,
    '--auth-url',
    app.url,
    '--handshake-timeout',
    '1s',
    '--auth-timeout',
    '60s',
  );
  access.rules = [allowRule.parse('/**: connect=user subscribe=user publish=user')!];
  const socket = await connectTcp(port);
  socket.write(handshakeRequest({ path: '/echo', headers: ofUser('17') }));
  assert.match(String(await readToEnd(socket)), /^HTTP\/1\.1 503 /);
  assert.equal(await statusOf(port, 'POST', '/channels/wall', ofUser('18'), 'hello'), 503);
});

test('a request that waits for the app is refused when the server drains', limit, async t => {
  const app = await startApp(t, () => {});
  const { port, access, drain, over } = await startChannels(t, '--auth-url', app.url);
  access.rules = [allowRule.parse('/echo: connect=user')!];
  const socket = await connectTcp(port);
  socket.write(handshakeRequest({ path: '/echo', headers: ofUser('17') }));
  await app.untilAsked(1);
  drain();
  assert.match(String(await readToEnd(socket)), /^HTTP\/1\.1 503 /);
  socket.destroy();
  await over;
});

test('a body that arrives while the app is asked is read afterwards', limit, async t => {
  const held: (() => void)[] = [];
  const app = await startApp(t, (request, response) => held.push(() => answerByCookie(request, response)));
  const { port, access } = await startChannels(t, '--auth-url', app.url);
  access.rules = [allowRule.parse('/channels/wall: publish=user')!];
  const socket = await connectTcp(port);
  const [head = '', body = ''] = [
    'POST /channels/wall HTTP/1.1\r\nHost: x\r\nCookie: sid=17\r\nContent-Length: 10\r\n\r\n',
    '0123456789',
  ];
  socket.write(head);
  await app.untilAsked(1);
  socket.write(body.slice(0, 5));
  await setImmediate();
  held[0]!();
  socket.write(body.slice(5));
  const [answer] = await once(socket, 'data');
  assert.match(String(answer), /^HTTP\/1\.1 200 [\s\S]*"id":/);
  socket.destroy();
});

test('a failing app refuses with 503, and closes a WebSocket with 1013', limit, async t => {
  const app = await startApp(t, (_, response) => response.writeHead(500).end());
  const { port, access } = await startChannels(t, '--auth-url', app.url);
  access.rules = [allowRule.parse('/channels/mine: subscribe=user')!];
  assert.equal(await statusOf(port, 'GET', '/channels/mine', ofUser('17')), 503);
  assert.match(await tryWebSocket(port, '/channels/mine', ofUser('17')), /^1013 /);
});

test('--default-handler none answers 404, and only the log says which handlers there are', limit, async t => {
  const { port } = await startChannels(t, '--default-handler', 'none');
  const lines: string[] = [];
  t.after(watchLog(line => lines.push(line) > 0));
  assert.equal(await tryWebSocket(port, '/ehco'), '404');
  assert.equal(await tryWebSocket(port, '/echo'), 'open');
  const answer = await ask(port, 'POST', '/poll/ehco');
  assert.equal(answer.status, 404);
  assert.doesNotMatch(answer.body, /echo/);
  assert.match(lines.join('\n'), /handlers="echo, broadcast, tpacket, channels"/);
});
