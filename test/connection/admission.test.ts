/** Who is turned away for want of room: counted once, and no more. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { checkRoom, hasRoom } from '../../src/connection/admission.ts';
import { newFakeServer, openFakeConnection } from '../support/fakeSocket.ts';

test('whoever is turned away makes room for the next, and stays turned away', () => {
  const server = newFakeServer('--max-connections', '2');
  const [first, second, third] = [1, 2, 3].map(() => openFakeConnection(server, undefined).connection);
  server.connections = 3;
  assert.equal(hasRoom(first!), false);
  assert.equal(hasRoom(first!), false, 'asked again, it is told the same');
  assert.equal(server.turnedAway, 1, 'and is counted once');
  assert.equal(hasRoom(second!), true);
  server.connections = 4;
  assert.throws(() => checkRoom(third!), { code: 503, option: 'maxConnections' });
  assert.equal(server.turnedAway, 2);
});
