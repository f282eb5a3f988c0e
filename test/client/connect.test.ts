/** `connect`: the client as a library. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, type Socket } from 'node:net';
import { type TestContext, test } from 'node:test';
import { connect, connectSocket } from '../../src/client/index.ts';
import type { ConnectOptions } from '../../src/client/interface.ts';
import type { Connection } from '../../src/handlers/modules/interface.ts';
import { listen } from '../../src/index.ts';
import { maxUntakenMessages } from '../../src/protocol/testLimits.ts';
import { acceptValueFor } from '../../src/protocol/websocket/handshake.ts';

async function openEcho(t: TestContext): Promise<string> {
  const server = await listen({ timeouts: 'test' });
  t.after(() => server.close());
  return `${server.url}/echo`;
}

/** A server that accepts the handshake, and leaves the rest to the test. */
async function openRaw(t: TestContext): Promise<{ url: string; accepted: Promise<Socket> }> {
  const server = createServer();
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const accepted = (async () => {
    const [socket] = (await once(server, 'connection')) as [Socket];
    t.after(() => socket.destroy());
    const [head] = (await once(socket, 'data')) as [Buffer];
    const [, key = ''] = /^Sec-WebSocket-Key: (.*)\r$/im.exec(head.toString()) ?? [];
    const fields = `Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ${acceptValueFor(key)}`;
    socket.write(`HTTP/1.1 101 Switching Protocols\r\n${fields}\r\n\r\n`);
    return socket;
  })();
  t.after(() => server.close());
  const { port } = server.address() as { port: number };
  return { url: `ws://127.0.0.1:${port}`, accepted };
}

test('a client sends texts and bytes, and iterates over the messages until it is closed', async t => {
  const client = await connect(await openEcho(t));
  assert.ok(client.isOpen);
  const sent = ['hello', Buffer.of(1, 2, 3), '', 'ü'.repeat(50_000)];
  for (const message of sent) await client.send(message);
  const received = [];
  for await (const message of client) {
    received.push(message);
    if (received.length === sent.length) void client.close(4001, 'enough');
  }
  assert.deepEqual(received, sent);
  assert.deepEqual(await client.closed, { code: 4001, reason: '' });
  assert.equal(client.isOpen, false);
  assert.equal(await client.next(), undefined);
  await client.send('too late');
});

test('a ping resolves when its own pong arrives, and throws if its payload is too long', async t => {
  const client = await connect(await openEcho(t));
  const times = await Promise.all([client.ping(), client.ping('two'), client.ping(Buffer.of(3))]);
  assert.ok(times.every(time => time >= 0));
  assert.throws(() => client.ping('x'.repeat(126)), /at most 125 bytes/);
  await client.close();
  await assert.rejects(client.ping(), { message: 'the connection is not open' });
});

test('a ping without a pong fails when the connection ends', async t => {
  const { url, accepted } = await openRaw(t);
  const client = await connect(url);
  const ping = client.ping('anyone?');
  (await accepted).destroy();
  await assert.rejects(ping, { message: 'the connection ended before the pong' });
  assert.deepEqual(await client.closed, { code: 1006, reason: '' });
});

test('raw bytes are sent unchanged, so a test can break any rule', async t => {
  const client = await connect(await openEcho(t));
  client.sendRaw(Buffer.of(0x81, 0x01, 0x78));
  const { code, reason } = await client.closed;
  assert.deepEqual([code, reason], [1002, 'a client must mask its frames']);
});

test('a socket after its handshake carries raw bytes in both directions', async t => {
  const server = await listen({
    handlers: { greeter: { opened: (one: Connection) => one.send('hi'), message() {} } },
  });
  t.after(() => server.close());
  const socket = await connectSocket(`${server.url}/greeter`, { compress: 'off' });
  socket.write(Buffer.of(0x89, 0x81, 0, 0, 0, 0, 0x78));
  const received: Buffer[] = [];
  for await (const bytes of socket) {
    received.push(bytes as Buffer);
    if (Buffer.concat(received).length >= 7) break;
  }
  assert.deepEqual(Buffer.concat(received), Buffer.of(0x81, 2, 0x68, 0x69, 0x8a, 1, 0x78));
});

test('the options are those of the program, and a wrong one is an error', async t => {
  const url = await openEcho(t);
  const options = {
    subprotocol: 'echo',
    header: ['X-Test: 1'],
    origin: 'http://localhost',
    compress: 'off',
  } as const;
  const client = await connect(url, options);
  assert.equal(client.subprotocol, 'echo');
  await client.close();
  const refusal = (wrong: object) =>
    connect(url, wrong as ConnectOptions).then(
      () => 'no error',
      (error: Error) => error.message,
    );
  assert.equal(
    await refusal({ subprotocols: 'echo' }),
    'unknown option "subprotocols"; did you mean subprotocol?',
  );
  assert.match(
    await refusal({ reconnect: true }),
    /^unknown option "reconnect"; see pollywog-client --help$/,
  );
  assert.match(await refusal({ timeout: 'soon' }), /^timeout must be a time such as/);
  await assert.rejects(connect('http://localhost'), /the URL must be a URL such as ws:/);
});

test('a refused handshake, and a refused connection, reject with a sentence', async t => {
  const server = await listen({ origin: 'https://example.com' });
  t.after(() => server.close());
  await assert.rejects(connect(server.url, { origin: 'http://x' }), /^Error: refused: 403 Forbidden: /);
  const { url: gone, accepted } = await openRaw(t);
  void accepted.then(socket => socket.destroy());
  await connect(gone).then(client => client.destroy());
  await assert.rejects(connect('unix:/no/such/socket'), /^Error: nothing listens at \/no\/such\/socket/);
});

test('a client stops reading when too many messages wait, and resumes when they are taken', async t => {
  const { url, accepted } = await openRaw(t);
  const client = await connect(url);
  const socket = await accepted;
  const payload = Buffer.alloc(60_000, 'x');
  const frame = Buffer.concat([Buffer.of(0x82, 126, payload.length >>> 8, payload.length & 0xff), payload]);
  const count = 400;
  for (let sent = 0; sent < count; sent++) socket.write(frame);
  // Waits until the system's buffers are full.
  let before = -1;
  while (socket.writableLength !== before) {
    before = socket.writableLength;
    for (let turn = 0; turn < 200; turn++) await new Promise(resolve => setImmediate(resolve));
  }
  assert.ok(socket.writableLength > 0, 'the client has read everything');
  assert.ok(count * payload.length > 4 * maxUntakenMessages);
  for (let taken = 0; taken < count; taken++) assert.equal((await client.next())?.length, payload.length);
  client.destroy();
});

test('several sends that wait for the network all resolve', async t => {
  const client = await connect(await openEcho(t), { compress: 'off', maxMessage: '64MB' });
  const large = Buffer.alloc(8 * 1024 * 1024);
  await Promise.all([client.send(large), client.send(large)]);
  assert.equal((await client.next())?.length, large.length);
  assert.equal((await client.next())?.length, large.length);
  await client[Symbol.asyncDispose]();
});
