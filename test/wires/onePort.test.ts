/** All protocols at the same time, on one port of a server with one thread. */
import assert from 'node:assert/strict';
import { execFile, spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import type { Duplex } from 'node:stream';
import { text } from 'node:stream/consumers';
import { after, before, describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import type { Browser } from 'playwright-core';
import { launchBrowser } from '../support/browser.ts';
import { makeCertificate, tlsOptions } from '../support/certificates.ts';
import { type OpenServer, openServer, run } from '../support/commandWays.ts';
import { roundTrip } from '../support/echoProbe.ts';
import { openPolled, openStream, pollMany, post } from '../support/pollClient.ts';
import { connectRaw, connectTcp, connectTls, type RawClient } from '../support/rawClient.ts';
import { frame, opcode } from '../support/rawFrame.ts';
import {
  enterByPackets,
  enterByPage,
  enterByPolling,
  enterByProgram,
  enterBySocket,
  type Member,
} from '../support/roomMembers.ts';

const limit = { timeout: 120_000 };
const identity = makeCertificate('localhost');
/** Where the examples lie: this file runs from build/test/wire/. */
const examples = fileURLToPath(new URL('../../../test/examples', import.meta.url));
const upper = `upper=/usr/bin/perl -ne '$| = 1; print uc'`;
const proxied = (address: string) => Buffer.from(`PROXY TCP4 ${address} 192.0.2.1 56636 443\r\n`);
const execute = promisify(execFile);

const options = [
  ...['--handlers', examples, '--exec', upper, '--trust-proxy', '127.0.0.1', '--greeting-delay', '2s'],
  ...tlsOptions(identity),
];

/** The user's wire, not the chat, greets a silent peer, who then logs in. */
async function logInSilently(socket: Duplex): Promise<void> {
  const lines = createInterface(socket)[Symbol.asyncIterator]();
  // `undefined` at the end.
  const hears = async () => (await lines.next()).value as string | undefined;
  const answers: (string | undefined)[] = [await hears()];
  for (const line of ['USER ada', 'PASS secret', 'SYST', 'QUIT']) {
    socket.write(`${line}\r\n`);
    answers.push(await hears());
  }
  assert.deepEqual(answers, [
    '220 pollywog',
    '331 password for ada, please',
    '230 welcome, ada',
    '215 UNIX Type: L8',
    '221 goodbye',
  ]);
  socket.destroy();
}

/** The first bytes of a peer select the wire. */
async function logInAtOnce(socket: Duplex): Promise<void> {
  socket.write('USER bo\r\nPASS x\r\nSYST\r\nQUIT\r\n');
  const answers = ['331 password for bo, please', '230 welcome, bo', '215 UNIX Type: L8', '221 goodbye'];
  assert.equal(await text(socket), answers.map(answer => `${answer}\r\n`).join(''));
  socket.end();
}

async function askBySClient(port: number): Promise<void> {
  const client = spawn('openssl', ['s_client', '-quiet', '-connect', `127.0.0.1:${port}`], {
    stdio: ['pipe', 'pipe', 'ignore'],
  });
  client.stdin.write('GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n');
  assert.match(await text(client.stdout), /^HTTP\/1\.1 200 OK\r\n.*\r\nok\n$/s);
}

async function askByCurl(port: number): Promise<void> {
  for (const scheme of ['http', 'https']) {
    const { stdout } = await execute('curl', ['-sk', '--fail', `${scheme}://127.0.0.1:${port}/`]);
    assert.match(stdout, /^<!doctype html>/i);
  }
}

async function shout(port: number): Promise<void> {
  const client = await connectRaw(port, { path: '/upper' });
  for (const word of ['one', 'two', 'three']) {
    client.send(frame(opcode.text, word));
    assert.equal((await client.nextFrame())?.payload.toString(), word.toUpperCase());
  }
  client.destroy();
}

async function echoByRequests(port: number): Promise<void> {
  const session = await openPolled(port, 'echo');
  for (let seq = 1; seq <= 10; seq++) {
    await post(port, session, `${seq}`, seq);
    assert.deepEqual((await pollMany(port, session, 1, seq - 1)).messages, [{ seq, text: `${seq}` }]);
  }
  const stream = await openStream(port, session, { 'Last-Event-ID': '9' });
  await stream.until('"text":"10"');
  stream.socket.destroy();
}

async function echoMany(client: RawClient): Promise<void> {
  for (let round = 0; round < 200; round++) await roundTrip(client, `round ${round}`);
}

/** All clients join the lobby at the same time, each by another protocol. */
function enterAll(
  test: { after(hook: () => void): void },
  port: number,
  browser: Browser,
): Promise<Member[]> {
  const program = (command: string, ...words: string[]) => {
    const child = spawn(command, words, { stdio: ['pipe', 'pipe', 'ignore'] });
    test.after(() => void child.kill());
    return child;
  };
  const page = browser.newPage({ ignoreHTTPSErrors: true });
  const forwarded = { headers: { 'X-Forwarded-For': '203.0.113.6' } };
  return Promise.all([
    enterByProgram('Nell', program('nc', '127.0.0.1', `${port}`)),
    enterByProgram('Tess', program('openssl', 's_client', '-quiet', '-connect', `127.0.0.1:${port}`)),
    connectTcp(port).then(socket => enterBySocket('Paul', socket, proxied('203.0.113.1'))),
    connectTls(port, {}, proxied('203.0.113.2')).then(socket => enterBySocket('Tim', socket)),
    enterByPackets('Rita', port, { wire: 'tcp' }),
    enterByPackets('Ruth', port, { wire: 'tcp', first: [proxied('203.0.113.3')] }),
    enterByPackets('Wim', port, {}),
    openPolled(port, 'tpacket').then(session => enterByPolling('Lola', port, session)),
    openPolled(port, 'tpacket', forwarded).then(session => enterByPolling('Lars', port, session)),
    page.then(opened => enterByPage('Cleo', opened, `https://127.0.0.1:${port}`)),
  ]);
}

/** All clients post at once, and receive the same messages in the same order. */
async function talk(members: readonly Member[]): Promise<void> {
  const each = 20;
  const said = (nick: string) => Array.from({ length: each }, (_, at) => `${nick} says ${at}`);
  const all = members.length * each;
  const [heard] = await Promise.all([
    Promise.all(members.map(member => member.heard(member.hearsItself ? all : all - each))),
    ...members.map(member => member.say(said(member.nick))),
  ]);
  const order = heard[members.findIndex(({ hearsItself }) => hearsItself)]!;
  for (const [at, { nick, hearsItself }] of members.entries()) {
    assert.deepEqual(
      order.filter(line => line.startsWith(`${nick} `)),
      said(nick),
    );
    assert.deepEqual(
      heard[at],
      hearsItself ? order : order.filter(line => !line.startsWith(`${nick} `)),
      nick,
    );
  }
}

interface Row {
  readonly wire: string;
  readonly nick: string | null;
  readonly room: string | null;
  readonly address: string;
}

async function rowsOf({ control }: OpenServer): Promise<Row[]> {
  const { stdout } = await run(['--control', control, 'list', '--json']);
  return JSON.parse(stdout) as Row[];
}

for (const sockets of ['auto', 'stream']) {
  describe(`one port, --sockets ${sockets}`, limit, () => {
    let browser: Browser;
    // May install the browser first, which has its own time limit.
    before(
      async () => {
        browser = await launchBrowser();
      },
      { timeout: 15 * 60_000 },
    );
    after(() => browser?.close());

    test('clients of all protocols chat at the same time', limit, async t => {
      const server = await openServer(t, '--sockets', sockets, ...options);
      const { port } = server;
      const [silent, silentInTls] = [await connectTcp(port), await connectTls(port)];
      const greetings = [logInSilently(silent), logInSilently(silentInTls)];
      const members = await enterAll(t, port, browser);
      const echoes = await Promise.all([
        connectRaw(port, { path: '/echo' }),
        connectRaw(port, { path: '/echo', tls: {} }),
        connectRaw(port, { path: '/echo', before: proxied('203.0.113.4') }),
        connectRaw(port, { path: '/echo', before: proxied('203.0.113.5'), tls: {} }),
      ]);

      const rows = await rowsOf(server);
      const seen = (nick: string) => {
        const { wire, room, address } = rows.find(row => row.nick === nick)!;
        return `${wire} ${room} ${address.replace(/^127\.0\.0\.1:\d+$/, 'here')}`;
      };
      assert.deepEqual(Object.fromEntries(members.map(({ nick }) => [nick, seen(nick)])), {
        Nell: 'lines lobby here',
        Tess: 'lines lobby here',
        Paul: 'lines lobby 203.0.113.1:56636',
        Tim: 'lines lobby 203.0.113.2:56636',
        Rita: 'packets lobby here',
        Ruth: 'packets lobby 203.0.113.3:56636',
        Wim: 'websocket lobby here',
        Lola: 'poll lobby here',
        Lars: 'poll lobby 203.0.113.6',
        Cleo: 'websocket lobby here',
      });
      for (const host of ['203.0.113.4', '203.0.113.5'])
        assert.equal(rows.filter(row => row.address === `${host}:56636`).length, 1);

      await Promise.all([
        ...greetings,
        talk(members),
        ...echoes.map(echoMany),
        connectTcp(port).then(logInAtOnce),
        connectTls(port).then(logInAtOnce),
        askBySClient(port),
        askByCurl(port),
        shout(port),
        echoByRequests(port),
      ]);
      await Promise.all(members.map(member => member.leave()));
      for (const echo of echoes) echo.destroy();
      assert.deepEqual(
        server.logged().filter(({ level }) => level === 'error'),
        [],
      );
      assert.equal(await server.stop(), 0);
    });
  });
}
