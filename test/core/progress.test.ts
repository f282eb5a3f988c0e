/** Deadlines that measure progress: a flow may take its time, a drip or a pause may not. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { hasInputStalled, hasOutputStalled, startReceiving, startSending } from '../../src/core/progress.ts';
import { minRate, sendAhead } from '../../src/protocol/limits.ts';
import { newFakeServer, openFakeConnection } from '../support/fakeSocket.ts';

const timeout = 10_000;

/** Seconds until input that comes at this rate has stalled; Infinity: not within a day. */
function secondsOfInput(rate: number): number {
  const server = newFakeServer();
  const { connection } = openFakeConnection(server, undefined);
  startReceiving(connection);
  for (let second = 1; second <= 86_400; second++) {
    server.now += 1000;
    connection.bytesIn += rate;
    if (hasInputStalled(connection, timeout)) return second;
  }
  return Number.POSITIVE_INFINITY;
}

describe('progress', () => {
  test('input at the minimum rate never stalls; below it the deadline is put off, not lifted', () => {
    assert.equal(secondsOfInput(minRate), Number.POSITIVE_INFINITY);
    assert.equal(secondsOfInput(0), 10);
    assert.equal(secondsOfInput(minRate / 2), 20);
    assert.ok(secondsOfInput(minRate - 10) < 1000);
  });

  test('input that came fast buys no time for a pause', () => {
    const server = newFakeServer();
    const { connection } = openFakeConnection(server, undefined);
    startReceiving(connection);
    server.now += 1000;
    connection.bytesIn += 100_000_000;
    assert.equal(hasInputStalled(connection, timeout), false);
    server.now += timeout - 1;
    assert.equal(hasInputStalled(connection, timeout), false);
    server.now += 1;
    assert.equal(hasInputStalled(connection, timeout), true);
  });

  test('output buys the time in which the buffer of the system may pass, and no more', () => {
    const server = newFakeServer();
    const { connection } = openFakeConnection(server, undefined);
    connection.bytesOut = 1000;
    startSending(connection);
    connection.bytesOut += 3_000_000;
    assert.equal(hasOutputStalled(connection, timeout), false);
    server.now += timeout + sendAhead - 1;
    assert.equal(hasOutputStalled(connection, timeout), false);
    server.now += 1;
    assert.equal(hasOutputStalled(connection, timeout), true);
  });

  test('output that the system has not taken is no progress', () => {
    const server = newFakeServer();
    const { connection, socket } = openFakeConnection(server, undefined);
    socket.isStuck = true;
    startSending(connection);
    const bytes = Buffer.alloc(1_000_000);
    socket.writeOne(bytes, 0, bytes.length);
    connection.bytesOut += bytes.length;
    server.now += timeout;
    assert.equal(hasOutputStalled(connection, timeout), true);
  });

  test('a deadline that is switched off never passes', () => {
    const server = newFakeServer();
    const { connection } = openFakeConnection(server, undefined);
    startReceiving(connection);
    server.now += 1_000_000_000;
    assert.equal(hasInputStalled(connection, 0), false);
    assert.equal(hasOutputStalled(connection, 0), false);
  });
});
