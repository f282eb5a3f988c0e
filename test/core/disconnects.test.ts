/** Peers that leave, all at once. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { handleDisconnects } from '../../src/core/close.ts';
import type { Connection } from '../../src/records/records.ts';
import { newFakeServer, openFakeConnection } from '../support/fakeSocket.ts';

test('when many peers leave at once, some are handled in a later turn, and each once', () => {
  const server = newFakeServer();
  const left: Connection[] = [];
  const connections = Array.from({ length: 200 }, () => openFakeConnection(server, undefined).connection);
  for (const connection of connections) {
    const onEnd = () => {
      for (const end = performance.now() + 1; performance.now() < end; );
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
