/** Pipelined requests: the answers are the same, in the order of the requests, however the bytes are cut. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { setImmediate } from 'node:timers/promises';
import { addConnection } from '../../src/core/connection.ts';
import { onData, onEnd, scheduleTurn } from '../../src/core/poll.ts';
import { scheduleFlush, sendBytes } from '../../src/core/send.ts';
import { serverLoop } from '../../src/core/serverLoop.ts';
import { drainServer } from '../../src/core/shutdown.ts';
import { echo as echoHandler } from '../../src/handlers/echo.ts';
import { configureLog } from '../../src/log/log.ts';
import { maxPausedInput } from '../../src/protocol/limits.ts';
import type { Connection, Server } from '../../src/records/records.ts';
import { newHttpWire } from '../../src/wires/http.ts';
import { beginResponse, endResponse, promiseResponse, type Route, respond } from '../../src/wires/route.ts';
import { FakeSocket, newFakeServer } from '../support/fakeSocket.ts';
import { newRandom } from '../support/random.ts';
import { handshakeRequest } from '../support/rawClient.ts';
import { frame } from '../support/rawFrame.ts';

/** Answers with the path and the body: at once, in a later turn, or from a producer. */
const echo: Route = {
  takes: ({ path }) => path.startsWith('/echo/'),
  admit: () => 1000,
  answer(connection, { path }, body) {
    const text = `${path} ${body}\n`;
    const headers = { 'Content-Type': 'text/plain' };
    if (path === '/echo/later') {
      void setImmediate().then(() => respond(connection, { status: 200, headers, body: text }));
    } else if (path === '/echo/produced') {
      produce(connection, text);
    } else respond(connection, { status: 200, headers, body: text });
  },
};

/** Produces a character a turn. */
function produce(connection: Connection, text: string): void {
  let at = -1;
  connection.producer = {
    produce() {
      if (at < 0) beginResponse(connection, 200, { 'Content-Length': String(text.length) });
      else sendBytes(connection, Buffer.from(text[at]!));
      if (++at < text.length) return true;
      connection.producer = undefined;
      endResponse(connection);
      return false;
    },
    held: () => 0,
  };
  promiseResponse(connection);
  scheduleFlush(connection);
}

configureLog('error', 'text');

const get = (path: string, fields = '') => `GET ${path} HTTP/1.1\r\nHost: x\r\n${fields}\r\n`;
const post = (path: string, body: string) =>
  `POST ${path} HTTP/1.1\r\nHost: x\r\nContent-Length: ${body.length}\r\n\r\n${body}`;
const chunked = (path: string, chunks: string) =>
  `POST ${path} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n${chunks}`;

const ok = (body: string, type = 'Content-Type: text/plain\r\n') =>
  `HTTP/1.1 200 OK\r\nContent-Length: ${body.length}\r\n${type}Keep-Alive: timeout=75\r\n\r\n${body}`;

/** Starts the loop of a server whose sockets are fakes. */
function startLoop(...options: string[]) {
  const server = newFakeServer(...options);
  server.handlers.set('echo', echoHandler);
  const wire = newHttpWire(server, [echo]);
  const over = serverLoop(server, () => {});
  return {
    server,
    open() {
      const socket = new FakeSocket();
      return { socket, connection: addConnection(server, socket, wire) };
    },
    async stop() {
      server.isDraining = true;
      scheduleTurn(server);
      await over;
    },
  };
}

/** Sends the bytes in pieces, a turn for each, then a FIN. @returns all that the server sends until it ends the connection */
async function exchangeCut(loop: ReturnType<typeof startLoop>, bytes: Buffer, cuts: readonly number[]) {
  const { socket, connection } = loop.open();
  const places = [0, ...cuts, bytes.length];
  for (let i = 1; i < places.length; i++) {
    const piece = bytes.subarray(places[i - 1]!, places[i]!);
    if (piece.length > 0) onData(connection, Buffer.from(piece), piece.length);
    if (i < places.length - 1) await untilTurn(loop.server);
  }
  onEnd(connection, undefined);
  while (!socket.isDestroyed) await setImmediate();
  return socket.written().toString('latin1');
}

async function untilTurn(server: Server): Promise<void> {
  const { turns } = server.counters;
  scheduleTurn(server);
  while (server.counters.turns === turns) await setImmediate();
}

const requests = [
  post('/echo/a', 'one'),
  get('/echo/later'),
  chunked('/echo/b', '3\r\ntwo\r\n5;x="y"\r\nthree\r\n0\r\nTrailer: ignored\r\n\r\n'),
  '\r\n',
  post('/echo/produced', 'slow'),
  post('/echo/later', ''),
  `HEAD /echo/c HTTP/1.1\r\nHost: x\r\n\r\n`,
  'GET /echo/d HTTP/1.0\r\nConnection: keep-alive\r\n\r\n',
];

const answers = [
  ok('/echo/a one\n'),
  ok('/echo/later \n'),
  ok('/echo/b twothree\n'),
  ok('/echo/produced slow\n', ''),
  ok('/echo/later \n'),
  ok('/echo/c \n').replace('/echo/c \n', ''),
  ok('/echo/d \n').replace('\r\n\r\n', '\r\nConnection: keep-alive\r\n\r\n'),
];

const sessions: Readonly<Record<string, [sent: string | Buffer, expected: string]>> = {
  'that all keep the connection': [requests.join(''), answers.join('')],
  'of which the last ends the connection, so what follows is ignored': [
    requests.join('') + get('/echo/e', 'Connection: close\r\n') + get('/echo/f'),
    answers.join('') + ok('/echo/e \n').replace('Keep-Alive: timeout=75', 'Connection: close'),
  ],
  'of which the last has an invalid chunk': [
    requests.join('') + chunked('/echo/e', '+3\r\nabc\r\n0\r\n\r\n') + get('/echo/f'),
    `${answers.join('')}HTTP/1.1 400 Bad Request\r\nContent-Length: 28\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\n\r\na chunk size is not a number\n`.replace(
      'Content-Length: 28',
      'Content-Length: 29',
    ),
  ],
  'before a WebSocket handshake with a message behind it': [
    Buffer.concat([
      Buffer.from(requests.join('') + handshakeRequest({ path: '/echo' })),
      frame(1, 'hello'),
      frame(8, Buffer.from([3, 232])),
    ]),
    `${answers.join('')}HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n\x81\x05hello\x88\x02\x03\xe8`,
  ],
};

describe('pipelined requests', () => {
  for (const [name, [sent, expected]] of Object.entries(sessions)) {
    test(`${name}, get the same answers in order, however they are cut`, { timeout: 120_000 }, async () => {
      const loop = startLoop('--log-level', 'error');
      const bytes = Buffer.from(sent as Buffer);
      const random = newRandom(bytes.length);
      const check = async (cuts: readonly number[]) =>
        assert.equal(await exchangeCut(loop, bytes, cuts), expected, `cut at ${cuts}`);
      await check([]);
      await check(Array.from({ length: bytes.length - 1 }, (_, at) => at + 1));
      for (let cut = 1; cut < bytes.length; cut++) await check([cut]);
      for (let round = 0; round < 100; round++) {
        const count = 1 + random.below(10);
        await check(Array.from({ length: count }, () => random.below(bytes.length)).sort((a, b) => a - b));
      }
      await loop.stop();
    });
  }

  test('wait unread behind an answer that is not complete, and only as much of them as the limit is kept', async () => {
    const loop = startLoop();
    const { socket, connection } = loop.open();
    const answered: Connection[] = [];
    const hold: Route = { ...echo, takes: () => true, answer: one => void answered.push(one) };
    connection.wire = newHttpWire(loop.server, [hold]);
    const send = (text: string) => onData(connection, Buffer.from(text), text.length);
    send(get('/a') + get('/b'));
    await untilTurn(loop.server);
    assert.equal(answered.length, 1);
    assert.equal(socket.isPaused, false);
    send('x'.repeat(maxPausedInput));
    await untilTurn(loop.server);
    assert.equal(answered.length, 1);
    assert.equal(socket.isPaused, true, 'the server stops reading');
    respond(connection, { status: 204, headers: {}, body: '' });
    await untilTurn(loop.server);
    await untilTurn(loop.server);
    assert.equal(answered.length, 2);
    assert.equal(socket.isPaused, false, 'the server reads again');
    onEnd(connection, 'ECONNRESET');
    await untilTurn(loop.server);
    assert.equal(socket.isDestroyed, true);
    await loop.stop();
  });

  test('by the thousand leave room in the turn for those of another connection', async () => {
    const loop = startLoop();
    const [flood, other] = [loop.open(), loop.open()];
    const many = Buffer.from(get('/healthz').repeat(1000));
    onData(flood.connection, many, many.length);
    const one = Buffer.from(get('/healthz'));
    onData(other.connection, one, one.length);
    await untilTurn(loop.server);
    while (other.socket.writes.length === 0) await untilTurn(loop.server);
    assert.match(other.socket.written().toString(), /^HTTP\/1\.1 200 OK/);
    const count = () => flood.socket.written().toString().split('HTTP/1.1 200').length - 1;
    assert.ok(count() < 200, `${count()} answers before that of the other connection`);
    while (count() < 1000) await untilTurn(loop.server);
    for (const { connection } of [flood, other]) onEnd(connection, undefined);
    await loop.stop();
  });
});

test('a request that has arrived when the server begins to drain is refused with 503', async () => {
  const loop = startLoop();
  const { socket, connection } = loop.open();
  for (const path of ['/echo/first', '/echo/next']) {
    if (path === '/echo/next') await untilTurn(loop.server);
    const bytes = Buffer.from(get(path));
    onData(connection, bytes, bytes.length);
  }
  drainServer(loop.server, 'the test');
  onEnd(connection, undefined);
  while (!socket.isDestroyed) await setImmediate();
  const [, first, next] = String(socket.written()).split('HTTP/1.1 ');
  assert.match(first!, /^200 OK\r\n/);
  assert.match(next!, /^503 .*\r\nConnection: close\r\n\r\nthe server is going away\n$/s);
  await loop.stop();
});
