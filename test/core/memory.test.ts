/** The memory budget of all connections together: what counts towards it, and which connections are closed over it. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { join } from 'node:path';
import { test } from 'node:test';
import { enforceMemory } from '../../src/core/eviction.ts';
import { releaseHeld, updateHeld, usedMemory } from '../../src/core/memory.ts';
import { enterPlaces } from '../../src/core/places.ts';
import { scheduleTurn } from '../../src/core/poll.ts';
import { readSocketData } from '../../src/core/readSocketData.ts';
import { openAccessLog } from '../../src/diagnostics/accessLog.ts';
import { findClosed, recordClosed } from '../../src/diagnostics/closedConnections.ts';
import { watchLog } from '../../src/log/log.ts';
import { addressLogLines, connectionMemory, subscriptionMemory } from '../../src/protocol/limits.ts';
import {
  appendRange,
  clearQueue,
  newLastingChunk,
  putInFlight,
  queuedRanges,
  releaseInFlight,
} from '../../src/records/arena.ts';
import type { Connection, Server } from '../../src/records/records.ts';
import { openSocket } from '../support/channelClients.ts';
import { startChannels } from '../support/channelServer.ts';
import { newFakeServer, openFakeConnection, queuedBytes } from '../support/fakeSocket.ts';
import { ask, requestBytes } from '../support/pollClient.ts';
import { connectTcp } from '../support/rawClient.ts';
import { frame, opcode } from '../support/rawFrame.ts';
import { temporaryFolder } from '../support/temporaryFolder.ts';

const nextTurn = () => new Promise(setImmediate);

const KiB = 1024;
const MiB = 1024 * KiB;

/** A WebSocket connection that has sent `size` bytes of a longer message. */
function holding(server: Server, size: number): Connection {
  const { connection } = openFakeConnection(server, undefined);
  const message = frame(opcode.binary, Buffer.alloc(2 * size));
  readSocketData(connection, message, 0, message.length - size);
  updateHeld(connection);
  return connection;
}

function closeCode(connection: Connection): number {
  return queuedBytes(connection).readUInt16BE(2);
}

test('an unfinished message counts towards the budget until it is finished', () => {
  const server = newFakeServer();
  const connection = holding(server, 300 * KiB);
  assert.ok(connection.held >= 300 * KiB && connection.held < 700 * KiB, `${connection.held}`);
  assert.equal(server.memory.connections, connection.held);
  assert.ok(usedMemory(server) >= connection.held);

  connection.endpoint!.incoming = undefined;
  updateHeld(connection);
  assert.equal(connection.held, connectionMemory);
  releaseHeld(connection);
  assert.equal(server.memory.connections, 0);
});

test('a frame in many queues counts once, until the last queue and the last write have released it', () => {
  const server = newFakeServer();
  const { arena } = server;
  const queues = Array.from({ length: 100 }, () => openFakeConnection(server, undefined).connection.queue);
  const chunk = newLastingChunk(arena, MiB);
  for (const queue of queues) {
    appendRange(queue, chunk, 0, 1000);
    appendRange(queue, chunk, 5000, MiB);
  }
  assert.equal(arena.held, MiB);
  for (const queue of queues.slice(1)) clearQueue(queue);
  const [last] = queues;
  const ranges = queuedRanges(last!);
  clearQueue(last!);
  putInFlight(last!, ranges);
  clearQueue(last!);
  assert.equal(arena.held, MiB, 'a write is still in flight');
  releaseInFlight(last!);
  assert.equal(arena.held, 0);
});

test('over the limit, the largest holders are closed with 1013, and connections within their share stay open [7.1.7-4]', () => {
  const server = newFakeServer('--max-memory', '5MB');
  const small = Array.from({ length: 10 }, () => holding(server, 20 * KiB));
  const large = Array.from({ length: 3 }, () => holding(server, 700 * KiB));
  const largest = holding(server, 1500 * KiB);
  const before = usedMemory(server);
  assert.ok(before > 5 * MiB, `${before}`);

  enforceMemory(server);
  assert.equal(closeCode(largest), 1013);
  assert.equal(largest.phase, 'ending');
  for (const connection of [...small, ...large]) assert.equal(connection.phase, 'open');
  assert.ok(usedMemory(server) <= 5 * MiB);
  assert.equal(server.counters.evicted, 1);

  recordClosed(largest);
  const [record] = findClosed(server.closedConnections, largest.id);
  assert.match(record!.why, /it held [\d.]+MB .*limit of 5MB \(--max-memory\)/);
  assert.deepEqual(record!.sent, { code: 1013, reason: 'the server is short of memory' });
});

test('of connections of about the same size, those that have not finished their handshake are closed first', () => {
  const server = newFakeServer('--max-memory', '5MB');
  const clients = Array.from({ length: 3 }, () => holding(server, 700 * KiB));
  const halfOpen = Array.from({ length: 4 }, () => holding(server, 700 * KiB));
  for (const connection of halfOpen) enterPlaces(connection);
  enforceMemory(server);
  for (const connection of clients) assert.equal(connection.phase, 'open');
  assert.ok(halfOpen.some(({ phase }) => phase !== 'open'));
  assert.ok(usedMemory(server) <= 5 * MiB);
});

test('eviction logs only as many lines for the connections of one address as that address may cause', () => {
  const server = newFakeServer('--max-memory', '1MB');
  for (let i = 0; i < 2 * addressLogLines.burst; i++)
    Object.assign(holding(server, 4 * KiB), { address: '192.0.2.1:80' });
  const lines: string[] = [];
  const endWatch = watchLog(line => lines.push(line) > 0, 'warn');
  enforceMemory(server);
  endWatch();
  assert.ok(server.counters.evicted > addressLogLines.burst, `${server.counters.evicted}`);
  assert.equal(lines.length, addressLogLines.burst);
});

test('within the limit no connection is closed, however much it holds', () => {
  const server = newFakeServer('--max-memory', '64MB');
  const connections = Array.from({ length: 20 }, () => holding(server, 500 * KiB));
  enforceMemory(server);
  assert.ok(connections.every(({ phase }) => phase === 'open'));
});

test('--max-memory 0 sets no limit', () => {
  const server = newFakeServer('--max-memory', '0');
  const connection = holding(server, 6 * MiB);
  enforceMemory(server);
  assert.equal(connection.phase, 'open');
});

test('over the limit, a connection with a long write in flight is dropped, which frees the write’s bytes', () => {
  const server = newFakeServer('--max-memory', '1MB');
  const { connection } = openFakeConnection(server, undefined);
  const { arena } = server;
  const chunk = newLastingChunk(arena, 2 * MiB);
  putInFlight(connection.queue, [{ chunk, start: 0, end: 2 * MiB }]);
  enforceMemory(server);
  assert.equal(connection.phase, 'gone');
  releaseInFlight(connection.queue);
  assert.equal(arena.held, 0);
});

test('control connections are never closed for memory', () => {
  const server = newFakeServer('--max-memory', '1MB');
  const { connection } = openFakeConnection(server, undefined);
  Object.assign(connection, { isControl: true });
  const message = frame(opcode.binary, Buffer.alloc(4 * MiB));
  readSocketData(connection, message, 0, message.length - 1);
  updateHeld(connection);
  enforceMemory(server);
  assert.equal(connection.phase, 'open');
});

test('histories over a quarter of the limit are shortened before any connection is closed', () => {
  const server = newFakeServer('--max-memory', '4MB');
  const asked: number[] = [];
  server.memory.histories = 5 * MiB;
  server.memory.trimHistories = most => {
    asked.push(most);
    server.memory.histories = most;
  };
  const connection = holding(server, 20 * KiB);
  enforceMemory(server);
  assert.equal(asked.length, 1);
  assert.ok(asked[0]! <= MiB);
  assert.equal(connection.phase, 'open');
});

test('the loop counts the same memory as usedMemory: each kind alone makes it close the largest holder', {
  timeout: 30_000,
}, async t => {
  const path = join(temporaryFolder(), 'access.log');
  const { server, port } = await startChannels(t, '--max-memory', '32MB', '--access-log', path);
  openAccessLog(server);
  const { memory, arena } = server;
  const holders: [Record<string, unknown>, string][] = [
    ...['connections', 'histories', 'app', 'programs'].map(
      kind => [memory as never, kind] as [Record<string, unknown>, string],
    ),
    [arena as never, 'held'],
    [server.accessLog as never, 'length'],
  ];
  for (const [holder, kind] of holders) {
    const { socket } = await openSocket(port, '/echo');
    const { evicted } = server.counters;
    const before = usedMemory(server);
    const bytes = holder[kind] as number;
    holder[kind] = bytes + 64 * MiB;
    assert.equal(usedMemory(server) - before, 64 * MiB, kind);
    scheduleTurn(server);
    await once(socket, 'close');
    assert.equal(server.counters.evicted, evicted + 1, kind);
    holder[kind] = bytes;
  }
});

test('the head of a request counts while the request waits for messages', { timeout: 30_000 }, async t => {
  const { server, port } = await startChannels(t);
  for (const accept of ['*/*', 'text/event-stream']) {
    const before = usedMemory(server);
    const socket = await connectTcp(port);
    const headers = { Accept: accept, Cookie: 'c'.repeat(12 * KiB) };
    socket.write(requestBytes('GET', '/channels/pond', { headers }));
    while (usedMemory(server) - before < 12 * KiB) await nextTurn();
    socket.destroy();
    while (usedMemory(server) > before) await nextTurn();
  }
});

test('the memory of a handler counts as soon as a polling session is open', {
  timeout: 30_000,
}, async t => {
  const { server, port } = await startChannels(t);
  const before = usedMemory(server);
  const { status } = await ask(port, 'POST', '/poll/channels/pond');
  assert.equal(status, 201);
  assert.ok(usedMemory(server) - before >= connectionMemory + 2 * subscriptionMemory);
});
