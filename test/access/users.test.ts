/** Users in the running server: in messages, in the chat, in commands, logs, programs and modules. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { openAccess } from '../../src/access/access.ts';
import { newServer } from '../../src/core/server.ts';
import { watchLog } from '../../src/log/log.ts';
import { readConfiguration } from '../../src/options/configuration.ts';
import { PacketCommand } from '../../src/protocol/tpacket.ts';
import { answerByCookie, startApp } from '../support/appServer.ts';
import { openEvents, openSocket, pollChannel, type SocketSubscriber } from '../support/channelClients.ts';
import { connectChat, connectMember, connectUser, expectHeard, sayNick } from '../support/chatClient.ts';
import { askServer, type OpenServer, openServer } from '../support/commandWays.ts';
import { connectLines } from '../support/lineClient.ts';
import { ask, openPolled, pollOnce } from '../support/pollClient.ts';
import { tryRaw } from '../support/rawClient.ts';
import { reload } from '../support/serverProcess.ts';
import { temporaryFolder } from '../support/temporaryFolder.ts';
import { linkOf, pemOf, sitePairs, siteSecret, tokenOf } from '../support/tokens.ts';

const limit = { timeout: 60_000 };

const inSeconds = (seconds: number) => Math.floor(Date.now() / 1000) + seconds;
const token = (user: string, claims = {}) => tokenOf({ sub: user, exp: inSeconds(600), ...claims });

/** A server that verifies tokens of the site. */
async function open(t: TestContext, ...options: string[]): Promise<OpenServer> {
  const key = join(temporaryFolder(), 'key');
  writeFileSync(key, siteSecret, { mode: 0o600 });
  return openServer(t, '--auth-key', key, ...options);
}

async function closingOf({ socket }: SocketSubscriber): Promise<string> {
  if (socket.readyState === socket.CLOSED) throw new Error('it was closed before');
  const [code, reason] = await once(socket, 'close');
  return `${code} ${reason}`;
}

const mine = ['--allow', '/channels/user-{user}: subscribe=user publish=user'];

test(
  'a first message with a token identifies the user, and nothing is delivered before it',
  limit,
  async t => {
    const { port } = await open(t, ...mine);
    const client = await openSocket(port, '/channels/user-17?format=json');
    client.send({ subscribe: 'news' });
    assert.deepEqual(await client.nextJson(), { error: 'say who you are first: send {"token":"…"}' });
    client.send({ token: token('17'), ref: 1 });
    assert.deepEqual(await client.nextJson(), { ok: { token: '17' }, ref: 1 });
    assert.deepEqual(Object.keys(await client.nextJson()), ['last']);
    client.send({ publish: 'user-17', data: 'x' });
    const [first, second] = [await client.nextJson(), await client.nextJson()];
    assert.ok('ok' in first || 'ok' in second);
    client.socket.terminate();
  },
);

test(
  'with await=token, a client without a token is not subscribed, even to an open channel',
  limit,
  async t => {
    const { port } = await open(t, '--allow', '/channels/open: subscribe=anyone presence=user');
    const path = '/channels?c=open&format=json&presence=1&await=token';
    const client = await openSocket(port, path);
    client.send({ publish: 'open', data: 'x' });
    assert.deepEqual(await client.nextJson(), { error: 'say who you are first: send {"token":"…"}' });
    client.send({ token: token('17') });
    assert.deepEqual(await client.nextJson(), { ok: { token: '17' } });
    assert.deepEqual(Object.keys(await client.nextJson()), ['last']);
    assert.deepEqual(await client.nextJson(), { channel: 'open', presence: { count: 1, users: ['17'] } });
    client.socket.terminate();
    const wrong = await openSocket(port, path);
    wrong.send({ token: 'x' });
    assert.match(await closingOf(wrong), /^4401 the token is not a JWT/);
  },
);

test('a server without keys does not wait for a token', limit, async t => {
  const { port } = await openServer(t);
  const client = await openSocket(port, '/channels?c=open&format=json&await=token');
  assert.deepEqual(Object.keys(await client.nextJson()), ['last']);
  client.send({ token: 'x' });
  assert.match(String((await client.nextJson())['error']), /takes no tokens/);
  client.socket.terminate();
  for (const [query, why] of [
    ['?await=token&format=json', /await=token is for WebSocket/],
    ['?await=news&format=json', /"await" must be "token"/],
  ] as const) {
    const { status, body } = await ask(port, 'GET', `/channels/open${query}`);
    assert.equal(status, 400);
    assert.match(body, why);
  }
});

test(
  'a first message with a wrong token, or the token of another user, closes the connection',
  limit,
  async t => {
    const { port } = await open(t, ...mine);
    for (const [given, closing] of [
      [tokenOf({ sub: '17', exp: inSeconds(-600) }), /^4401 the token (has )?expired/],
      ['x', /^4401 the token is not a JWT/],
      [token('18'), /^4403 you may not subscribe to this channel/],
    ] as const) {
      const client = await openSocket(port, '/channels?c=user-17&format=json');
      client.send({ token: given });
      assert.match(await closingOf(client), closing);
    }
  },
);

test('a connection that sends no token is closed with 4401 after --handshake-timeout', limit, async t => {
  const { port } = await open(t, ...mine, '--handshake-timeout', '1s');
  const client = await openSocket(port, '/channels?c=user-17&format=json');
  assert.equal(await closingOf(client), '4401 no token within 1 s');
});

test(
  'when a token expires, its connection is closed with 4401, unless another one has renewed it',
  limit,
  async t => {
    const { port } = await open(t, ...mine);
    // A clock may be wrong by the leeway of a minute.
    const short = tokenOf({ sub: '17', exp: inSeconds(-58) });
    const client = await openSocket(port, `/channels?c=user-17&format=json&token=${short}`);
    const renewed = await openSocket(port, `/channels?c=user-17&format=json&token=${short}`);
    renewed.send({ token: token('17') });
    assert.equal(await closingOf(client), '4401 token expired');
    renewed.send({ unsubscribe: 'user-17' });
    const answers = [await renewed.nextJson(), await renewed.nextJson(), await renewed.nextJson()];
    assert.deepEqual(answers.at(-1), { ok: { unsubscribe: 'user-17' } });
    renewed.socket.terminate();
  },
);

test('when a token or a link expires, event streams, polls and polling sessions end', limit, async t => {
  const { port } = await open(t, ...mine, '--allow', '/echo: connect=user', '--poll-timeout', '50s');
  const short = tokenOf({ sub: '17', exp: inSeconds(-57) });
  const stream = await openEvents(port, `/channels/user-17?token=${short}`);
  assert.ok((await stream.next()) !== undefined);
  const session = await openPolled(port, `echo?token=${short}`);
  const linked = await openSocket(port, linkOf('/echo', '17', inSeconds(3)));
  const poll = pollChannel(port, `/channels/user-17?token=${short}`);
  const polled = pollOnce(port, session, 0);
  assert.equal(await closingOf(linked), '4401 link expired');
  assert.deepEqual((await polled).closed, { code: 4401, reason: 'token expired' });
  assert.equal(await stream.next(), undefined);
  // The answer says nothing new, so the client polls again, and learns why it may not.
  assert.deepEqual((await poll).messages, []);
  await assert.rejects(pollChannel(port, `/channels/user-17?token=${short}`), /401 the token has expired/);
});

test(
  'list, why and the log name the user; send and disconnect find all connections of one',
  limit,
  async t => {
    const server = await open(t, '--log-level', 'debug');
    const { port } = server;
    const command = async (...words: string[]) =>
      JSON.parse((await askServer(server, ...words, '--json')).stdout);
    const tabs = [];
    for (let i = 0; i < 2; i++) tabs.push(await openSocket(port, `/echo?token=${token('17')}`));
    const other = await openSocket(port, `/echo?token=${token('18')}`);
    const listed = (await command('list')) as { user: string }[];
    assert.deepEqual(listed.map(({ user }) => user).sort(), ['17', '17', '18']);
    assert.deepEqual(await command('send', 'user:17', 'hello'), { sent: 2 });
    for (const tab of tabs) assert.equal(await tab.next(), 'hello');
    const closings = tabs.map(closingOf);
    assert.deepEqual(await command('disconnect', 'user:17', '4000', 'bye'), { user: '17', closed: 2 });
    assert.deepEqual(await Promise.all(closings), ['4000 bye', '4000 bye']);
    const { id } = await server.untilLogged(({ event, user }) => event === 'closed' && user === '17');
    const { stdout } = await askServer(server, 'why', String(id), '--json');
    assert.match(stdout, /"user": ?"17"/);
    assert.equal(other.received.length, 0);
    other.socket.terminate();
    assert.deepEqual(
      await command('disconnect', 'user:17'),
      { user: '17', closed: 0 },
      'a later sign-out succeeds',
    );
    const missing = await askServer(server, 'send', 'user:17', 'hello');
    assert.match(missing.stderr, /the user 17 has no connection/);
  },
);

test('after disconnect user:NAME the server asks the app again', limit, async t => {
  const app = await startApp(t, answerByCookie);
  const server = await openServer(t, '--auth-url', app.url, '--allow', '/echo: connect=user');
  const connect = () => openSocket(server.port, '/echo', [], { Cookie: 'sid=17' });
  const clients = [await connect(), await connect()];
  assert.equal(app.requests.length, 1);
  await askServer(server, 'disconnect', 'user:17');
  clients.push(await connect());
  assert.equal(app.requests.length, 2);
  for (const { socket } of clients) socket.terminate();
});

test('a program knows the user as REMOTE_USER, and a module as connection.user', limit, async t => {
  const folder = temporaryFolder();
  const text = 'export function opened(c) { c.send(String(c.user)); }\nexport function message() {}\n';
  writeFileSync(join(folder, 'hello.mjs'), text);
  const { port } = await open(t, '--exec', 'who=printenv REMOTE_USER', '--handlers', folder);
  const program = await openSocket(port, `/who?token=${token('17')}`);
  assert.equal(await program.next(), '17');
  const module = await openSocket(port, `/hello?token=${token('17')}`);
  assert.equal(await module.next(), '17');
  const stranger = await openSocket(port, '/hello');
  assert.equal(await stranger.next(), 'undefined');
  for (const { socket } of [program, module, stranger]) socket.terminate();
});

test('the rules for channels decide who enters a room, and who posts there', limit, async t => {
  const rules = ['/channels/staff: subscribe=user', '/channels/stage: publish=user'];
  const { port } = await open(t, ...rules.flatMap(rule => ['--allow', rule]));
  const enter = async (path: string, room: string) => {
    const client = await connectUser(port, `n${Math.random()}`, { path });
    client.send(PacketCommand.SetRoom, room, { uid: 9 });
    return client;
  };
  const stranger = await enter('/tpacket', 'staff');
  assert.match(String(await stranger.hear()), /^RESP_ERROR uid=9 .*sign in to subscribe/);
  stranger.send(PacketCommand.SetRoom, 'stage', { uid: 10 });
  assert.match(String(await stranger.hear()), /^RESP_OK uid=10/);
  await stranger.hear();
  stranger.send(PacketCommand.NewMsg, 'hello', { uid: 11 });
  assert.match(String(await stranger.hear()), /^RESP_ERROR uid=11 .*sign in to publish/);
  const user = await enter(`/tpacket?token=${token('17')}`, 'staff');
  await expectHeard(user, 'RESP_OK uid=9 p1=0 p2=0');
  await user.hear();
  user.send(PacketCommand.NewMsg, 'hello', { uid: 11 });
  assert.match(String(await user.hear()), /^NEW_MSG .*hello/);
  const terminal = await connectLines(port);
  terminal.send('cy\n/join staff\n');
  await terminal.linesUntil('! sign in to subscribe to this channel');
  for (const client of [stranger, user]) await client.leave();
  terminal.socket.destroy();
});

test(
  'with --nick user the nick is the name of the user, over every transport of the chat',
  limit,
  async t => {
    const server = await open(t, '--nick', 'user');
    const { port } = server;
    const clients = [];
    for (let i = 0; i < 2; i++)
      clients.push(await connectUser(port, 'evil', { path: `/tpacket?token=${token('ada')}` }));
    const { stdout } = await askServer(server, 'list', '--json');
    assert.deepEqual(
      JSON.parse(stdout).map(({ nick }: { nick: string }) => nick),
      ['ada', 'ada (2)'],
    );
    const stranger = await connectChat(port, 'stranger');
    sayNick(stranger, 'ada');
    assert.equal(await stranger.next(), undefined);
    const raw = await connectChat(port, 'raw', { wire: 'tcp' });
    sayNick(raw, 'ada');
    assert.match(String(await raw.hear()), /^RESP_ERROR .*sign in/);
    const terminal = await connectLines(port);
    terminal.send('ada\n');
    assert.match(String(await terminal.line()), /sign in/);
    for (const client of clients) await client.leave();
    terminal.socket.destroy();
  },
);

test('connect=nobody closes the chat of terminals and of plain TCP', limit, async t => {
  const server = await open(t, '--allow', '/lines: connect=nobody', '--allow', '/tpacket: connect=nobody');
  const terminal = await connectLines(server.port);
  terminal.send('ada\n');
  assert.deepEqual(await terminal.rest(), ['* you may not connect here']);
  const raw = await connectChat(server.port, 'raw', { wire: 'tcp' });
  sayNick(raw, 'ada');
  assert.match(String(await raw.hear()), /^RESP_ERROR .*you may not connect here/);
  const { rule } = await server.untilLogged(({ event, wire }) => event === 'refused' && wire === 'lines');
  assert.equal(rule, '/lines: connect=nobody');
});

test('--auth-recheck closes the connections of a user who has signed out', limit, async t => {
  let isSignedIn = true;
  let isDown = false;
  const app = await startApp(t, (request, response) => {
    if (isDown) response.writeHead(500).end();
    else if (isSignedIn) answerByCookie(request, response);
    else response.writeHead(401).end();
  });
  const options = ['--auth-url', app.url, '--auth-recheck', '300ms', '--auth-cache', '0'];
  const { port } = await openServer(t, ...options, ...mine);
  const client = await openSocket(port, '/channels/user-17', [], { Cookie: 'sid=17' });
  await app.untilAsked(2);
  isDown = true;
  await app.untilAsked(4);
  assert.equal(client.socket.readyState, client.socket.OPEN);
  isDown = false;
  isSignedIn = false;
  assert.equal(await closingOf(client), '4401 you are signed out');
});

test('--auth-recheck decides again who may be connected, and who may be in a room', limit, async t => {
  let channels = 'staff';
  const app = await startApp(t, (_, response) => {
    response.writeHead(200, { 'X-User': '17', 'X-Channels': channels }).end();
  });
  const options = ['--auth-url', app.url, '--auth-recheck', '300ms', '--auth-cache', '0'];
  const rules = ['/channels/staff: subscribe=token', '/echo: connect=user'];
  const server = await openServer(t, ...options, ...rules.flatMap(rule => ['--allow', rule]));
  const { port } = server;
  const headers = { Cookie: 'sid=17' };
  const member = await connectMember(port, 'ada', 'staff', { headers });
  const guest = await connectMember(port, 'bob', 'lobby', { headers });
  const session = await openPolled(port, 'echo', { headers });
  channels = 'lobby';
  assert.match(await member.ended, /^4403 you may not subscribe/);
  const command = await askServer(server, 'set', 'allow', '/echo: connect=nobody');
  assert.equal(command.stderr, '');
  assert.deepEqual((await pollOnce(port, session, 0)).closed, {
    code: 4403,
    reason: 'you may not connect here',
  });
  await guest.leave();
});

test('a user publishes over HTTP with a token in the URL, as in the field Authorization', limit, async t => {
  const { port } = await open(t, ...mine);
  const statusOf = async (query: string, headers = {}) =>
    (await ask(port, 'POST', `/channels/user-17?${query}`, { headers, body: 'x' })).status;
  assert.equal(await statusOf('event=paid', { Authorization: `Bearer ${token('17')}` }), 200);
  assert.equal(await statusOf(`event=paid&token=${token('17')}`), 200);
  assert.equal(await statusOf(`token=${token('18')}`), 403);
  assert.equal(await statusOf(`token=${token('17')}&user=17`), 400);
});

test(
  'a reload reads the files of --auth-key again, and keeps the old keys if a new one is invalid',
  limit,
  async t => {
    const key = join(temporaryFolder(), 'key');
    writeFileSync(key, siteSecret, { mode: 0o600 });
    const server = await openServer(t, '--auth-key', key, '--allow', '/echo: connect=user');
    const statusOf = async (by: 'HS256' | 'EdDSA') => {
      const jwt = tokenOf({ sub: '17', exp: inSeconds(600) }, {}, by);
      return (await ask(server.port, 'POST', `/poll/echo?token=${jwt}`)).status;
    };
    const client = await openSocket(server.port, `/echo?token=${token('17')}`);
    assert.deepEqual([await statusOf('HS256'), await statusOf('EdDSA')], [201, 401]);
    writeFileSync(key, 'too short');
    assert.equal((await reload(server))['event'], 'reload failed');
    assert.deepEqual([await statusOf('HS256'), await statusOf('EdDSA')], [201, 401]);
    writeFileSync(key, pemOf(sitePairs.EdDSA.publicKey));
    assert.equal((await reload(server))['changed'], 'key added: EdDSA; key removed: HS256');
    assert.deepEqual([await statusOf('HS256'), await statusOf('EdDSA')], [401, 201]);
    assert.equal((await reload(server))['changed'], 'nothing');
    client.socket.send('still here');
    assert.equal(await client.next(), 'still here');
    client.socket.terminate();
  },
);

/** The lines that the access part of a start logs. */
function warningsOf(...options: string[]): string[] {
  const lines: string[] = [];
  const unwatch = watchLog(line => lines.push(line) > 0, 'warn');
  openAccess(newServer(readConfiguration(options, {}, ['echo'])));
  unwatch();
  return lines;
}

test('options for tokens cause a warning if there is no key', limit, () => {
  const key = join(temporaryFolder(), 'key');
  writeFileSync(key, siteSecret, { mode: 0o600 });
  const options = ['--auth-issuer', 'site', '--auth-audience', 'live', '--token-cookie', 'jwt'];
  assert.deepEqual(
    warningsOf(...options).map(line => /nothing to verify option=(\S+) remedy=/.exec(line)?.[1]),
    ['auth-issuer', 'auth-audience', 'token-cookie'],
  );
  assert.deepEqual(warningsOf(...options, '--auth-key', key), []);
});

test('rules for users, and --nick user, cause a warning if no option identifies users', limit, () => {
  const key = join(temporaryFolder(), 'key');
  writeFileSync(key, siteSecret, { mode: 0o600 });
  const warnings = (...options: string[]) =>
    warningsOf(...options).map(
      line => /users cannot be identified rule=(".*?") remedy="identify users with/.exec(line)?.[1],
    );
  const user = ['--allow', '/channels/a: subscribe=user'];
  assert.deepEqual(warnings(...user), ['"/channels/a: subscribe=user"']);
  assert.deepEqual(warnings('--nick', 'user'), ['"--nick user"']);
  assert.deepEqual(warnings('--allow', '/channels/{user}: publish=subscribers').length, 1);
  assert.deepEqual(warnings('--allow', '/echo: connect=token').length, 1);
  assert.deepEqual(warnings('--allow', '/channels/{user}: subscribe=nobody publish=commands'), []);
  assert.deepEqual(warnings(...user, '--auth-key', key), []);
  assert.deepEqual(warnings(...user, '--auth-url', 'http://127.0.0.1/auth'), []);
  assert.deepEqual(warnings('--allow', '/door: connect=user', '--handlers', '.'), []);
  assert.equal(warnings(...user, '--handlers', '.').length, 1);
});

test('a module refuses a client before the upgrade, or identifies it', limit, async t => {
  const folder = temporaryFolder();
  const text = `
    export function admit({ query }) {
      if (query === 'no') return { status: 402, reason: 'pay first' };
      if (query === 'late') return Promise.resolve();
      if (query !== '') return { user: query };
    }
    export function opened(c) { c.send(String(c.user)); }
    export function message() {}
  `;
  writeFileSync(join(folder, 'door.mjs'), text);
  const { port } = await openServer(t, '--handlers', folder, '--allow', '/door: connect=user');
  const user = await openSocket(port, '/door?ada');
  assert.equal(await user.next(), 'ada');
  user.socket.terminate();
  const statusOf = async (path: string) => (await tryRaw(port, { path })).status;
  assert.equal(await statusOf('/door?no'), 402);
  assert.equal(await statusOf('/door?late'), 500);
  assert.equal((await ask(port, 'POST', '/poll/door?no')).status, 402);
  assert.equal((await ask(port, 'POST', '/poll/door')).status, 401);
  assert.equal((await ask(port, 'POST', '/poll/door?ada')).status, 201);
});
