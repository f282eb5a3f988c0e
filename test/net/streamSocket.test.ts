/** How the socket on Node's streams reads TLS. */
import assert from 'node:assert/strict';
import { Socket } from 'node:net';
import { PassThrough } from 'node:stream';
import { test } from 'node:test';
import { StreamSocket } from '../../src/net/streamSocket.ts';
import { maxRecordsAtOnce } from '../../src/protocol/tlsLimits.ts';
import { newFakeServer, openFakeConnection } from '../support/fakeSocket.ts';

test('after some records of TLS the connection waits for its turn, and its handle stops at once', () => {
  const calls: string[] = [];
  const handle = {
    reading: true,
    readStop: () => calls.push('stop'),
    readStart: () => calls.push('start'),
  };
  const stream = Object.assign(new PassThrough(), { setNoDelay() {}, _handle: handle });
  const socket = new StreamSocket(stream as unknown as Socket, new Socket());
  const server = newFakeServer();
  const { connection } = openFakeConnection(server, undefined);
  connection.socket = socket;
  calls.length = 0;
  socket.start(connection);
  for (let i = 1; i < maxRecordsAtOnce; i++) stream.emit('data', Buffer.of(i));
  assert.deepEqual([calls, connection.isReading], [[], true]);
  stream.emit('data', Buffer.of(0));
  assert.deepEqual([calls, connection.isReading, stream.isPaused()], [['stop'], false, true]);
  assert.equal(connection.inputEnd - connection.inputStart, maxRecordsAtOnce);
  server.counters.turns++;
  connection.isReading = true;
  socket.resume();
  for (let i = 1; i < maxRecordsAtOnce; i++) stream.emit('data', Buffer.of(i));
  assert.deepEqual([calls, connection.isReading, stream.isPaused()], [['stop', 'start'], true, false]);
  stream.destroy();
});
