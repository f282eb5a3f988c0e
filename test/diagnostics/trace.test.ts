/** The trace: a line for each frame of those that are traced, and none for others. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { finishFanouts, sendToAll, wholeMessage } from '../../src/core/fanout.ts';
import { readSocketData } from '../../src/core/readSocketData.ts';
import { recordClosed } from '../../src/diagnostics/closedConnections.ts';
import { traceConnection, tracedConnections } from '../../src/diagnostics/trace.ts';
import { echo } from '../../src/handlers/echo.ts';
import { configureLog, watchLog } from '../../src/log/log.ts';
import type { Connection } from '../../src/records/records.ts';
import { newFakeServer, openFakeConnection } from '../support/fakeSocket.ts';
import { connectRaw } from '../support/rawClient.ts';
import { closeFrame, frame, opcode } from '../support/rawFrame.ts';
import { startServerFor } from '../support/serverProcess.ts';

configureLog('error', 'text');
const server = newFakeServer();

function receive(connection: Connection, ...frames: Buffer[]): void {
  const bytes = Buffer.concat(frames);
  readSocketData(connection, bytes, 0, bytes.length);
}

/** What the log says while `act` runs, without times. */
function said(act: () => void): string[] {
  const heard: string[] = [];
  const stop = watchLog(line => heard.push(line.replace(/^\S+ /, '').trimEnd()) > 0);
  act();
  stop();
  return heard;
}

test('one connection, all of them, none', () => {
  const [one, two] = [1, 2].map(() => openFakeConnection(server, echo).connection) as [
    Connection,
    Connection,
  ];
  const speak = () => {
    for (const connection of [one, two]) receive(connection, frame(opcode.text, 'hi'));
  };
  const lines = ({ id }: Connection) => [
    `info  frame id=${id} < text, 2 bytes: "hi"`,
    `info  frame id=${id} > text, 2 bytes: "hi"`,
  ];
  assert.deepEqual(said(speak), []);
  traceConnection(server.trace, two.id);
  assert.deepEqual(tracedConnections(server.trace), [two.id]);
  assert.deepEqual(said(speak), lines(two));
  traceConnection(server.trace, 'all');
  assert.equal(tracedConnections(server.trace), 'all');
  assert.deepEqual(said(speak), [...lines(one), ...lines(two)]);
  traceConnection(server.trace, 'off');
  assert.deepEqual(tracedConnections(server.trace), []);
  assert.deepEqual(said(speak), []);
});

test('the trace of a connection ends with it', () => {
  const { connection } = openFakeConnection(server, echo);
  traceConnection(server.trace, connection.id);
  recordClosed(connection);
  assert.deepEqual(tracedConnections(server.trace), []);
});

test('forty-eight bytes of a payload are shown, and each frame of a burst', () => {
  const members = [1, 2].map(() => openFakeConnection(server, echo).connection);
  traceConnection(server.trace, members[1]!.id);
  const texts = ['one', 'two', 'x'.repeat(300)];
  const heard = said(() => {
    for (const text of texts) sendToAll(members, undefined, wholeMessage(true, Buffer.from(text)));
    finishFanouts(server);
  });
  traceConnection(server.trace, 'off');
  const id = `info  frame id=${members[1]!.id}`;
  assert.deepEqual(heard, [
    `${id} > text, 3 bytes: "one"`,
    `${id} > text, 3 bytes: "two"`,
    `${id} > text, 300 bytes: "${'x'.repeat(48)}" …`,
  ]);
});

test('--trace tells every frame, on every wire, as JSON where the log is', async t => {
  const { port, untilLogged, logged } = await startServerFor(t, '--trace');
  const client = await connectRaw(port, { path: '/echo?token=secret' });
  client.send(frame(opcode.binary, Buffer.from([1, 2, 255])), closeFrame(4001, 'bye'));
  await client.end();
  await untilLogged(({ way, opcode: name }) => way === '>' && name === 'close');
  const frames = logged().filter(({ event, opcode: name }) => event === 'frame' && name !== 'bytes');
  const [{ id } = {}] = frames;
  assert.deepEqual(
    frames.map(({ time: _, level: __, event: ___, ...rest }) => rest),
    [
      { id, way: '<', opcode: 'binary', length: 3, fin: true, compressed: false, hex: '0102ff' },
      { id, way: '>', opcode: 'binary', length: 3, fin: true, compressed: false, hex: '0102ff' },
      { id, way: '<', opcode: 'close', length: 5, fin: true, compressed: false, code: 4001, text: 'bye' },
      { id, way: '>', opcode: 'close', length: 2, fin: true, compressed: false, code: 4001, text: '' },
    ],
  );
  assert.doesNotMatch(JSON.stringify(logged()), /secret/, "what a query says is nobody else's business");
});
