/** The load must notice a server that does its work wrong. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { createServer as createHttpServer, type ServerResponse } from 'node:http';
import { type AddressInfo, createServer, type Socket } from 'node:net';
import { extname } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath, URL } from 'node:url';
import { promisify } from 'node:util';
import { WebSocketServer } from 'ws';
import { skipUnlessLinux } from '../../support/linux.ts';
import type { Job, Sample, Target } from '../jobs.ts';

const script = fileURLToPath(new URL(`./load${extname(import.meta.url)}`, import.meta.url));
const echo: Job = { kind: 'echo', connections: 2, size: 100, inFlight: 3 };
const broadcast: Job = { kind: 'broadcast', connections: 3, size: 100, inFlight: 2 };

/** Runs a load against a server in this process. @throws Error with the load's stderr if it fails */
async function run(port: number, raw: boolean, job: Job): Promise<Sample> {
  const target: Target = { port, pid: process.pid, raw, tls: false, packets: false, warmUp: 0, seconds: 0.1 };
  const { stdout } = await promisify(execFile)(process.execPath, [
    script,
    JSON.stringify(target),
    JSON.stringify(job),
  ]);
  return JSON.parse(stdout);
}

/** A raw server that answers each read with `answer(bytes)`. */
async function againstRaw(job: Job, answer: (bytes: Buffer, socket: Socket) => Buffer): Promise<Sample> {
  const server = createServer(socket => {
    socket.on('data', bytes => socket.write(answer(bytes, socket)));
    socket.on('error', () => {});
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  try {
    return await run((server.address() as AddressInfo).port, true, job);
  } finally {
    server.close();
  }
}

/** A `ws` server that sends `change(message)` to every connection `times` times. */
async function againstBroadcast(
  job: Job,
  times: (round: number) => number,
  change: (data: Buffer) => Buffer,
): Promise<Sample> {
  const server = new WebSocketServer({ host: '127.0.0.1', port: 0 });
  let round = 0;
  server.on('connection', connection => {
    connection.on('error', () => {});
    connection.on('message', data => {
      round++;
      for (const client of server.clients) {
        for (let i = 0; i < times(round); i++) client.send(change(data as Buffer));
      }
    });
  });
  await once(server, 'listening');
  try {
    return await run((server.address() as AddressInfo).port, false, job);
  } finally {
    server.close();
  }
}

/** A channel in an HTTP server, which sends `change(event)` to every stream. */
async function againstChannel(change: (event: string) => string): Promise<Sample> {
  const streams: ServerResponse[] = [];
  const server = createHttpServer((request, response) => {
    if (request.method === 'GET') {
      response.writeHead(200, { 'Content-Type': 'text/event-stream' }).write(':\n\n');
      streams.push(response);
      return;
    }
    request.setEncoding('latin1').once('data', text => {
      for (const stream of streams) stream.write(change(`data: ${text}\n\n`));
      response.end('{}');
    });
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const job: Job = { kind: 'channel', transport: 'eventsource', subscribers: 3, size: 64, figure: 'p99' };
  try {
    return await run((server.address() as AddressInfo).port, false, job);
  } finally {
    server.close();
    server.closeAllConnections();
  }
}

test('the load counts right answers of a WebSocket server and of a raw server', async t => {
  if (skipUnlessLinux(t, '/proc')) return;
  assert.ok((await againstRaw(echo, bytes => bytes)).perSecond > 0);
  const once = () => 1;
  const same = (data: Buffer) => data;
  assert.ok((await againstBroadcast(broadcast, once, same)).perSecond > 0);
  const handshake: Job = { kind: 'handshake', parallel: 2 };
  assert.ok((await againstBroadcast(handshake, once, same)).perSecond > 0);
  const idle: Job = { kind: 'idle', warmUp: 1, connections: 70 };
  assert.ok((await againstBroadcast(idle, once, same)).perSecond > 0);
});

test('the run fails at a wrong byte in a first answer', async t => {
  if (skipUnlessLinux(t, '/proc')) return;
  const flipLast = (bytes: Buffer) => {
    const copy = Buffer.from(bytes);
    copy[copy.length - 1]! ^= 1;
    return copy;
  };
  await assert.rejects(againstRaw(echo, flipLast), {
    code: 1,
    stderr: /the first answer has \d+ instead of \d+/,
  });
  await assert.rejects(
    againstBroadcast(broadcast, () => 1, flipLast),
    { code: 1, stderr: /the first answer has \d+ instead of \d+ at byte 101 of 204/ },
  );
});

test('the run fails at an extra byte in a later answer', async t => {
  if (skipUnlessLinux(t, '/proc')) return;
  const answered = new Map<Socket, number>();
  const tooMuch = (bytes: Buffer, socket: Socket) => {
    const total = (answered.get(socket) ?? 0) + bytes.length;
    answered.set(socket, total);
    return total > 1000 ? Buffer.concat([bytes, bytes.subarray(0, 1)]) : bytes;
  };
  await assert.rejects(againstRaw(echo, tooMuch), {
    code: 1,
    stderr: /received \d+ bytes where \d+ were due/,
  });
});

test('the run fails if a message is delivered twice in a later round', async t => {
  if (skipUnlessLinux(t, '/proc')) return;
  const twiceLater = (round: number) => (round > 50 ? 2 : 1);
  await assert.rejects(
    againstBroadcast(broadcast, twiceLater, data => data),
    { code: 1, stderr: /received \d+ bytes where \d+ were due/ },
  );
});

test('the load times the deliveries of a channel, and fails at a wrong and at a repeated one', async t => {
  if (skipUnlessLinux(t, '/proc')) return;
  const { figure, perSecond } = await againstChannel(event => event);
  assert.ok(figure > 0 && perSecond > 0);
  await assert.rejects(
    againstChannel(event => event.replace('aa', 'ab')),
    { code: 1, stderr: /the first delivery is ".*data: aba/s },
  );
  await assert.rejects(
    againstChannel(event => event + event),
    { code: 1, stderr: /more messages than were published/ },
  );
});

test('the run fails at a refused handshake and at a connection that the server closes', async t => {
  if (skipUnlessLinux(t, '/proc')) return;
  const server = createServer(socket => {
    socket.on('error', () => {});
    socket.end('HTTP/1.1 400 Bad Request\r\n\r\n');
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  await assert.rejects(run((server.address() as AddressInfo).port, false, echo), {
    code: 1,
    stderr: /the handshake was refused: HTTP\/1\.1 400/,
  });
  server.close();
  let reads = 0;
  const hangUp = (bytes: Buffer, socket: Socket) => {
    if (++reads === 50) setImmediate(() => socket.end());
    return bytes;
  };
  await assert.rejects(againstRaw(echo, hangUp), {
    code: 1,
    stderr: /the server closed a connection|ECONNRESET|EPIPE/,
  });
});
