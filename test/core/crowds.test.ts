/** Crowds: many clients leave, or are due, in the same turn. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { handleDisconnects } from '../../src/core/close.ts';
import { checkDeadlines } from '../../src/core/deadlines.ts';
import { readClock } from '../../src/core/poll.ts';
import { clock, maxLateness } from '../../src/process/clock.ts';
import type { Connection } from '../../src/records/records.ts';
import { blockLoop } from '../support/blockLoop.ts';
import { newFakeServer, openFakeConnection } from '../support/fakeSocket.ts';

test('handling many peers that leave at once takes several turns, and handles each once', () => {
  const server = newFakeServer();
  const left: Connection[] = [];
  const connections = Array.from({ length: 200 }, () => openFakeConnection(server, undefined).connection);
  for (const connection of connections) {
    const onEnd = () => {
      blockLoop(1);
      left.push(connection);
    };
    connection.wire = { ...connection.wire, onEnd };
    server.ready.ended.push({ connection, error: undefined });
  }
  handleDisconnects(server);
  assert.ok(left.length > 0 && left.length < 100, `${left.length}`);
  assert.equal(server.ready.ended.length, 200 - left.length);
  while (server.ready.ended.length > 0) handleDisconnects(server);
  assert.deepEqual(left, connections);
});

/** 200 clients whose deadlines take a millisecond each to check. */
function openDueClients() {
  const server = newFakeServer();
  const checked: Connection[] = [];
  const connections = Array.from({ length: 200 }, () => {
    const { connection } = openFakeConnection(server, undefined);
    const checkDeadlines = () => {
      blockLoop(1);
      checked.push(connection);
    };
    connection.wire = { ...connection.wire, checkDeadlines };
    return connection;
  });
  server.deadlines.isDue = true;
  return { server, connections, checked };
}

test('checking many clients that are due at once takes several turns, and checks each once', () => {
  const { server, connections, checked } = openDueClients();
  checkDeadlines(server);
  assert.ok(checked.length > 0 && checked.length < 100, `${checked.length}`);
  while (server.deadlines.isDue) checkDeadlines(server);
  assert.deepEqual(checked, connections);
  assert.equal(server.deadlines.nextId, 0);
});

test('if the loop is blocked during such a check, the clock skips that time, and the check continues later', () => {
  const { server, connections, checked } = openDueClients();
  checkDeadlines(server);
  const before = clock();
  blockLoop(3 * maxLateness);
  readClock(server);
  assert.ok(server.now - before < maxLateness, `${server.now - before} ms`);
  assert.equal(server.deadlines.isDue, false);
  server.deadlines.isDue = true;
  while (server.deadlines.isDue) checkDeadlines(server);
  assert.deepEqual(checked, connections);
});
