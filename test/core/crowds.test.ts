/** Clients that came, and so leave or are due, all at once. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { handleDisconnects } from '../../src/core/close.ts';
import { checkDeadlines } from '../../src/core/deadlines.ts';
import type { Connection } from '../../src/records/records.ts';
import { newFakeServer, openFakeConnection } from '../support/fakeSocket.ts';

/** Keeps the processor busy for so many milliseconds. */
function spend(milliseconds: number): void {
  for (const end = performance.now() + milliseconds; performance.now() < end; );
}

test('when many peers leave at once, some are handled in a later turn, and each once', () => {
  const server = newFakeServer();
  const left: Connection[] = [];
  const connections = Array.from({ length: 200 }, () => openFakeConnection(server, undefined).connection);
  for (const connection of connections) {
    const onEnd = () => {
      spend(1);
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

test('when many clients are due at once, some are checked in a later turn, and each once', () => {
  const server = newFakeServer();
  const checked: Connection[] = [];
  const connections = Array.from({ length: 200 }, () => {
    const { connection } = openFakeConnection(server, undefined);
    const checkDeadlines = () => {
      spend(1);
      checked.push(connection);
    };
    connection.wire = { ...connection.wire, checkDeadlines };
    return connection;
  });
  server.deadlines.isDue = true;
  checkDeadlines(server);
  assert.ok(checked.length > 0 && checked.length < 100, `${checked.length}`);
  while (server.deadlines.isDue) checkDeadlines(server);
  assert.deepEqual(checked, connections);
  assert.equal(server.deadlines.nextId, 0);
});
