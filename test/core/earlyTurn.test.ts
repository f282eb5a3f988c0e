/** A turn that begins before all sockets were read, because the input arena is full. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { onData, scheduleRead, scheduleTurn } from '../../src/core/poll.ts';
import { serverLoop } from '../../src/core/serverLoop.ts';
import { readBufferSize } from '../../src/records/arena.ts';
import type { Connection, Wire } from '../../src/records/records.ts';
import { newFakeServer, openFakeConnection } from '../support/fakeSocket.ts';

test('an early turn serves what has arrived; a throttled connection is served in the turn after it', async () => {
  const server = newFakeServer();
  const [newcomer, heldBack] = [openFakeConnection(server, undefined), openFakeConnection(server, undefined)];
  const reads: [Connection, number][] = [];
  const wire: Wire = {
    name: 'fake',
    close() {},
    onEnd() {},
    checkDeadlines() {},
    receive(connection, _bytes, _start, end) {
      reads.push([connection, server.counters.turns]);
      connection.isThrottled = false;
      return end;
    },
  };
  for (const { connection } of [newcomer, heldBack]) connection.wire = wire;
  heldBack.connection.input = Buffer.alloc(1);
  heldBack.connection.inputStart = 0;
  heldBack.connection.inputEnd = 1;
  heldBack.connection.isThrottled = true;
  scheduleRead(heldBack.connection);

  const ended = serverLoop(server, () => {});
  for (let i = 0; i < 3; i++) onData(newcomer.connection, Buffer.alloc(readBufferSize), readBufferSize);
  while (reads.length < 2) await new Promise(setImmediate);
  assert.deepEqual(
    reads.map(([connection, turn]) => [connection === newcomer.connection, turn]),
    [
      [true, 1],
      [false, 2],
    ],
  );
  server.isDraining = true;
  server.connections = 0;
  scheduleTurn(server);
  await ended;
});
