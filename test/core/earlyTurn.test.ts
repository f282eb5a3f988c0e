/** The length of a turn: the input of one poll, early turns when the input arena is full, and the time for each class. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { onData, scheduleRead, scheduleTurn, setReading } from '../../src/core/poll.ts';
import { serverLoop } from '../../src/core/serverLoop.ts';
import { bulkReadsPerTurn, heavyReadingTime, minStageTime } from '../../src/protocol/limits.ts';
import { inputEnd, inputStart, readBufferSize } from '../../src/records/arena.ts';
import type { Connection, Server, Wire } from '../../src/records/records.ts';
import { blockLoop } from '../support/blockLoop.ts';
import { newFakeServer, openFakeConnection } from '../support/fakeSocket.ts';

/** Full reads after which the input arena has no room for another one. */
const readsUntilFull = Math.floor((inputEnd - inputStart) / readBufferSize);

test('an early turn serves what has arrived; a throttled connection is served in the turn after it', async () => {
  const server = newFakeServer();
  const [newcomer, heldBack] = [openFakeConnection(server, undefined), openFakeConnection(server, undefined)];
  const reads: [Connection, number][] = [];
  const wire = wireThatReads(connection => {
    reads.push([connection, server.counters.turns]);
    connection.isThrottled = false;
  });
  for (const { connection } of [newcomer, heldBack]) connection.wire = wire;
  heldBack.connection.input = Buffer.alloc(1);
  heldBack.connection.inputStart = 0;
  heldBack.connection.inputEnd = 1;
  heldBack.connection.isThrottled = true;
  scheduleRead(heldBack.connection);

  const ended = serverLoop(server, () => {});
  for (let i = 0; i < readsUntilFull; i++)
    onData(newcomer.connection, Buffer.alloc(readBufferSize), readBufferSize);
  while (reads.length < 2) await new Promise(setImmediate);
  assert.deepEqual(
    reads.map(([connection, turn]) => [connection === newcomer.connection, turn]),
    [
      [true, 1],
      [false, 2],
    ],
  );
  await stopLoop(server, ended);
});

test('a connection that fills the read buffer is paused until its turn, so it is read once per poll', async () => {
  const server = newFakeServer();
  const { connection } = openFakeConnection(server, undefined);
  connection.wire = wireThatReads(() => {});
  const ended = serverLoop(server, () => {});
  onData(connection, Buffer.alloc(readBufferSize - 1), readBufferSize - 1);
  assert.equal(connection.isReading, true, 'a read that leaves room in the buffer took all that had arrived');
  onData(connection, Buffer.alloc(1), 1);
  assert.equal(connection.isReading, false);
  while (connection.input !== undefined) await new Promise(setImmediate);
  assert.equal(connection.isReading, true);
  await stopLoop(server, ended);
});

test('a client at the end of a poll waits for two turns, however many floods were read before it', async t => {
  // Other processes do not use up the time of a turn.
  t.mock.method(performance, 'now', () => 1000);
  const server = newFakeServer();
  const floods = Array.from(
    { length: 2 * readsUntilFull + 5 },
    () => openFakeConnection(server, undefined).connection,
  );
  const { connection: last } = openFakeConnection(server, undefined);
  const servedIn = new Map<Connection, number>();
  const wire = wireThatReads(connection => servedIn.set(connection, server.counters.turns));
  for (const connection of [...floods, last]) connection.wire = wire;
  const ended = serverLoop(server, () => {});
  // One poll: its callbacks run one after the other, and a turn that one of them begins runs before the next.
  for (const flood of floods) {
    onData(flood, Buffer.alloc(readBufferSize), readBufferSize);
    await Promise.resolve();
  }
  onData(last, Buffer.from('x'), 1);
  while (!servedIn.has(last)) await new Promise(setImmediate);
  assert.equal(servedIn.get(last), 2);
  while (servedIn.size <= floods.length) await new Promise(setImmediate);
  await stopLoop(server, ended);
});

test('each turn reads a few of the connections that send more than one read takes, in order, until all are read', async () => {
  const server = newFakeServer();
  const floods = Array.from({ length: 2 * bulkReadsPerTurn + 1 }, () =>
    openFakeConnection(server, undefined),
  );
  for (const { connection } of floods) connection.wire = wireThatReads(() => {});
  const ended = serverLoop(server, () => {});
  for (const { connection } of floods) onData(connection, Buffer.alloc(readBufferSize), readBufferSize);
  for (let count = 0; count < floods.length; ) {
    await new Promise(setImmediate);
    count = floods.filter(({ socket }) => !socket.isPaused).length;
    assert.ok(count <= server.counters.turns * bulkReadsPerTurn);
    assert.deepEqual(
      floods.map(({ socket }) => socket.isPaused),
      floods.map((_, index) => index >= count),
    );
  }
  // One that sends less is read at once.
  const { connection, socket } = floods[0]!;
  onData(connection, Buffer.from('x'), 1);
  setReading(connection, false);
  setReading(connection, true);
  assert.equal(socket.isPaused, false);
  await stopLoop(server, ended);
});

test('a turn whose time the cheap connections used up still reads one throttled connection', async () => {
  const server = newFakeServer();
  const readIn: number[] = [];
  const [cheap, ...others] = Array.from(
    { length: 4 },
    () => openFakeConnection(server, undefined).connection,
  );
  cheap!.wire = wireThatReads(() => blockLoop(heavyReadingTime));
  for (const connection of others) {
    connection.isThrottled = true;
    connection.wire = wireThatReads(() => {
      connection.isThrottled = false;
      readIn.push(server.counters.turns);
      blockLoop(minStageTime);
    });
  }
  const ended = serverLoop(server, () => {});
  for (const connection of [cheap!, ...others]) onData(connection, Buffer.from('x'), 1);
  while (readIn.length < others.length) await new Promise(setImmediate);
  assert.equal(readIn.filter(turn => turn === 1).length, 1, `read in the turns ${readIn}`);
  await stopLoop(server, ended);
});

function wireThatReads(read: (connection: Connection) => void): Wire {
  return {
    name: 'fake',
    close() {},
    onEnd() {},
    checkDeadlines() {},
    receive(connection, _bytes, _start, end) {
      read(connection);
      return end;
    },
  };
}

async function stopLoop(server: Server, ended: Promise<void>): Promise<void> {
  server.isDraining = true;
  server.connections = 0;
  scheduleTurn(server);
  await ended;
}
