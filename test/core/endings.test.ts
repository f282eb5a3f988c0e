/** For every way in which a connection ends, the log says who ended it, by which rule and with which codes. */
import assert from 'node:assert/strict';
import type { Socket } from 'node:net';
import { after, before, test } from 'node:test';
import {
  type ConnectOptions,
  connectRaw,
  connectTcp,
  exchange,
  handshakeRequest,
} from '../support/rawClient.ts';
import { closeFrame, frame, opcode } from '../support/rawFrame.ts';
import { type ServerProcess, startServer, startServerFor } from '../support/serverProcess.ts';

interface Case {
  readonly name: string;
  /** The case starts its own server with these options; without them, it uses the shared server. */
  readonly options?: readonly string[];
  /** Makes a connection and ends it. The next connection that ends is the one under test. */
  act(server: ServerProcess): Promise<unknown>;
  readonly by: 'client' | 'server' | 'network';
  readonly why: string | RegExp;
  /** The event's other fields. Fields that are missing here must be missing in the event. */
  readonly fields?: Readonly<Record<string, unknown>>;
}

const open = ({ port }: ServerProcess, options: ConnectOptions = {}) =>
  connectRaw(port, { path: '/echo', ...options });

/** Sends bytes on a WebSocket connection, and ends TCP once the server has ended its direction. */
async function say(server: ServerProcess, ...bytes: Buffer[]): Promise<void> {
  const client = await open(server);
  client.send(...bytes);
  await client.ended;
  await client.end();
}

async function speak(server: ServerProcess, text: string | Buffer): Promise<Socket> {
  const socket = await connectTcp(server.port);
  socket.on('end', () => socket.end()).on('error', () => {});
  socket.resume().write(text);
  return socket;
}

const withoutClose = "the client's side ended TCP without a close frame";
const killed = ': it was killed, or a proxy in between cut it off';
const closed = (code: number, reason = '') => ({ code, reason });

const cases: readonly Case[] = [
  {
    name: 'a close frame with a code and a reason',
    act: server => say(server, closeFrame(4001, 'bye "all"')),
    by: 'client',
    why: 'the client closed it with 4001: "bye \\"all\\""',
    fields: closed(4001, 'bye "all"'),
  },
  {
    name: 'a close frame with a code that RFC 6455 defines',
    act: server => say(server, closeFrame(1001)),
    by: 'client',
    why: 'the client closed it with 1001 (it is going away: the page was left, or the program ended)',
    fields: closed(1001),
  },
  {
    name: 'a close frame without a code',
    act: server => say(server, closeFrame()),
    by: 'client',
    why: 'the client closed it without saying why',
    fields: closed(1005),
  },
  {
    name: 'the end of TCP without a close frame',
    act: async server => (await open(server)).end(),
    by: 'client',
    why: withoutClose + killed,
    fields: closed(1006, 'the peer ended the TCP connection'),
  },
  {
    name: 'the end of TCP in the middle of a frame',
    async act(server) {
      const client = await open(server);
      client.send(frame(opcode.text, 'half of it').subarray(0, 9));
      await client.end();
    },
    by: 'client',
    why: `${withoutClose}, in the middle of a message${killed}`,
    fields: closed(1006, 'the peer ended the TCP connection'),
  },
  {
    name: 'a reset',
    act: async server => (await open(server)).socket.resetAndDestroy(),
    by: 'network',
    why: 'ECONNRESET: the peer, or something in between, reset the connection',
    fields: { ...closed(1006, 'ECONNRESET'), errno: 'ECONNRESET' },
  },
  {
    name: 'a frame that is not masked',
    act: server => say(server, frame(opcode.text, 'hi', { key: null })),
    by: 'server',
    why: 'we failed it with 1002, for what the client sent: a client must mask its frames',
    fields: closed(1002, 'a client must mask its frames'),
  },
  {
    name: 'a message that is too long',
    options: ['--max-message', '100'],
    act: server => say(server, frame(opcode.text, 'x'.repeat(101))),
    by: 'server',
    why: 'we failed it with 1009, for what the client sent: a message is at most 100 bytes here (--max-message)',
    fields: closed(1009, 'a message is at most 100 bytes here'),
  },
  {
    name: 'a text message that is not UTF-8',
    act: server => say(server, frame(opcode.text, Buffer.from([0xff]))),
    by: 'server',
    why: 'we failed it with 1007, for what the client sent: text that is not valid UTF-8',
    fields: closed(1007, 'text that is not valid UTF-8'),
  },
  {
    name: 'a message that the handler refuses',
    async act(server) {
      const client = await open(server, { path: '/tpacket' });
      client.send(frame(opcode.text, 'no packet'));
      await client.nextFrame();
      client.send(closeFrame(1003));
      await client.end();
    },
    by: 'server',
    why: 'we closed it: packets must be binary messages',
    fields: closed(1003),
  },
  {
    name: 'an unanswered ping',
    options: ['--ping-interval', '50ms', '--pong-timeout', '100ms'],
    act: async server => (await open(server)).ended,
    by: 'server',
    why: 'no answer to a ping within 100ms (--pong-timeout)',
    fields: closed(1006, 'no answer to a ping'),
  },
  {
    name: 'the idle timeout',
    options: ['--idle-timeout', '100ms'],
    async act(server) {
      const client = await open(server);
      await client.nextFrame();
      client.send(closeFrame(1001));
      await client.end();
    },
    by: 'server',
    why: 'no message within 100ms (--idle-timeout)',
    fields: closed(1001),
  },
  {
    name: 'the idle timeout, followed by an unanswered close frame',
    options: ['--idle-timeout', '100ms', '--close-timeout', '100ms'],
    act: async server => (await open(server)).ended,
    by: 'server',
    why: 'no message within 100ms (--idle-timeout)',
    fields: {
      ...closed(1006, 'the closing handshake was not answered'),
      aftermath: 'no answer to our close frame within 100ms (--close-timeout)',
    },
  },
  {
    name: 'a close frame from a client that does not end TCP',
    options: ['--close-timeout', '100ms'],
    async act(server) {
      const client = await open(server);
      client.send(closeFrame(1000));
      await client.ended;
    },
    by: 'client',
    why: 'the client closed it with 1000 (it is done)',
    fields: {
      ...closed(1000),
      aftermath: 'the client did not end the TCP connection within 100ms (--close-timeout)',
    },
  },
  {
    name: 'no magic packet in time',
    options: ['--handshake-timeout', '200ms'],
    async act(server) {
      const client = await open(server, { path: '/tpacket' });
      await client.nextFrame();
      client.send(closeFrame(1008));
      await client.end();
    },
    by: 'server',
    why: 'no magic string and nick within 200ms (--handshake-timeout)',
    fields: closed(1008),
  },
  {
    name: 'SIGTERM',
    options: [],
    async act(server) {
      const client = await open(server);
      server.child.kill('SIGTERM');
      await client.nextFrame();
      client.send(closeFrame(1001));
      await client.end();
    },
    by: 'server',
    why: 'the server is shutting down (SIGTERM)',
    fields: closed(1001),
  },
  {
    name: 'SIGTERM, and a client that does not leave',
    options: ['--drain-timeout', '100ms'],
    async act(server) {
      const client = await open(server);
      server.child.kill('SIGTERM');
      await client.ended;
    },
    by: 'server',
    why: 'the server is shutting down (SIGTERM)',
    fields: {
      ...closed(1006, 'ended by the server'),
      aftermath: 'it was not over within 100ms (--drain-timeout)',
    },
  },
  {
    name: 'an origin that is not allowed',
    options: ['--origin', 'https://example.com'],
    act: server => exchange(server.port, handshakeRequest({ headers: { Origin: 'https://example.net' } })),
    by: 'server',
    why: 'the handshake was refused with 403: pages of this origin may not connect (--origin)',
    fields: { status: 403 },
  },
  {
    name: 'a handshake without a key',
    act: server => exchange(server.port, handshakeRequest({ headers: { 'Sec-WebSocket-Key': 'x' } })),
    by: 'server',
    why: 'the handshake was refused with 400: Sec-WebSocket-Key is not the base64 of 16 bytes',
    fields: { status: 400 },
  },
  {
    name: 'a proxy that forgets the upgrade',
    act: server => exchange(server.port, 'GET /echo HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n'),
    by: 'server',
    why: /^the request was refused with 426: this is a WebSocket endpoint/,
    fields: { status: 426 },
  },
  {
    name: 'half a request',
    options: ['--handshake-timeout', '100ms'],
    act: server => exchange(server.port, handshakeRequest().slice(0, -3)),
    by: 'server',
    why: 'the request was refused with 408: no whole request within 0.1 s (--handshake-timeout)',
    fields: { status: 408 },
  },
  {
    name: 'a head that is too long',
    options: ['--max-header', '200'],
    act: server => exchange(server.port, handshakeRequest({ headers: { Cookie: 'c'.repeat(200) } })),
    by: 'server',
    why: 'the request was refused with 431: the request head is longer than 200 bytes (--max-header)',
    fields: { status: 431 },
  },
  {
    name: 'a connection that sends nothing',
    options: ['--handshake-timeout', '100ms'],
    act: server => exchange(server.port, ''),
    by: 'server',
    why: 'nothing arrived within 100ms (--handshake-timeout)',
  },
  {
    name: 'a client that leaves during its handshake',
    async act(server) {
      const socket = await connectTcp(server.port);
      socket.resume().end(handshakeRequest().slice(0, -3));
    },
    by: 'client',
    why: 'the client left before its request was whole',
  },
  {
    name: 'a client that connects and leaves',
    act: async server => (await connectTcp(server.port)).resume().end(),
    by: 'client',
    why: 'the client left without saying anything',
  },
  {
    name: 'an answered request for a page',
    act: server => exchange(server.port, 'GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n'),
    by: 'server',
    why: 'its request was answered',
  },
  {
    name: '/quit in a terminal',
    act: server => speak(server, 'ada\n/quit\n'),
    by: 'client',
    why: 'the client said /quit',
  },
  {
    name: 'a terminal that hangs up',
    act: async server => (await speak(server, 'ada\n')).end(),
    by: 'client',
    why: 'the client ended the TCP connection',
  },
  {
    name: 'a line that is too long',
    act: server => speak(server, `ada\n${'x'.repeat(70_000)}`),
    by: 'server',
    why: 'we closed it: a line is at most 65536 bytes',
  },
  {
    name: 'a packet that is not the magic one',
    act: server => speak(server, Buffer.concat([Buffer.from('Ej8@'), packetOf(0, 'open sesame')])),
    by: 'server',
    why: 'the server refused a packet: the first packet must be cmd 0 with the blob "magic string :)"',
  },
  {
    name: 'no whole magic packet in time, without WebSocket',
    options: ['--handshake-timeout', '200ms'],
    act: server => speak(server, 'Ej8@'),
    by: 'server',
    why: 'no magic string and nick within 200ms (--handshake-timeout)',
  },
];

/** All of a packet but its signature. */
function packetOf(cmd: number, blob: string): Buffer {
  const bytes = Buffer.alloc(20 + blob.length);
  for (const [i, value] of [1, 24 + blob.length, cmd, 0, 0].entries()) bytes.writeInt32LE(value, 4 * i);
  bytes.write(blob, 20);
  return bytes;
}

for (const sockets of ['auto', 'stream']) {
  const usual = ['--log-level', 'debug', '--sockets', sockets];
  let shared: ServerProcess;
  before(async () => {
    shared = await startServer(...usual);
  });
  after(() => shared.kill());

  for (const { name, options, act, by, why, fields = {} } of cases) {
    test(`the log says why a connection ended: ${name} (--sockets ${sockets})`, async t => {
      const server = options === undefined ? shared : await startServerFor(t, ...usual, ...options);
      // Connections of earlier cases had the same ids.
      const earlier = server.logged().length;
      const logged = () => server.logged().slice(earlier);
      const closed = () => logged().find(({ event }) => event === 'closed');
      await act(server);
      await server.untilLogged(() => closed() !== undefined);
      const ended = closed()!;
      const { code, reason, status, errno, aftermath } = ended;
      if (typeof why === 'string') assert.equal(ended['why'], why);
      else assert.match(String(ended['why']), why);
      assert.equal(ended['by'], by);
      const told = Object.entries({ code, reason, status, errno, aftermath });
      assert.deepEqual(Object.fromEntries(told.filter(([, value]) => value !== undefined)), fields);
      const of = logged().filter(({ id, level }) => id === ended['id'] && level !== 'error');
      const events = of.map(({ event }) => event).filter(event => event !== 'listening');
      assert.equal(events[0], 'connected', 'the log has its first event');
      assert.equal(new Set(events).size, events.length, `each once: ${events}`);
    });
  }
}

test('the log says why a client was refused, and why a slow consumer was closed', async t => {
  const server = await startServerFor(
    t,
    '--log-level',
    'debug',
    '--max-per-address',
    '0',
    '--max-connections',
    '2',
    '--max-buffered',
    '64KB',
  );
  const [slow, quick] = [
    await open(server, { path: '/broadcast' }),
    await open(server, { path: '/broadcast' }),
  ];
  await exchange(server.port, handshakeRequest());
  const refused = await server.untilLogged(({ event }) => event === 'closed');
  assert.equal(
    refused['why'],
    'the handshake was refused with 503: there are 2 connections already; try again later (--max-connections)',
  );
  slow.socket.pause();
  const large = frame(opcode.binary, Buffer.alloc(60_000));
  const isBehind = () => server.logged().some(({ event }) => event === 'slow consumer closed');
  while (!isBehind()) {
    quick.send(large);
    await quick.nextFrame();
  }
  slow.socket.resume();
  slow.send(closeFrame(1013));
  await slow.ended;
  await slow.end();
  const behind = await server.untilLogged(({ event, id }) => event === 'closed' && id !== refused['id']);
  assert.match(
    String(behind['why']),
    /^it read too slowly: \d+ bytes waited for it, and the limit is 64KB \(--max-buffered\)$/,
  );
  assert.equal(behind['by'], 'server');
  quick.destroy();
});
