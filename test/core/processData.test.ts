import assert from 'node:assert/strict';
import { test } from 'node:test';
import { processData } from '../../src/core/processData.ts';
import { readSocketData } from '../../src/core/readSocketData.ts';
import { configureLog } from '../../src/log/log.ts';
import type { Message } from '../../src/protocol/websocket/message.ts';
import type { Handler } from '../../src/records/records.ts';
import { websocket } from '../../src/wires/websocket.ts';
import { newFakeServer, openFakeConnection, queuedBytes } from '../support/fakeSocket.ts';
import { closeFrame, frame, opcode } from '../support/rawFrame.ts';

configureLog('error', 'text');
const message: Message = { isText: true, bytes: Buffer.from('hi'), start: 0, end: 2 };

test('processData counts a message, notes its time and calls the handler', () => {
  const server = newFakeServer();
  const got: unknown[] = [];
  const handler: Handler = { name: 'test', message: (...given) => got.push(given) };
  const { connection } = openFakeConnection(server, handler);
  server.now = 1234;
  processData(connection, message);
  assert.deepEqual(got, [[connection, message]]);
  assert.deepEqual([connection.messagesIn, server.counters.messagesIn, connection.messageAt], [1, 1, 1234]);
});

test('a handler that throws closes only its own connection, with 1011 and no details of the error [7.4.1-i]', () => {
  const server = newFakeServer();
  const closed: unknown[] = [];
  const handler: Handler = {
    name: 'test',
    message() {
      throw new Error('the secret');
    },
    closed: (_, code, reason) => closed.push([code, reason]),
  };
  const { connection } = openFakeConnection(server, handler);
  const other = openFakeConnection(server, handler).connection;
  const bytes = Buffer.concat([frame(opcode.text, 'one'), frame(opcode.text, 'two')]);
  readSocketData(connection, bytes, 0, bytes.length);
  const said = queuedBytes(connection);
  assert.equal(said.toString('latin1', 4), 'internal error');
  assert.equal(said.readUInt16BE(2), 1011);
  assert.equal(connection.endpoint!.state, 'CLOSING');
  assert.deepEqual([other.endpoint!.state, other.queue.size], ['OPEN', 0]);

  const answer = closeFrame(1011);
  readSocketData(connection, answer, 0, answer.length);
  assert.equal(connection.phase, 'ending');
  assert.deepEqual(closed, [[1011, '']]);
  assert.deepEqual(server.pendingFrees, []);
});

test('an error in a handler’s `closed` does not reach the loop', () => {
  const server = newFakeServer();
  const handler: Handler = {
    name: 'test',
    message() {},
    closed() {
      throw new Error('in closed');
    },
  };
  const { connection } = openFakeConnection(server, handler);
  assert.doesNotThrow(() => websocket.onEnd(connection, 'ECONNRESET'));
  assert.equal(connection.endpoint!.state, 'CLOSED');
});

test('the handler’s `closed` is called once per connection', () => {
  const server = newFakeServer();
  const closed: unknown[] = [];
  const handler: Handler = {
    name: 'test',
    message() {},
    closed: (_, code, reason) => closed.push([code, reason]),
  };
  const { connection } = openFakeConnection(server, handler);
  const bytes = closeFrame(4001, 'bye');
  readSocketData(connection, bytes, 0, bytes.length);
  websocket.onEnd(connection, undefined);
  websocket.onEnd(connection, 'EPIPE');
  assert.deepEqual(closed, [[4001, 'bye']]);

  const lost = openFakeConnection(server, handler).connection;
  websocket.onEnd(lost, 'ECONNRESET');
  assert.deepEqual(closed.slice(1), [[1006, 'ECONNRESET']]);
});

test('a connection with many messages stops when its budget for the turn is spent', () => {
  const server = newFakeServer();
  let count = 0;
  const handler: Handler = { name: 'test', message: () => count++ };
  const { connection } = openFakeConnection(server, handler);
  const flood = Buffer.concat(Array.from({ length: 20_000 }, () => frame(opcode.text, 'x')));
  const turns: number[] = [];
  for (let at = 0; at < flood.length; ) {
    const before = count;
    at = readSocketData(connection, flood, at, flood.length);
    turns.push(count - before);
  }
  assert.equal(count, 20_000);
  assert.ok(turns.length > 2 && turns.every(share => share <= 8193), `messages a turn: ${turns}`);
});
