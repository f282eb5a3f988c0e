import assert from 'node:assert/strict';
import { test } from 'node:test';
import { injectInput, mayInflate, startBudget } from '../../src/core/fairness.ts';
import { readSocketData } from '../../src/core/readSocketData.ts';
import { connectionBudget } from '../../src/protocol/limits.ts';
import { deflateMessage, inflateSome, newDeflateContext } from '../../src/protocol/websocket/deflate.ts';
import { endEndpoint } from '../../src/protocol/websocket/endpoint.ts';
import { workUnits } from '../../src/protocol/workUnits.ts';
import type { Connection, Handler } from '../../src/records/records.ts';
import { blockLoop } from '../support/blockLoop.ts';
import { startChannels, until } from '../support/channelServer.ts';
import { newRecord, readEvents } from '../support/endpointRun.ts';
import { newFakeServer, openFakeConnection } from '../support/fakeSocket.ts';
import { connectRaw } from '../support/rawClient.ts';
import { frame, opcode } from '../support/rawFrame.ts';

test('injected input is appended to the unread input, and the socket is not read until it is processed', () => {
  const { connection } = openFakeConnection(newFakeServer(), undefined);
  connection.input = Buffer.from('..one..');
  connection.inputStart = 2;
  connection.inputEnd = 5;
  injectInput(connection, Buffer.from('two'));
  assert.equal(connection.input.toString('utf8', connection.inputStart, connection.inputEnd), 'onetwo');
  assert.equal(connection.bytesIn, 3);
  assert.ok(connection.isThrottled && connection.isWriteQueued);
  assert.equal(connection.isReading, false);
});

/** Takes much longer for a message than its work units say. */
function newSlowHandler(message: (connection: Connection) => void): Handler {
  return {
    name: 'slow',
    message(connection) {
      blockLoop(0.05);
      message(connection);
    },
  };
}

test('the clock ends the budget of a connection whose messages take longer than their work units say', () => {
  let count = 0;
  const handler = newSlowHandler(() => {
    count++;
  });
  const { connection } = openFakeConnection(newFakeServer(), handler);
  const bytes = Buffer.concat(Array.from({ length: 2000 }, () => frame(opcode.text, 'x')));
  const at = readSocketData(connection, bytes, 0, bytes.length);
  assert.ok(count < 1000, `${count} messages`);
  assert.ok(at < bytes.length && connection.isThrottled);
});

test('a turn that such connections have used up leaves the others of them to the next turns', async t => {
  const { port, server } = await startChannels(t);
  const served = new Map<number, Set<Connection>>();
  let count = 0;
  const handler = newSlowHandler(connection => {
    const { turns } = server.counters;
    served.set(turns, (served.get(turns) ?? new Set()).add(connection));
    count++;
  });
  server.handlers.set('slow', handler);
  const clients = await Promise.all(Array.from({ length: 16 }, () => connectRaw(port, { path: '/slow' })));
  const bytes = Buffer.concat(Array.from({ length: 400 }, () => frame(opcode.text, 'x')));
  // All arrive in one poll.
  for (const client of clients) client.send(bytes);
  await until(() => count === 16 * 400);
  const most = Math.max(...[...served.values()].map(connections => connections.size));
  assert.ok(most < 8, `${most} connections in one turn`);
  for (const client of clients) client.destroy();
});

/** Connections that have each begun to inflate a large message. */
function openInflating(count: number) {
  const server = newFakeServer();
  const large = Buffer.alloc(1024 * 1024);
  return Array.from({ length: count }, () => {
    const { connection } = openFakeConnection(server, undefined, newDeflateContext(false, 15));
    const { endpoint } = connection;
    assert.ok(endpoint !== undefined);
    const bytes = frame(opcode.binary, deflateMessage(newDeflateContext(false, 15), large, 0, large.length), {
      rsv: 4,
    });
    readEvents({ ...newRecord(endpoint), mayInflate: () => false }, bytes);
    const ask = () => {
      startBudget(connection);
      return mayInflate(connection);
    };
    /** Inflates until the turn's budget is spent. */
    const useGo = () => {
      assert.equal(ask(), true);
      inflateSome(endpoint.inflating!.inflation);
      workUnits.spent += connectionBudget;
      assert.equal(mayInflate(connection), false);
      assert.equal(connection.isThrottled, true);
      assert.equal(ask(), false);
    };
    return { server, connection, endpoint, ask, useGo };
  });
}

test('large messages are inflated one at a time, in order of arrival; the others hold only their compressed bytes', () => {
  const [first, second, third] = openInflating(3);
  assert.deepEqual([first!.ask(), second!.ask(), third!.ask()], [true, false, false]);
  assert.ok(first!.endpoint.inflating!.inflation.size > 0);
  assert.equal(second!.endpoint.inflating!.inflation.size, 0);
  assert.deepEqual([first!.connection.isThrottled, second!.connection.isThrottled], [false, true]);
  for (const other of [second!, third!]) other.useGo();
  // Asking first does not change the order.
  assert.deepEqual([third!.ask(), second!.ask(), first!.ask()], [false, false, true]);
  first!.endpoint.inflating = undefined;
  assert.deepEqual([third!.ask(), second!.ask()], [false, true]);
  endEndpoint(second!.endpoint);
  assert.equal(third!.ask(), true);
  endEndpoint(third!.endpoint);
});

test('while a large message is being inflated, another one gets a single turn’s budget to finish in', () => {
  const [first, smaller] = openInflating(2);
  assert.deepEqual([first!.ask(), smaller!.ask()], [true, false]);
  smaller!.useGo();
  assert.equal(smaller!.endpoint.inflating!.inflation.size, 0, 'it will start over');
  assert.equal(smaller!.ask(), false);
  for (const { endpoint } of [first!, smaller!]) endEndpoint(endpoint);
});

test('a large message that makes no progress lets the next one go first and keeps what it has inflated', () => {
  const [stuck, next] = openInflating(2);
  const { counters } = stuck!.server;
  assert.equal(stuck!.ask(), true);
  const { inflation } = stuck!.endpoint.inflating!;
  assert.equal(next!.ask(), false);
  next!.useGo();
  let turns = 0;
  for (; !next!.ask(); turns++) counters.turns++;
  assert.ok(turns > 1);
  assert.equal(stuck!.ask(), false);
  assert.ok(inflation.size > 0);
  endEndpoint(next!.endpoint);
  assert.equal(stuck!.ask(), true);
  endEndpoint(stuck!.endpoint);
});

test('fragments without content use up the budget of a turn, and the rest of them is read in the next turns', () => {
  const { connection } = openFakeConnection(newFakeServer(), undefined);
  const first = frame(opcode.text, '', { fin: false });
  const next = frame(opcode.continuation, '', { fin: false });
  const bytes = Buffer.concat([first, Buffer.alloc(3 * connectionBudget * next.length, next)]);
  const stops: number[] = [];
  for (let at = 0; at < bytes.length; stops.push(at))
    at = readSocketData(connection, bytes, at, bytes.length);
  const most = (connectionBudget + 2) * next.length;
  assert.ok(
    stops.every((stop, turn) => stop - (stops[turn - 1] ?? 0) <= most),
    `it stopped at ${stops}`,
  );
  assert.equal(connection.endpoint!.incoming?.fragments, 3 * connectionBudget + 1);
});
