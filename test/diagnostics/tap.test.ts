/** Taps: the observers of connections. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { injectInput } from '../../src/core/fairness.ts';
import { onData } from '../../src/core/poll.ts';
import { readSocketData } from '../../src/core/readSocketData.ts';
import { recordClosed } from '../../src/diagnostics/closedConnections.ts';
import { newFrameTap } from '../../src/diagnostics/frameTap.ts';
import { addTap, removeTap, type Tap } from '../../src/diagnostics/tap.ts';
import { frameLine } from '../../src/explain/frameLine.ts';
import { echo } from '../../src/handlers/echo.ts';
import type { Connection } from '../../src/records/records.ts';
import { newFakeServer, openFakeConnection } from '../support/fakeSocket.ts';
import { frame, opcode } from '../support/rawFrame.ts';

/** A tap that notes each call. */
function newNotes(): { tap: Tap; notes: string[] } {
  const notes: string[] = [];
  const hex = (bytes: Uint8Array, start: number, end: number) =>
    Buffer.from(bytes.subarray(start, end)).toString('hex');
  const tap: Tap = {
    arrived: ({ id }, bytes, start, end) => notes.push(`${id} arrived ${hex(bytes, start, end)}`),
    read: ({ id }, first, { length }) => notes.push(`${id} read ${first?.toString(16)} ${length}`),
    sent: ({ id }, bytes, start, end) => notes.push(`${id} sent ${hex(bytes, start, end)}`),
    ended: ({ id }) => notes.push(`${id} ended`),
  };
  return { tap, notes };
}

function receive(connection: Connection, bytes: Buffer): void {
  onData(connection, Buffer.from(bytes), bytes.length);
  const { input, inputStart, inputEnd } = connection;
  connection.inputStart = readSocketData(connection, input!, inputStart, inputEnd);
  connection.input = undefined;
}

const hi = frame(opcode.text, 'hi');

test('a tap sees arriving bytes, read frames, sent frames, and the end', () => {
  const server = newFakeServer();
  const { connection } = openFakeConnection(server, echo);
  const { id } = connection;
  const { tap, notes } = newNotes();
  addTap(server.taps, id, tap);
  receive(connection, hi);
  injectInput(connection, hi.subarray(0, 3));
  recordClosed(connection);
  const arrived = hi.toString('hex');
  assert.deepEqual(notes, [
    `${id} arrived ${arrived}`,
    `${id} read 81 2`,
    `${id} sent 81026869`,
    `${id} arrived ${arrived.slice(0, 6)}`,
    `${id} ended`,
  ]);
  assert.deepEqual([server.taps.isOn, server.taps.byId.size], [false, 0], 'the taps end with the connection');
});

test('a tap of all connections sees future ones, but no control connections', () => {
  const server = newFakeServer();
  const { tap, notes } = newNotes();
  addTap(server.taps, 'all', tap);
  const { connection } = openFakeConnection(server, echo);
  receive(connection, hi);
  const seen = notes.length;
  receive({ ...connection, isControl: true }, hi);
  assert.deepEqual([seen, notes.length], [3, 3]);
  recordClosed(connection);
  assert.equal(server.taps.isOn, true);
  removeTap(server.taps, 'all', tap);
  assert.equal(server.taps.isOn, false);
});

test('removing a tap that was never added changes nothing', () => {
  const { taps } = newFakeServer();
  const { tap } = newNotes();
  addTap(taps, 7, tap);
  removeTap(taps, 8, tap);
  removeTap(taps, 7, newNotes().tap);
  assert.deepEqual([taps.isOn, taps.byId.size], [true, 1]);
  removeTap(taps, 7, tap);
  assert.deepEqual([taps.isOn, taps.byId.size], [false, 0]);
});

test('a frame tap gets the frames of both directions, unmasked', () => {
  const server = newFakeServer();
  const { connection } = openFakeConnection(server, echo);
  const shown: string[] = [];
  addTap(
    server.taps,
    connection.id,
    newFrameTap((_, one) => shown.push(frameLine(one)), 3),
  );
  receive(connection, Buffer.concat([frame(opcode.text, 'croak'), frame(opcode.ping, 'p')]));
  assert.deepEqual(shown, [
    '< text, 5 bytes: "cro" … [final, masked]',
    '> text, 5 bytes: "cro" … [final]',
    '< ping, 1 byte: "p" [final, masked]',
    '> pong, 1 byte: "p" [final]',
  ]);
});
