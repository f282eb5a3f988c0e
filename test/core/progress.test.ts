/** Deadlines that measure progress: a slow transfer may take its time, a trickle or a pause may not. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { hasInputStalled, hasOutputStalled, startReceiving, startSending } from '../../src/core/progress.ts';
import { maxDeadlineCredit, minRate } from '../../src/protocol/limits.ts';
import { newFakeServer, openFakeConnection } from '../support/fakeSocket.ts';

const timeout = 10_000;

/** @returns the seconds until input at this rate counts as stalled; Infinity if it does not within a day */
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
  test('input at the minimum rate never stalls, and slower input only delays the deadline', () => {
    assert.equal(secondsOfInput(minRate), Number.POSITIVE_INFINITY);
    assert.equal(secondsOfInput(0), 10);
    assert.equal(secondsOfInput(minRate / 2), 20);
    assert.ok(secondsOfInput(minRate - 10) < 1000);
  });

  test('fast input earns no time for a pause', () => {
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

  test('output earns the time that the kernel’s buffer may need to drain, and no more', () => {
    const server = newFakeServer();
    const { connection } = openFakeConnection(server, undefined);
    connection.bytesOut = 1000;
    startSending(connection);
    connection.bytesOut += 3_000_000;
    assert.equal(hasOutputStalled(connection, timeout), false);
    server.now += timeout + maxDeadlineCredit - 1;
    assert.equal(hasOutputStalled(connection, timeout), false);
    server.now += 1;
    assert.equal(hasOutputStalled(connection, timeout), true);
  });

  test('output that the kernel has not taken is no progress', () => {
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
