/** Rates and counts that an operator may limit: messages, new connections, subscriptions, channels, log lines. */
import assert from 'node:assert/strict';
import { createHmac } from 'node:crypto';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { logForAddress } from '../../src/core/addressLog.ts';
import { logRefusedCommand } from '../../src/handlers/authorize.ts';
import { listen } from '../../src/index.ts';
import { watchLog } from '../../src/log/log.ts';
import { maxTimerDelay } from '../../src/options/values.ts';
import { ProtocolError } from '../../src/protocol/codes.ts';
import { noAddress } from '../../src/protocol/ipAddress.ts';
import { addressLogLines } from '../../src/protocol/limits.ts';
import { PacketCommand } from '../../src/protocol/tpacket.ts';
import { countMessages } from '../../src/protocol/websocket/frame.ts';
import { openSocket } from '../support/channelClients.ts';
import { magicPacket, packetBytes } from '../support/chatClient.ts';
import { newFakeServer, openFakeConnection } from '../support/fakeSocket.ts';
import { connectTerminal } from '../support/lineClient.ts';
import { connectRaw, connectTcp, exchange, tryRaw } from '../support/rawClient.ts';
import { frame, opcode } from '../support/rawFrame.ts';
import { type Hooks, startServerFor } from '../support/serverProcess.ts';
import { temporaryFolder } from '../support/temporaryFolder.ts';

const texts = (count: number) => Array.from({ length: count }, (_, at) => frame(opcode.text, `${at}`));

describe('--message-rate', () => {
  test('holds back the messages above it, answers pings meanwhile, and loses nothing', async t => {
    const server = await startServerFor(t, '--message-rate', '20/s:5');
    const client = await connectRaw(server.port, { path: '/echo' });
    client.send(...texts(9), frame(opcode.ping, 'alive'));
    const received: string[] = [];
    while (received.length < 10) {
      const next = await client.nextFrame();
      received.push(next?.opcode === opcode.pong ? 'pong' : String(next?.payload));
    }
    const messages = received.filter(one => one !== 'pong');
    assert.deepEqual(messages, ['0', '1', '2', '3', '4', '5', '6', '7', '8']);
    client.destroy();
  });

  test('lets a burst through, and then no message until there is a token', async t => {
    const server = await startServerFor(t, '--message-rate', '1/h:5');
    const client = await connectRaw(server.port, { path: '/echo' });
    client.send(...texts(5));
    for (let i = 0; i < 5; i++) assert.equal(String((await client.nextFrame())?.payload), String(i));
    client.send(frame(opcode.ping, 'alive'), frame(opcode.text, 'held back'));
    assert.equal((await client.nextFrame())?.opcode, opcode.pong);
    // Another connection has a bucket of its own.
    const other = await connectRaw(server.port, { path: '/echo' });
    other.send(frame(opcode.text, 'mine'));
    assert.equal(String((await other.nextFrame())?.payload), 'mine');
    assert.deepEqual(client.pending, []);
    client.destroy();
    other.destroy();
  });

  test('closes a connection with 1008 if it has sent more than another burst meanwhile [7.4.1-f]', async t => {
    const server = await startServerFor(t, '--message-rate', '10/s:3', '--log-level', 'debug');
    const client = await connectRaw(server.port, { path: '/echo' });
    client.send(...texts(12));
    let next = await client.nextFrame();
    while (next?.opcode === opcode.text) next = await client.nextFrame();
    assert.equal(next?.opcode, opcode.close);
    assert.equal(next?.payload.readUInt16BE(), 1008);
    client.destroy();
    const { why } = await server.untilLogged(({ event }) => event === 'closed');
    assert.match(String(why), /faster than 10\/s:3, .* \(--message-rate\)$/);
  });

  test('counts a message in many fragments once', async t => {
    const server = await startServerFor(t, '--message-rate', '10/s:3');
    const client = await connectRaw(server.port, { path: '/echo' });
    const fragments = Array.from({ length: 20 }, () => frame(opcode.continuation, 'b', { fin: false }));
    client.send(
      ...texts(3),
      frame(opcode.text, 'a', { fin: false }),
      ...fragments,
      frame(opcode.continuation),
    );
    for (let i = 0; i < 3; i++) assert.equal(String((await client.nextFrame())?.payload), String(i));
    const next = await client.nextFrame();
    assert.deepEqual([next?.opcode, String(next?.payload)], [opcode.text, `a${'b'.repeat(20)}`]);
    client.destroy();
  });

  /** A server for users, and a function that opens a WebSocket of one. */
  async function startForUsers(t: Hooks, rate: string) {
    const secret = 'a-secret-of-at-least-32-bytes-for-HS256';
    const file = join(temporaryFolder(), 'key');
    writeFileSync(file, secret, { mode: 0o600 });
    const server = await startServerFor(t, '--auth-key', file, '--message-rate', rate);
    const part = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url');
    const exp = Math.floor(Date.now() / 1000) + 3600;
    const open = (user: string) => {
      const signed = `${part({ alg: 'HS256', typ: 'JWT' })}.${part({ sub: user, exp })}`;
      const sign = createHmac('sha256', secret).update(signed).digest('base64url');
      return connectRaw(server.port, { path: `/echo?token=${signed}.${sign}` });
    };
    return { server, open };
  }

  test('counts the messages of all connections of a user together', async t => {
    const { open } = await startForUsers(t, '1/h:3');
    const [first, second, other] = [await open('17'), await open('17'), await open('18')];
    first.send(...texts(2));
    for (let i = 0; i < 2; i++) assert.equal((await first.nextFrame())?.opcode, opcode.text);
    second.send(...texts(2), frame(opcode.ping, 'alive'));
    assert.equal((await second.nextFrame())?.opcode, opcode.text);
    other.send(...texts(1));
    assert.equal((await other.nextFrame())?.opcode, opcode.text);
    second.send(frame(opcode.ping, 'alive'));
    assert.deepEqual(
      second.pending.filter(one => one.opcode === opcode.text),
      [],
    );
    for (const client of [first, second, other]) client.destroy();
  });

  test('pauses a connection whose user owes more hours than a timer can wait', async t => {
    const { server, open } = await startForUsers(t, '1/h');
    // The first message of each connection is processed.
    const spend = async () => {
      const client = await open('17');
      client.send(...texts(1));
      assert.equal((await client.nextFrame())?.opcode, opcode.text);
      client.destroy();
    };
    const hours = Math.ceil(maxTimerDelay / 3_600_000);
    for (let spent = 0; spent <= hours; spent += 20) await Promise.all(Array.from({ length: 20 }, spend));
    const [client, other] = [await open('17'), await open('18')];
    client.send(...texts(2));
    assert.equal((await client.nextFrame())?.opcode, opcode.text);
    for (let i = 0; i < 20; i++) {
      other.send(frame(opcode.ping, 'alive'));
      assert.equal((await other.nextFrame())?.opcode, opcode.pong);
    }
    assert.deepEqual(client.pending, []);
    assert.doesNotMatch(server.stderr(), /TimeoutOverflowWarning/);
    for (const one of [client, other]) one.destroy();
  });

  test('a connection that ends while it is paused is not kept in memory by its timer', async t => {
    const set = t.mock.method(globalThis, 'setTimeout');
    const cleared = t.mock.method(globalThis, 'clearTimeout');
    const server = await listen({ messageRate: '1/h' });
    t.after(() => server.close());
    const client = await connectRaw(server.port, { path: '/echo' });
    client.send(...texts(1));
    await client.nextFrame();
    const pause = set.mock.calls.find(({ arguments: [, delay] }) => Number(delay) > 3_500_000)?.result;
    assert.ok(pause !== undefined);
    client.destroy();
    await server.waitFor(({ event }) => event === 'closed');
    assert.ok(cleared.mock.calls.some(({ arguments: [timer] }) => timer === pause));
  });

  test('also limits terminals, and keeps the order of their lines', async t => {
    const server = await startServerFor(t, '--message-rate', '20/s:2');
    const newt = await connectTerminal(server.port, 'newt');
    const ada = await connectTerminal(server.port, 'ada');
    ada.send('one\ntwo\nthree\nfour\n');
    const said: string[] = [];
    while (said.length < 4) {
      const line = (await newt.line()) ?? assert.fail('it ended');
      const [found] = /\b(?:one|two|three|four)$/.exec(line) ?? [];
      if (found !== undefined) said.push(found);
    }
    assert.deepEqual(said, ['one', 'two', 'three', 'four']);
    ada.socket.destroy();
    newt.socket.destroy();
  });
});

describe('--connect-rate', () => {
  /** @returns whether the server answers a connection from this address */
  async function isServed(port: number, localAddress: string): Promise<boolean> {
    const socket = connect({ host: '127.0.0.1', port, localAddress });
    socket.on('error', () => {});
    socket.write('GET /healthz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n');
    let text = '';
    socket.setEncoding('utf8').on('data', more => {
      text += more;
    });
    await new Promise(resolve => socket.on('close', resolve));
    return text.startsWith('HTTP/1.1 200');
  }

  test('refuses the connections of an address above it, and not those of others', async t => {
    const server = await startServerFor(t, '--connect-rate', '1/h:3');
    for (let i = 0; i < 3; i++) assert.equal(await isServed(server.port, '127.0.0.2'), true);
    assert.equal(await isServed(server.port, '127.0.0.2'), false);
    assert.equal(await isServed(server.port, '127.0.0.3'), true);
    await server.untilLogged(({ event }) => event === 'new connections too fast');
  });

  test('counts the handshakes of each address behind a trusted proxy, and not the requests of the proxy', async t => {
    const server = await startServerFor(t, '--connect-rate', '1/h:2', '--trust-proxy', '127.0.0.1');
    const open = async (address: string) =>
      (await tryRaw(server.port, { path: '/echo', headers: { 'X-Forwarded-For': address } })).status;
    for (let i = 0; i < 5; i++) assert.equal(await isServed(server.port, '127.0.0.1'), true);
    assert.deepEqual([await open('203.0.113.7'), await open('203.0.113.7')], [101, 101]);
    assert.equal(await open('203.0.113.7'), 429);
    assert.equal(await open('203.0.113.8'), 101);
  });

  test('counts the terminals and packet clients of each address that a PROXY header names', async t => {
    const server = await startServerFor(t, '--connect-rate', '1/h:2', '--trust-proxy', '127.0.0.1');
    const firstLine = async (address: string, first: string | Uint8Array): Promise<string> => {
      const socket = await connectTcp(server.port);
      socket.write(
        Buffer.concat([Buffer.from(`PROXY TCP4 ${address} 192.0.2.1 5000 80\r\n`), Buffer.from(first)]),
      );
      const [bytes] = (await once(socket, 'data')) as [Buffer];
      socket.destroy();
      return bytes.toString('latin1');
    };
    assert.match(await firstLine('203.0.113.7', 'ada\n'), /^\* this is Pollywog/);
    const packets = Buffer.concat([magicPacket, packetBytes(PacketCommand.SetUserNick, 'bob', { uid: 1 })]);
    assert.match(await firstLine('203.0.113.7', packets), /^Ej8@/);
    assert.match(await firstLine('203.0.113.7', 'eve\n'), /^\* your address .* opens connections too fast/);
    assert.match(await firstLine('203.0.113.7', packets), /opens connections too fast/);
    assert.match(await firstLine('203.0.113.8', 'eve\n'), /^\* this is Pollywog/);
  });
});

describe('channels', () => {
  test('--max-subscriptions limits those of one connection', async t => {
    const server = await startServerFor(t, '--max-subscriptions', '2');
    const client = await openSocket(server.port, '/channels?c=a&c=b', ['channels.json']);
    await client.nextJson();
    client.send({ subscribe: 'c' });
    assert.match(JSON.stringify(await client.nextJson()), /a subscriber can have 2 channels at most/);
    client.socket.terminate();
    assert.equal((await fetch(`http://127.0.0.1:${server.port}/channels?c=a&c=b&c=c`)).status, 400);
  });

  test('--max-channels refuses a new channel, but no existing one', async t => {
    const server = await startServerFor(t, '--max-channels', '2');
    const client = await openSocket(server.port, '/channels?c=a&c=b', ['channels.json']);
    const refused = await fetch(`http://127.0.0.1:${server.port}/channels/c`);
    assert.equal(refused.status, 503);
    assert.match(await refused.text(), /--max-channels/);
    const other = await openSocket(server.port, '/channels?c=a&c=b', ['channels.json']);
    await other.nextJson();
    other.send({ subscribe: 'c' });
    assert.match(JSON.stringify(await other.nextJson()), /--max-channels/);
    client.socket.terminate();
    other.socket.terminate();
  });

  test('--max-channels counts rooms, which are channels', async t => {
    const server = await startServerFor(t, '--max-channels', '1');
    const client = await connectTerminal(server.port, 'ada');
    client.send('/join pond\n');
    assert.match((await client.line())!, /^! there are 1 channels already.*--max-channels/);
    client.send('/who\n');
    assert.equal(await client.line(), '* 1 in lobby: ada');
    client.socket.destroy();
  });
});

test('an address that sends 1,500 bad requests causes hardly more than 500 lines in the log', async t => {
  const token = join(temporaryFolder(), 'token');
  writeFileSync(token, 'correct-horse-battery', { mode: 0o600 });
  const server = await startServerFor(t, '--api-token', token);
  const request = 'GET /api HTTP/1.1\r\nHost: a\r\n\r\n';
  const last = 'GET /api HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n';
  const count = 3 * addressLogLines.burst;
  await exchange(server.port, request.repeat(count) + last);
  const refused = server.logged().filter(({ event }) => event === 'refused').length;
  assert.ok(refused >= addressLogLines.burst && refused < 2 * addressLogLines.burst, `${refused} lines`);
});

/** How many lines `act` causes in the log. */
function linesOf(act: () => void): number {
  let lines = 0;
  const endWatch = watchLog(() => ++lines > 0, 'info');
  act();
  endWatch();
  return lines;
}

test('refused commands count as lines of the address, however many connections it uses for them', () => {
  const server = newFakeServer();
  const lines = linesOf(() => {
    for (let i = 0; i < 2 * addressLogLines.burst; i++) {
      const { connection } = openFakeConnection(server, undefined);
      logRefusedCommand(connection, new ProtocolError(403, 'you may not subscribe'), 'orders');
    }
  });
  assert.equal(lines, addressLogLines.burst);
});

test('all clients of Unix sockets share the lines of one address, which do not limit the control socket', () => {
  const server = newFakeServer();
  const logMany = (isControl: boolean) =>
    linesOf(() => {
      const { connection } = openFakeConnection(server, undefined);
      const peer = Object.assign(connection, { address: noAddress, isControl });
      for (let i = 0; i < 2 * addressLogLines.burst; i++) logForAddress(peer, 'info', 'refused', {});
    });
  assert.deepEqual([logMany(false), logMany(true)], [addressLogLines.burst, 2 * addressLogLines.burst]);
});

test('the count of waiting messages includes those of every length, and neither control frames nor fragments', () => {
  const bytes = Buffer.concat([
    frame(opcode.text, 'a'),
    frame(opcode.ping, 'b'),
    frame(opcode.binary, Buffer.alloc(300)),
    frame(opcode.text, '', { fin: false }),
    frame(opcode.continuation, 'c', { fin: false }),
    frame(opcode.continuation, 'd'),
    frame(opcode.text, 'incomplete').subarray(0, 9),
  ]);
  const count = (input: Buffer, end = input.length) => countMessages(input, 0, end, 100, 100);
  assert.equal(count(bytes), 3);
  assert.equal(count(bytes, bytes.length - 9), 3);
  assert.equal(count(bytes, 5), 0);
  const long = Buffer.concat([frame(opcode.text, Buffer.alloc(100_000)), bytes]);
  assert.equal(count(long), 4);
  // Frames without a message count for the second limit.
  assert.equal(countMessages(bytes, 0, bytes.length, 2, 100), 2);
  assert.equal(countMessages(bytes, 0, bytes.length, 100, 2), 1);
});
