/** Who may open the inspector. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { maxInspectors } from '../../../src/protocol/inspectorLimits.ts';
import { askServer, openServer, run } from '../../support/commandWays.ts';
import { openInspector } from '../../support/inspectorClient.ts';
import { exchange, handshakeRequest } from '../../support/rawClient.ts';
import { type ServerProcess, startServer, startServerFor } from '../../support/serverProcess.ts';
import { temporaryFolder } from '../../support/temporaryFolder.ts';

const token = 'a-token-of-the-operator-0123456789';

function tokenFile(): string {
  const path = join(temporaryFolder(), 'token');
  writeFileSync(path, `${token}\n`, { mode: 0o600 });
  return path;
}

/** @returns the status and the body of GET /inspect */
async function getPage(port: number, ...fields: string[]): Promise<string> {
  const head = [`GET /inspect HTTP/1.1`, 'Connection: close', ...fields].join('\r\n');
  const answer = (await exchange(port, `${head}\r\n\r\n`)).toString();
  return `${answer.split(' ')[1]} ${answer.slice(answer.indexOf('\r\n\r\n') + 4).trim()}`;
}

/** Requests of pages of other sites, to rebound names, and through proxies, with the reason of their refusal. */
const strangers: readonly (readonly [
  name: string,
  headers: Readonly<Record<string, string>>,
  why: RegExp,
])[] = [
  ['a page of another origin', { Origin: 'https://evil.example' }, /pages of this origin/],
  ['a page of another port', { Origin: 'http://localhost:1' }, /pages of this origin/],
  ['a sandboxed page', { Origin: 'null' }, /pages of this origin/],
  [
    'a rebound Host',
    { Host: 'evil.example:8080', Origin: 'http://evil.example:8080' },
    /the host in the URL is not localhost/,
  ],
  [
    'a Host that begins like the local one',
    { Host: 'localhost.evil.example', Origin: 'http://localhost.evil.example' },
    /the host in the URL is not localhost/,
  ],
  ['a proxied stranger', { 'X-Forwarded-For': '203.0.113.7' }, /x-forwarded-for/],
  ['a proxy of the standard kind', { Forwarded: 'for=203.0.113.7' }, /forwarded/],
  ['a proxy that gives its protocol only', { 'X-Forwarded-Proto': 'https' }, /x-forwarded-proto/],
  ['a proxy with Via', { Via: '1.1 proxy' }, /via/],
  ...[
    'X-Forwarded',
    'X_Forwarded_For',
    'X-Original-Host',
    'X-Client-IP',
    'CF-Connecting-IP',
    'True-Client-IP',
    'Fastly-Client-IP',
    'CDN-Loop',
  ].map(name => [`a proxy with ${name}`, { [name]: '203.0.113.7' }, new RegExp(name.toLowerCase())] as const),
];

describe('the inspector without a token', () => {
  let server: ServerProcess;
  before(async () => {
    server = await startServer('--inspect');
  });
  after(() => server.kill());

  test('opens for a page of this server on this machine', async () => {
    const client = await openInspector(server.port);
    assert.ok((await client.next('welcome')).handlers.some(({ path }) => path === '/echo'));
    client.close();
    await client.closed;
  });

  for (const host of ['127.0.0.1', '[::1]', 'LOCALHOST']) {
    test(`opens for the host ${host}`, async () => {
      const headers = { Host: `${host}:${server.port}`, Origin: `http://${host}:${server.port}` };
      const client = await openInspector(server.port, { headers });
      await client.next('welcome');
      client.close();
      await client.closed;
    });
  }

  for (const [name, headers, why] of strangers) {
    test(`refuses ${name}`, async () => {
      await assert.rejects(
        openInspector(server.port, { headers }),
        new RegExp(`^Error: 403 .*${why.source}`),
      );
    });
  }

  test('refuses a request without Origin, which no browser sends', async () => {
    const headers = { Host: `localhost:${server.port}` };
    const answer = await exchange(server.port, handshakeRequest({ path: '/inspect', headers }));
    assert.match(answer.toString(), /^HTTP\/1\.1 403 .*not from a page of this server/s);
  });

  test('refuses a full URL in the request line, whose host is not the Host field', async () => {
    const headers = { Host: `localhost:${server.port}`, Origin: `http://localhost:${server.port}` };
    const request = handshakeRequest({ path: 'http://evil.example/inspect', headers });
    assert.match((await exchange(server.port, request)).toString(), /^HTTP\/1\.1 403 .*as for a proxy/s);
  });

  test('refuses the page itself to strangers, with the reason', async () => {
    assert.match(
      await getPage(server.port, 'Host: evil.example'),
      /^403 the host in the URL is not localhost/,
    );
    assert.match(
      await getPage(server.port, 'Host: localhost', 'X-Forwarded-For: 203.0.113.7'),
      /^403 a proxy added the field x-forwarded-for; without --api-token, only pages on this machine/,
    );
    assert.doesNotMatch(await getPage(server.port, `Host: localhost:${server.port}`), /^403/);
  });

  test('needs "enter" first', async () => {
    const client = await openInspector(server.port, { token: null });
    client.send({ type: 'watch', serial: 1 });
    assert.deepEqual(await client.closed, { code: 1008, reason: 'the first message must be "enter"' });
  });

  test('closes with a reason after an invalid message', async () => {
    for (const [text, reason] of [
      ['{', 'the message is not a JSON object'],
      ['{"type":"burn"}', 'the "type" of the message is unknown'],
      ['{"type":"watch","serial":-1}', '"serial" must be a positive integer'],
      ['{"type":"enter"}', 'this page has entered already'],
    ] as const) {
      const client = await openInspector(server.port);
      await client.next('welcome');
      client.sendRaw(text);
      assert.deepEqual(await client.closed, { code: 1008, reason });
    }
  });

  test(`opens for ${maxInspectors} pages at once`, async () => {
    const clients = [];
    for (let i = 0; i < maxInspectors; i++) {
      const client = await openInspector(server.port);
      await client.next('welcome');
      clients.push(client);
    }
    await assert.rejects(openInspector(server.port), /503 2 inspectors are open already; close one/);
    for (const client of clients) {
      client.close();
      await client.closed;
    }
  });

  test('does not open over HTTP polling', async () => {
    const answer = await exchange(
      server.port,
      `POST /poll/inspect HTTP/1.1\r\nHost: localhost:${server.port}\r\nOrigin: http://localhost:${server.port}\r\nConnection: close\r\n\r\n`,
    );
    assert.match(answer.toString(), /^HTTP\/1\.1 400 .*the inspector needs a WebSocket/s);
  });
});

test('without --inspect, neither the page nor its WebSocket exists', async t => {
  const server = await startServerFor(t);
  assert.match(await getPage(server.port, 'Host: localhost'), /^404/);
  await assert.rejects(
    openInspector(server.port),
    /404 the inspector is off; start the server with --inspect/,
  );
});

test('set inspect false closes an open inspector', async t => {
  const server = await openServer(t, '--inspect');
  const client = await openInspector(server.port);
  await client.next('welcome');
  assert.equal((await run(['--control', server.control, 'set', 'inspect', 'false'])).exit, 0);
  assert.deepEqual(await client.closed, { code: 4403, reason: 'the inspector was switched off' });
  assert.match(await getPage(server.port, 'Host: localhost'), /^404/);
});

test('behind --trust-proxy, a local page without a token gets nothing', async t => {
  const server = await startServerFor(t, '--inspect', '--trust-proxy', '127.0.0.1');
  await assert.rejects(openInspector(server.port), /403 this server has a proxy in front \(--trust-proxy\)/);
});

test('a client on a Unix socket gets nothing, even with a local Host and Origin', async t => {
  const path = join(temporaryFolder(), 'public.sock');
  const server = await startServerFor(t, '--inspect', '--listen', `unix:${path}`);
  const socket = connect({ path });
  const headers = { Host: `localhost:${server.port}`, Origin: `http://localhost:${server.port}` };
  socket.write(handshakeRequest({ path: '/inspect', headers }));
  const [answer] = await once(socket, 'data');
  socket.destroy();
  assert.match(String(answer), /^HTTP\/1\.1 403 .*the client has no loopback address/s);
});

test('a reload that replaces the API token closes the inspectors that have entered with it', async t => {
  const server = await openServer(t, '--inspect', '--trust-proxy', '127.0.0.1');
  const headers = { Host: 'pond.example', Origin: 'https://pond.example', 'X-Forwarded-For': '203.0.113.9' };
  const client = await openInspector(server.port, { headers, token: server.token });
  await client.next('welcome');
  assert.equal((await askServer(server, 'reload')).stderr, '');
  writeFileSync(server.tokenFile, 'another-token-of-good-length');
  assert.match((await askServer(server, 'reload')).stdout, /api token replaced/);
  assert.deepEqual(await client.closed, { code: 4401, reason: 'the API token was replaced' });
});

describe('the inspector with --api-token', () => {
  let server: ServerProcess;
  before(async () => {
    server = await startServer('--inspect', '--trust-proxy', '127.0.0.1', '--api-token', tokenFile());
  });
  after(() => server.kill());

  const proxied = { Host: 'pond.example', Origin: 'https://pond.example', 'X-Forwarded-For': '203.0.113.9' };

  test('asks a proxied page for the token, and opens with it', async () => {
    assert.doesNotMatch(await getPage(server.port, 'Host: pond.example'), /^403/);
    const without = await openInspector(server.port, { headers: proxied });
    const { code, reason } = await without.closed;
    assert.equal(code, 4401);
    assert.match(reason, /^the inspector needs the API token: this server has a proxy in front/);
    const client = await openInspector(server.port, { headers: proxied, token });
    await client.next('welcome');
    client.close();
    await client.closed;
  });

  test('refuses a page of another origin even with the token', async () => {
    const headers = { ...proxied, Origin: 'https://evil.example' };
    await assert.rejects(openInspector(server.port, { headers, token }), /403 pages of this origin/);
  });

  test('never takes the token from the URL', async () => {
    const client = await openInspector(server.port, { headers: proxied, path: `/inspect?token=${token}` });
    assert.equal((await client.closed).code, 4401);
  });

  test('slows down guessing, and the right token still opens', async () => {
    const headers = { ...proxied, 'X-Forwarded-For': '203.0.113.10' };
    const guesses = await Promise.all(
      Array.from({ length: 40 }, async (_, index) => {
        const client = await openInspector(server.port, { headers, token: `wrong-${index}` });
        return client.closed;
      }),
    );
    assert.ok(guesses.some(({ code, reason }) => code === 4401 && reason.startsWith('wrong token')));
    assert.ok(guesses.some(({ reason }) => reason === 'too many wrong tokens; wait a second'));
    assert.ok(server.logged().some(({ event }) => event === 'wrong tokens'));
    const client = await openInspector(server.port, { headers, token });
    await client.next('welcome');
    client.close();
    await client.closed;
  });
});
