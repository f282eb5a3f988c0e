import assert from 'node:assert/strict';
import { test } from 'node:test';
import { beginShare, mayInflate, readLater } from '../../src/connection/share.ts';
import { deflateMessage, newDeflateState } from '../../src/protocol/deflate.ts';
import { endEndpoint, receive } from '../../src/protocol/endpoint.ts';
import { newRecord, recorder } from '../support/endpointRun.ts';
import { newFakeServer, openFakeConnection } from '../support/fakeSocket.ts';
import { frame, opcode } from '../support/rawFrame.ts';

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

/** Connections that each have begun to inflate a large message. */
function openInflating(count: number) {
  const server = newFakeServer();
  const large = Buffer.alloc(1024 * 1024);
  return Array.from({ length: count }, () => {
    const { connection } = openFakeConnection(server, undefined, newDeflateState(false, 15));
    const { endpoint } = connection;
    assert.ok(endpoint !== undefined);
    const bytes = frame(opcode.binary, deflateMessage(newDeflateState(false, 15), large, 0, large.length), {
      rsv: 4,
    });
    receive(endpoint, { ...recorder, mayInflate: () => false }, newRecord(endpoint), bytes, 0, bytes.length);
    const ask = () => {
      beginShare(connection);
      return mayInflate(connection);
    };
    return { server, connection, endpoint, ask };
  });
}

test('large messages are inflated one at a time, in the order they came; the others hold no more than they came as', () => {
  const [first, second, third] = openInflating(3);
  assert.deepEqual([first!.ask(), second!.ask(), third!.ask()], [true, false, false]);
  assert.ok(first!.endpoint.inflating!.inflation.size > 0);
  assert.equal(second!.endpoint.inflating!.inflation.size, 0);
  assert.deepEqual([first!.connection.isHeldBack, second!.connection.isHeldBack], [false, true]);
  // Whoever asks first does not get it for that.
  assert.deepEqual([third!.ask(), second!.ask(), first!.ask()], [false, false, true]);
  first!.endpoint.inflating = undefined;
  assert.deepEqual([third!.ask(), second!.ask()], [false, true]);
  endEndpoint(second!.endpoint);
  assert.equal(third!.ask(), true);
  endEndpoint(third!.endpoint);
});

test('a large message that does not go on makes way for the next, and comes behind it', () => {
  const [stuck, next] = openInflating(2);
  const { counters } = stuck!.server;
  assert.equal(stuck!.ask(), true);
  let turns = 0;
  for (; !next!.ask(); turns++) counters.turns++;
  assert.ok(turns > 1);
  assert.equal(stuck!.ask(), false);
  endEndpoint(next!.endpoint);
  assert.equal(stuck!.ask(), true);
  endEndpoint(stuck!.endpoint);
});
