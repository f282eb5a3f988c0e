/** A full server: silent connections, and one address that opens too many. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { test } from 'node:test';
import { roundTrip } from '../support/echoProbe.ts';
import { connectLines } from '../support/lineClient.ts';
import { ask, openPolled } from '../support/pollClient.ts';
import { connectRaw, type RawClient, tryRaw } from '../support/rawClient.ts';
import { type ServerProcess, startServerFor } from '../support/serverProcess.ts';

/** The PROXY header with which a proxy reports this address. */
const proxied = (address: string) => Buffer.from(`PROXY TCP4 ${address} 192.0.2.1 56324 443\r\n`);

const patience = { timeout: 60_000 };
const limit = 'too many connections from one address';

async function connectFrom(address: string, port: number): Promise<Socket> {
  const socket = connect({ host: '127.0.0.1', port, localAddress: address });
  socket.on('error', () => {});
  await once(socket, 'connect');
  return socket;
}

/** Connects a client for which a proxy reports this address. */
function statusOf(port: number, address: string): Promise<RawClient> {
  return tryRaw(port, { path: '/echo', headers: { 'X-Forwarded-For': address } });
}

function told(server: ServerProcess, event: string): Record<string, unknown>[] {
  return server.logged().filter(entry => entry['event'] === event);
}

test('silent connections of one address do not keep another address out', patience, async t => {
  const server = await startServerFor(t, '--max-connections', '100', '--handshake-timeout', '0');
  const silent = await Promise.all(Array.from({ length: 164 }, () => connectFrom('127.0.0.1', server.port)));
  for (let i = 0; i < 40; i++) {
    const client = await connectFrom('127.0.0.2', server.port);
    client.write('GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n');
    assert.match(String((await once(client, 'data'))[0]), /^HTTP\/1\.1 200 /);
    client.destroy();
  }
  for (const socket of silent) socket.destroy();
});

test(
  'silent connections of many addresses neither keep new clients out nor replace connected ones',
  patience,
  async t => {
    const server = await startServerFor(t, '--max-connections', '100', '--handshake-timeout', '0');
    const clients = await Promise.all(
      Array.from({ length: 20 }, () => connectRaw(server.port, { path: '/echo' })),
    );
    const silent = await Promise.all(
      Array.from({ length: 300 }, (_, at) => connectFrom(`127.0.1.${at % 10}`, server.port)),
    );
    for (let i = 0; i < 20; i++) {
      const client = await connectRaw(server.port, { path: '/echo' });
      await roundTrip(client);
      client.destroy();
    }
    for (const client of clients) await roundTrip(client);
    assert.equal(told(server, 'out of places').length, 1);
    for (const socket of [...silent, ...clients]) socket.destroy();
  },
);

test(
  'one address gets half of the connections; the refusal names the option, and the log a remedy',
  patience,
  async t => {
    const server = await startServerFor(t, '--max-connections', '20');
    const clients: RawClient[] = [];
    for (let i = 0; i < 10; i++) clients.push(await connectRaw(server.port, { path: '/echo' }));
    const late = await tryRaw(server.port, { path: '/echo' });
    assert.equal(late.status, 429);
    late.destroy();
    assert.deepEqual((await ask(server.port, 'POST', '/poll/echo')).status, 429);
    const terminal = await connectLines(server.port);
    terminal.send('ada\n');
    assert.match(
      (await terminal.line()) ?? '',
      /^\* your address \(127\.0\.0\.1\) has 10 connections already/,
    );
    const [entry, ...more] = told(server, limit);
    assert.deepEqual(more, [], 'the log reports it once');
    assert.equal(entry?.['address'], '127.0.0.1');
    assert.match(String(entry?.['remedy']), /--trust-proxy.*--max-per-address/);
    await clients.pop()!.end();
    let next = await tryRaw(server.port, { path: '/echo' });
    while (next.status === 429) next = await tryRaw(server.port, { path: '/echo' });
    for (const client of clients) await roundTrip(client);
    for (const client of [...clients, next]) client.destroy();
  },
);

test(
  'polling sessions count towards the limit until they end, although they keep no socket open',
  patience,
  async t => {
    const { port } = await startServerFor(t, '--max-per-address', '5');
    const sessions: string[] = [];
    for (let i = 0; i < 5; i++) sessions.push(await openPolled(port, 'broadcast'));
    assert.equal((await ask(port, 'POST', '/poll/echo')).status, 429);
    const late = await tryRaw(port);
    assert.equal(late.status, 429);
    late.destroy();
    assert.equal((await ask(port, 'DELETE', sessions[0]!)).status, 204);
    await openPolled(port, 'echo');
  },
);

test(
  'behind a trusted proxy each client address has its own limit, however the proxy reports it',
  patience,
  async t => {
    const { port } = await startServerFor(t, '--trust-proxy', '127.0.0.1', '--max-per-address', '2');
    const clients: RawClient[] = [];
    for (const address of ['203.0.113.7', '203.0.113.8', '2001:db8::1']) {
      for (let i = 0; i < 2; i++) clients.push(await statusOf(port, address));
    }
    for (let i = 0; i < 2; i++)
      clients.push(await tryRaw(port, { path: '/echo', before: proxied('203.0.113.9') }));
    assert.deepEqual(
      clients.map(({ status }) => status),
      clients.map(() => 101),
    );
    const late = [
      await statusOf(port, '203.0.113.7'),
      await statusOf(port, '::ffff:203.0.113.8'),
      await statusOf(port, '2001:db8::ffff'),
      await statusOf(port, '203.0.113.9'),
      await tryRaw(port, { path: '/echo', before: proxied('203.0.113.9') }),
    ];
    assert.deepEqual(
      late.map(({ status }) => status),
      late.map(() => 429),
    );
    // The proxy itself has no limit, for example for its health checks.
    const checks = await Promise.all(Array.from({ length: 20 }, () => connectFrom('127.0.0.1', port)));
    clients.push(await statusOf(port, '198.51.100.1'));
    assert.equal(clients.at(-1)!.status, 101);
    for (const client of [...clients, ...late, ...checks]) client.destroy();
  },
);
