import assert from 'node:assert/strict';
import { test } from 'node:test';
import { areMessagesPaused, hasPausedInput } from '../../src/core/connection.ts';
import { pauseMessages, resumeMessages } from '../../src/core/processData.ts';
import { readSocketData } from '../../src/core/readSocketData.ts';
import { messageText } from '../../src/protocol/websocket/message.ts';
import type { Handler } from '../../src/records/records.ts';
import { websocket } from '../../src/wires/websocket.ts';
import { newFakeServer, openFakeConnection, queuedBytes } from '../support/fakeSocket.ts';
import { closeFrame, frame, opcode } from '../support/rawFrame.ts';

/** A connection whose handler pauses after each message, and what the handler received. */
function openBusy(...options: string[]) {
  const got: string[] = [];
  const codes: number[] = [];
  const handler: Handler = {
    name: 'busy',
    message(connection, message) {
      got.push(messageText(message));
      pauseMessages(connection);
    },
    closed: (_, code) => codes.push(code),
  };
  const server = newFakeServer(...options);
  const { connection } = openFakeConnection(server, handler);
  connection.trustLevel = 3;
  return { server, connection, got, codes };
}

test('a handler that pauses after each message gets the next one when it resumes', () => {
  const { connection, got } = openBusy();
  const bytes = Buffer.concat(['one', 'two', 'three'].map(text => frame(opcode.text, text)));
  let at = readSocketData(connection, bytes, 0, bytes.length);
  assert.equal(at, 9);
  assert.equal(readSocketData(connection, bytes, at, bytes.length), at, 'no input is consumed');
  for (const due of [
    ['one', 'two'],
    ['one', 'two', 'three'],
  ]) {
    resumeMessages(connection);
    at = readSocketData(connection, bytes, at, bytes.length);
    assert.deepEqual(got, due);
  }
  assert.equal(at, bytes.length);
});

test('pings ahead of a paused message are answered at once, pings behind it after the message [5.5.2-2, 5.5.3-a]', () => {
  const { connection, got } = openBusy();
  const front = Buffer.concat([frame(opcode.text, 'one'), frame(opcode.ping, 'a'), frame(opcode.ping, 'b')]);
  const bytes = Buffer.concat([front, frame(opcode.text, 'two'), frame(opcode.ping, 'c')]);
  const at = readSocketData(connection, bytes, 0, bytes.length);
  assert.equal(at, front.length);
  assert.equal(queuedBytes(connection).toString('latin1'), '\x8a\x01a\x8a\x01b');
  resumeMessages(connection);
  assert.equal(readSocketData(connection, bytes, at, bytes.length), bytes.length);
  assert.equal(queuedBytes(connection).toString('latin1'), '\x8a\x01a\x8a\x01b\x8a\x01c');
  assert.deepEqual(got, ['one', 'two']);
});

test('fragments wait while messages are paused, and the ping between them is answered in its turn', () => {
  const { connection, got } = openBusy();
  pauseMessages(connection);
  const bytes = Buffer.concat([
    frame(opcode.text, 'he', { fin: false }),
    frame(opcode.ping, 'p'),
    frame(opcode.continuation, 'llo'),
  ]);
  assert.equal(readSocketData(connection, bytes, 0, bytes.length), 0);
  resumeMessages(connection);
  // All but the last byte, so that messages are paused in the middle of a frame.
  const at = readSocketData(connection, bytes, 0, bytes.length - 1);
  pauseMessages(connection);
  assert.equal(readSocketData(connection, bytes, at, bytes.length), at);
  resumeMessages(connection);
  assert.equal(readSocketData(connection, bytes, at, bytes.length), bytes.length);
  assert.deepEqual(got, ['hello']);
  assert.equal(queuedBytes(connection).toString('latin1'), '\x8a\x01p');
});

test('a close frame is handled while messages are paused [5.5.1-7]', () => {
  const { connection, codes } = openBusy();
  pauseMessages(connection);
  const bytes = closeFrame(1000);
  readSocketData(connection, bytes, 0, bytes.length);
  assert.deepEqual([codes, connection.phase], [[1000], 'ending']);
});

test('after the server has closed, paused messages are discarded and the answer behind them is found', () => {
  const { connection, got, codes } = openBusy();
  const bytes = Buffer.concat([frame(opcode.text, 'one'), frame(opcode.text, 'two'), closeFrame(1001)]);
  const at = readSocketData(connection, bytes, 0, bytes.length);
  websocket.close(connection, 1001, '');
  assert.equal(areMessagesPaused(connection), false);
  readSocketData(connection, bytes, at, bytes.length);
  assert.deepEqual([got, codes], [['one'], [1001]]);
});

test('a paused connection is pinged, but not dropped for a pong that may still be unread [5.5.2-4]', () => {
  const { server, connection } = openBusy('--ping-interval', '10s', '--pong-timeout', '20s');
  pauseMessages(connection);
  connection.heardAt = server.now;
  for (let second = 0; second < 120; second++) {
    server.now += 1000;
    websocket.checkDeadlines(connection);
  }
  assert.equal(connection.endpoint?.state, 'OPEN');
  assert.equal(
    queuedBytes(connection).length,
    2 * 4,
    'four pings, so that a peer that has gone away is noticed',
  );
  resumeMessages(connection);
  for (let second = 0; second < 60; second++) {
    server.now += 1000;
    websocket.checkDeadlines(connection);
  }
  assert.equal(connection.endpoint?.state, 'CLOSED', 'a connection that is not paused has to answer');
});

test('the close timeout applies while messages are paused [7.1.1-2, 7.1.7-5]', () => {
  const { server, connection } = openBusy('--close-timeout', '5s');
  pauseMessages(connection);
  websocket.close(connection, 1001, '');
  server.now += 6000;
  websocket.checkDeadlines(connection);
  assert.equal(connection.phase, 'gone');
});

test('resuming schedules a flush, and resuming without a pause does nothing', () => {
  const { connection } = openBusy();
  connection.server.pendingWrites.length = 0;
  resumeMessages(connection);
  assert.deepEqual([connection.server.pendingWrites.length, connection.isThrottled], [0, false]);
  pauseMessages(connection);
  assert.equal(hasPausedInput(connection), false);
  connection.input = Buffer.from('x');
  assert.equal(hasPausedInput(connection), true);
  resumeMessages(connection);
  assert.deepEqual(
    [connection.server.pendingWrites, connection.isThrottled, hasPausedInput(connection)],
    [[connection], true, false],
  );
});
