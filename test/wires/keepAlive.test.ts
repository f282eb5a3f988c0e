/** HTTP connections that are kept between requests: when they are, when they end, and what each request still gets. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { Agent, type IncomingMessage, request as startRequest } from 'node:http';
import { connect } from 'node:net';
import { text } from 'node:stream/consumers';
import { describe, test } from 'node:test';
import { makeCertificate, tlsOptions } from '../support/certificates.ts';
import { openServer, secret } from '../support/commandWays.ts';
import { connectKept, KeptClient } from '../support/keptClient.ts';
import { openPolled, post } from '../support/pollClient.ts';
import {
  connectRaw,
  connectTcp,
  connectTls,
  exchange,
  handshakeRequest,
  readToEnd,
} from '../support/rawClient.ts';
import { closeFrame, frame, opcode } from '../support/rawFrame.ts';
import { startServerFor } from '../support/serverProcess.ts';
import { untilLogged } from '../support/untilLogged.ts';

const patience = { timeout: 60_000 };

const get = (path: string, fields = '') => `GET ${path} HTTP/1.1\r\nHost: x\r\n${fields}\r\n`;
const authorization = `Authorization: Bearer ${secret}\r\n`;
const command = (name: string, form: string) =>
  `POST /api/${name} HTTP/1.1\r\nHost: x\r\n${authorization}Content-Type: application/x-www-form-urlencoded\r\nContent-Length: ${form.length}\r\n\r\n${form}`;

test("a client of Node's http.Agent sends all requests on one connection", patience, async t => {
  const { port } = await openServer(t);
  const agent = new Agent({ keepAlive: true, maxSockets: 1 });
  const headers = { Authorization: `Bearer ${secret}`, 'Content-Type': 'application/json' };
  const ports = new Set<number | undefined>();
  for (const [method, path, body, status] of [
    ['GET', '/healthz', '', 200],
    ['POST', '/api/broadcast', '{"text":"hi"}', 200],
    ['HEAD', '/', '', 200],
    ['POST', '/api/nothing', '{}', 404],
    ['GET', '/nothing', '', 404],
    ['POST', '/poll/echo', '', 201],
  ] as const) {
    const request = startRequest({ port, host: '127.0.0.1', agent, method, path, headers });
    // Without a length, Node sends the body in chunks.
    if (body !== '') request.write(body);
    request.end();
    const [response] = (await once(request, 'response')) as [IncomingMessage];
    await text(response);
    assert.equal(response.statusCode, status, path);
    ports.add(request.socket?.localPort);
  }
  assert.equal(ports.size, 1);
  agent.destroy();
});

test('curl gets two URLs on one connection', patience, async t => {
  const { port } = await startServerFor(t);
  const url = `http://127.0.0.1:${port}/healthz`;
  const options = ['--silent', '--noproxy', '*', '--write-out', '%{num_connects} '];
  assert.equal(execFileSync('curl', [...options, url, url], { encoding: 'utf8' }), 'ok\n1 ok\n0 ');
});

test('two commands run on one connection of the control socket', patience, async t => {
  const { control } = await openServer(t);
  const client = new KeptClient(connect(control));
  const info = 'POST /api/info HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n';
  for (let i = 0; i < 2; i++) assert.equal((await client.ask(info)).status, 200);
  client.socket.destroy();
});

describe('an answer', () => {
  const page = 'HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Type: text/plain; charset=utf-8\r\n';
  for (const [what, request, persistence] of [
    ['to HTTP/1.1 with Connection: close', get('/healthz', 'Connection: close\r\n'), 'Connection: close'],
    ['to HTTP/1.0', 'GET /healthz HTTP/1.0\r\n\r\n', 'Connection: close'],
    [
      'to a request whose body is not read',
      'GET /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nGET',
      'Connection: close',
    ],
    ['to one of several options', get('/healthz', 'Connection: TE, Close\r\n'), 'Connection: close'],
  ] as const) {
    test(`${what} ends the connection, and says so`, patience, async t => {
      const { port } = await startServerFor(t);
      const answer = (await exchange(port, request)).toString();
      assert.ok(answer.startsWith(page), answer);
      assert.ok(answer.includes(`\r\n${persistence}\r\n`) && answer.endsWith('\r\n\r\nok\n'), answer);
    });
  }

  test('to HTTP/1.0 with Connection: keep-alive keeps the connection, and says so', patience, async t => {
    const { port } = await startServerFor(t);
    const client = await connectKept(port);
    for (let i = 0; i < 2; i++) {
      const { headers } = await client.ask('GET /healthz HTTP/1.0\r\nConnection: keep-alive\r\n\r\n');
      assert.equal(headers.get('connection'), 'keep-alive');
    }
    client.socket.destroy();
  });

  test('ends each connection with --keep-alive 0', patience, async t => {
    const { port } = await startServerFor(t, '--keep-alive', '0');
    assert.match((await exchange(port, get('/healthz'))).toString(), /\r\nConnection: close\r\n/);
  });

  test('to a body that is too long is not lost while the client still sends', patience, async t => {
    const { port } = await openServer(t);
    const client = await connectKept(port);
    client.socket.write(
      `POST /api/broadcast HTTP/1.1\r\nHost: x\r\n${authorization}Content-Length: 50000000\r\n\r\n`,
    );
    for (let i = 0; i < 300; i++)
      if (!client.socket.write(Buffer.alloc(65_536))) await once(client.socket, 'drain');
    client.socket.end();
    const { status, headers } = await client.next();
    assert.deepEqual([status, headers.get('connection')], [413, 'close']);
  });

  test(
    'to an invalid request ends the connection: what follows is not taken for a request',
    patience,
    async t => {
      const { port } = await startServerFor(t);
      for (const request of [
        'POST /poll/echo HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n',
        'POST /poll/echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0x1\r\n',
        'POST /poll/echo HTTP/1.1\r\nHost: x\r\nContent-Length: 1, 1\r\n\r\n',
        'GET / HTTP/1.1\r\nHost: x\r\nA : b\r\n\r\n',
      ]) {
        const answer = (await exchange(port, get('/healthz') + request + get('/healthz'))).toString();
        assert.deepEqual(answer.match(/(?<=HTTP\/1\.1 )\d+/g), ['200', '400'], request);
      }
    },
  );

  test('follows a 100 (Continue) on a connection that was used before', patience, async t => {
    const { port } = await openServer(t);
    const client = await connectKept(port);
    await client.ask(get('/healthz'));
    const head = command('broadcast', 'text=hello').slice(0, -'text=hello'.length - 2);
    assert.equal((await client.ask(`${head}Expect: 100-continue\r\n\r\n`)).status, 100);
    assert.equal((await client.ask('text=hello')).status, 200);
    client.socket.destroy();
  });

  test('to a half-closed client follows all its requests, the last one included', patience, async t => {
    const { port } = await openServer(t);
    const socket = await connectTcp(port);
    socket.end(command('info', '').repeat(3));
    const answer = (await readToEnd(socket)).toString();
    assert.equal(answer.match(/HTTP\/1\.1 200 OK/g)?.length, 3);
  });
});

test('an event stream says that it ends the connection', patience, async t => {
  const { port } = await startServerFor(t);
  const session = await openPolled(port, 'echo');
  const client = await connectKept(port);
  await client.ask(get('/healthz'));
  client.socket.write(get(session, 'Accept: text/event-stream\r\n'));
  assert.equal((await client.next()).headers.get('connection'), 'close');
  client.socket.end();
  await client.rest();
});

test(
  'polls and posts of a session share one connection, and a request behind a poll waits for it',
  patience,
  async t => {
    const { port } = await startServerFor(t);
    const session = await openPolled(port, 'echo');
    const client = await connectKept(port);
    for (let number = 1; number <= 3; number++) {
      client.socket.write(get(`${session}?ack=${number - 1}`) + get('/healthz'));
      await post(port, session, `message ${number}`);
      assert.match((await client.next()).body, new RegExp(`"message ${number}"`));
      assert.equal((await client.next()).body, 'ok\n');
    }
    client.socket.destroy();
  },
);

test(
  'an idle connection ends after --keep-alive, without a line in the log and without a record',
  patience,
  async t => {
    const server = await openServer(
      t,
      '--keep-alive',
      '100ms',
      '--handshake-timeout',
      '0',
      '--log-level',
      'info',
    );
    const client = await connectKept(server.port);
    const { headers } = await client.ask(get('/healthz'));
    assert.equal(headers.get('keep-alive'), undefined, 'less than a second has no Keep-Alive field');
    assert.equal(await client.rest(), '');
    assert.deepEqual(
      server.logged().filter(({ event }) => event === 'refused' || event === 'closed'),
      [],
    );
    client.socket.destroy();
  },
);

test('the next request must be whole within --handshake-timeout', patience, async t => {
  const { port } = await startServerFor(t, '--handshake-timeout', '200ms');
  const client = await connectKept(port);
  await client.ask(get('/healthz'));
  const { status, headers } = await client.ask('GET / HTTP/1.1\r\n');
  assert.deepEqual([status, headers.get('connection')], [408, 'close']);
  assert.equal(await client.rest(), '');
  client.socket.destroy();
});

test('a client that does not read its answers is dropped after --close-timeout', patience, async t => {
  const server = await startServerFor(t, '--close-timeout', '200ms', '--log-level', 'debug');
  const socket = await connectTcp(server.port);
  socket.on('error', () => {}).pause();
  socket.write(get('/').repeat(2000));
  const { aftermath, why } = await server.untilLogged(({ event }) => event === 'closed');
  assert.match(`${why} ${aftermath}`, /did not read the answer within 200ms \(--close-timeout\)/);
  socket.destroy();
});

test(
  'a graceful shutdown ends idle connections at once, and answers a waiting poll with Connection: close',
  patience,
  async t => {
    const server = await startServerFor(
      t,
      '--keep-alive',
      '1h',
      '--drain-timeout',
      '1h',
      '--close-timeout',
      '1h',
    );
    const session = await openPolled(server.port, 'echo');
    const [idle, waiting] = [await connectKept(server.port), await connectKept(server.port)];
    await idle.ask(get('/healthz'));
    await waiting.ask(get('/healthz'));
    waiting.socket.write(get(session));
    // The poll waits when a later request is answered.
    const later = await connectKept(server.port);
    await later.ask(get('/healthz', 'Connection: close\r\n'));
    later.socket.end();
    server.child.kill('SIGTERM');
    assert.equal(await idle.rest(), '');
    const { headers, body } = await waiting.next();
    assert.equal(headers.get('connection'), 'close');
    assert.match(body, /"closed":\{"code":1001/);
    // The idle client does not end its direction.
    waiting.socket.end();
    assert.equal(await server.exited, 0);
  },
);

test('idle connections are dropped first when places run short', patience, async t => {
  const server = await startServerFor(t, '--max-connections', '10', '--max-per-address', '0');
  // 10 places and 64 for requests.
  const idle: KeptClient[] = [];
  for (let i = 0; i < 74; i++) {
    const client = await connectKept(server.port);
    await client.ask(get('/healthz'));
    idle.push(client);
  }
  for (let i = 0; i < 10; i++) await connectRaw(server.port, { path: '/echo' });
  const ends = await Promise.all(idle.slice(0, 10).map(client => Promise.race([client.rest(), 'open'])));
  assert.ok(ends.every(end => end === 'open' || end === ''));
  assert.deepEqual(
    server.logged().filter(({ event }) => event === 'out of places'),
    [],
  );
});

test(
  'a trusted proxy sends requests of several clients on one connection, each with its address',
  patience,
  async t => {
    const server = await openServer(t, '--trust-proxy', '127.0.0.1');
    const client = await connectKept(server.port);
    for (const address of ['203.0.113.7', '203.0.113.8']) {
      const { status } = await client.ask(
        `POST /api/info HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: ${address}\r\nContent-Length: 0\r\n\r\n`,
      );
      assert.equal(status, 401);
    }
    await untilLogged(server, 'refused', 2);
    const refused = server.logged().filter(({ event }) => event === 'refused');
    assert.deepEqual(
      refused.map(({ address }) => address),
      ['203.0.113.7', '203.0.113.8'],
    );
    client.socket.destroy();
  },
);

test('why explains a refused request of a connection that goes on', patience, async t => {
  const server = await openServer(t);
  const client = await connectKept(server.port);
  await client.ask('POST /api/list HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n');
  await client.ask(get('/healthz'));
  const { id } = await server.untilLogged(({ event }) => event === 'refused');
  const { body } = await client.ask(command('why', `id=${id}`));
  const record = JSON.parse(body) as { why: string; status: number };
  assert.match(record.why, /^the request was refused with 401: a token is needed/);
  assert.equal(record.status, 401);
  client.socket.destroy();
});

test('a WebSocket starts on a connection that was used for requests', patience, async t => {
  const { port } = await startServerFor(t);
  const client = await connectKept(port);
  await client.ask(get('/healthz'));
  assert.equal((await client.ask(handshakeRequest({ path: '/echo' }))).status, 101);
  client.socket.end(Buffer.concat([frame(opcode.text, 'hello'), closeFrame(1000)]));
  assert.match(await client.rest(), /^.\u0005hello/);
});

test('connections are kept inside TLS and behind a PROXY header', patience, async t => {
  const identity = makeCertificate('localhost');
  const { port } = await startServerFor(t, ...tlsOptions(identity), '--trust-proxy', '127.0.0.1');
  const header = Buffer.from('PROXY TCP4 203.0.113.7 192.0.2.1 1 2\r\n');
  const client = new KeptClient(await connectTls(port, {}, header));
  for (let i = 0; i < 3; i++) assert.equal((await client.ask(get('/healthz'))).body, 'ok\n');
  client.socket.destroy();
});
