import assert from 'node:assert/strict';
import { test } from 'node:test';
import { readLater } from '../../src/connection/share.ts';
import { newFakeServer, openFakeConnection } from '../support/fakeSocket.ts';

test('input that comes by another way waits behind what is there, and is not read on before it is worked through', () => {
  const { connection } = openFakeConnection(newFakeServer(), undefined);
  connection.input = Buffer.from('..one..');
  connection.inputStart = 2;
  connection.inputEnd = 5;
  readLater(connection, Buffer.from('two'));
  assert.equal(connection.input.toString('utf8', connection.inputStart, connection.inputEnd), 'onetwo');
  assert.equal(connection.bytesIn, 3);
  assert.ok(connection.isHeldBack && connection.isDirty);
  assert.equal(connection.isReading, false);
});
