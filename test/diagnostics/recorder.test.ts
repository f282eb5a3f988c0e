/** The last frames of each connection, as they are remembered and shown. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { finishFanouts, sendToAll, wholeMessage } from '../../src/core/fanout.ts';
import { readSocketData } from '../../src/core/readSocketData.ts';
import { sendControl } from '../../src/core/send.ts';
import { findClosed, lastFrames, recordClosed } from '../../src/diagnostics/closedConnections.ts';
import { noteEnding } from '../../src/diagnostics/closeReason.ts';
import { recordBytes } from '../../src/diagnostics/recorder.ts';
import { traceConnection } from '../../src/diagnostics/trace.ts';
import { echo } from '../../src/handlers/echo.ts';
import { configureLog, watchLog } from '../../src/log/log.ts';
import { newDeflateContext } from '../../src/protocol/websocket/deflate.ts';
import { ioArena } from '../../src/protocol/websocket/mask.ts';
import type { Connection } from '../../src/records/records.ts';
import { removeEntry } from '../../src/records/table.ts';
import { newFakeServer, openFakeConnection, sendText } from '../support/fakeSocket.ts';
import { frame, opcode } from '../support/rawFrame.ts';

configureLog('error', 'text');
const silent = { name: 'silent', message() {} };
const server = newFakeServer();
const open = () => openFakeConnection(server, silent).connection;

function receive(connection: Connection, ...frames: Buffer[]): void {
  const bytes = Buffer.concat(frames);
  readSocketData(connection, bytes, 0, bytes.length);
}

const shown = (connection: Connection) =>
  (lastFrames(connection) ?? []).map(line => line.replace(/^\d{4}-\d\d-\d\dT\S+Z /, ''));

test('each kind of frame is shown as what it is', () => {
  const connection = openFakeConnection(server, silent, newDeflateContext(false, 15)).connection;
  receive(
    connection,
    frame(opcode.text, 'some "text"\r\n'),
    frame(opcode.binary, Buffer.from([0, 1, 254, 255])),
    frame(opcode.text, 'he', { fin: false }),
    frame(opcode.ping, 'are you there?'),
    frame(opcode.continuation, 'llo'),
    frame(opcode.text, Buffer.from('f248cdc9c90700', 'hex'), { rsv: 4 }),
  );
  sendControl(connection, opcode.close, { bytes: Buffer.from('\x03\xe9going', 'latin1'), start: 0, end: 7 });
  assert.deepEqual(shown(connection), [
    '< text, 13 bytes: "some \\"text\\"\\r\\n" [final, masked]',
    '< binary, 4 bytes: 0001feff [final, masked]',
    '< text, 2 bytes, first fragment: "he" [masked]',
    '< ping, 14 bytes: "are you there?" [final, masked]',
    '> pong, 14 bytes: "are you there?" [final]',
    '< continuation, 3 bytes, last fragment: "llo" [final, masked]',
    '< text, 7 bytes deflated: f248cdc9c90700 [final, compressed, masked]',
    '> close, 7 bytes: 1001 (going away) "going" [final]',
  ]);
});

test('a frame with an invalid header is among the last frames, with its bytes', () => {
  const connection = open();
  receive(connection, frame(opcode.text, 'hi'), frame(opcode.text, 'unmasked', { key: null }));
  assert.deepEqual(shown(connection), [
    '< text, 2 bytes: "hi" [final, masked]',
    '< refused frame: 8108756e6d61736b6564',
    '> close, 31 bytes: 1002 (protocol error) "a client must mask" … [final]',
  ]);
});

test('of a payload the first twenty bytes are shown, and no half character', () => {
  const connection = open();
  const cases: readonly [string, string][] = [
    ['x'.repeat(20), `"${'x'.repeat(20)}"`],
    ['x'.repeat(21), `"${'x'.repeat(20)}" …`],
    [`${'x'.repeat(19)}ä`, `"${'x'.repeat(19)}" …`],
    [`${'x'.repeat(17)}€!`, `"${'x'.repeat(17)}€" …`],
    ['z'.repeat(70_000), `"${'z'.repeat(20)}" …`],
  ];
  for (const [text, head] of cases) {
    receive(connection, frame(opcode.text, text));
    const size = Buffer.byteLength(text);
    assert.equal(shown(connection).at(-1), `< text, ${size} bytes: ${head} [final, masked]`);
    sendText(connection, text);
    assert.equal(shown(connection).at(-1), `> text, ${size} bytes: ${head} [final]`);
  }
});

test('nothing of it can command a terminal', () => {
  const connection = open();
  receive(connection, frame(opcode.text, '\x1b[2J\x9b\u2028\x7f'));
  assert.equal(shown(connection)[0], '< text, 10 bytes: "\\u001b[2J\\u009b\\u2028\\u007f" [final, masked]');
});

test("in the turn's memory and elsewhere, wherever a payload lies, what is remembered is the same", () => {
  for (let size = 0; size <= 24; size++) {
    const payload = Buffer.from('abcdefghijklmnopqrstuvwxyz').subarray(0, size);
    const bytes = frame(opcode.text, payload, { key: Buffer.from([0x81, 0xfe, 3, 0x90]) });
    for (const start of [0, 1, 2, 3, ioArena.length - bytes.length]) {
      const [here, there] = [open(), open()];
      bytes.copy(ioArena, start);
      readSocketData(here, ioArena, start, start + bytes.length);
      receive(there, Buffer.from(bytes));
      const head = payload.subarray(0, 20).toString();
      const part = size === 0 ? '' : `: "${head}"${size > 20 ? ' …' : ''}`;
      const expected = [`< text, ${size} ${size === 1 ? 'byte' : 'bytes'}${part} [final, masked]`];
      assert.deepEqual([shown(here), shown(there)], [expected, expected]);
      for (const { id } of [here, there]) removeEntry(server.table, id);
    }
  }
});

test('a frame whose payload is still to come is there with what came of it, once', () => {
  const connection = open();
  const bytes = frame(opcode.text, 'half and half');
  receive(connection, bytes.subarray(0, 10));
  receive(connection, bytes.subarray(10));
  assert.deepEqual(shown(connection), ['< text, 13 bytes: "half" … [final, masked]']);
});

test('the last eight are remembered, however many there were', () => {
  const connection = open();
  for (let i = 1; i <= 40; i++) {
    receive(connection, frame(opcode.text, String(i)));
    const first = Math.max(1, i - 7);
    const last = Array.from({ length: i - first + 1 }, (_, at) => String(first + at));
    assert.deepEqual(
      shown(connection),
      last.map(
        text => `< text, ${text.length === 1 ? '1 byte' : `${text.length} bytes`}: "${text}" [final, masked]`,
      ),
    );
  }
});

for (const size of [3, 20]) {
  test(`a burst is remembered by each of ${size} who got it, behind what went before, and by nobody else`, () => {
    burst(Array.from({ length: size }, open));
  });
}

function burst(members: readonly Connection[]): void {
  const [sender, one, two] = members as [Connection, Connection, Connection];
  receive(one, frame(opcode.text, 'before'));
  for (const count of [1, 5, 8, 30]) {
    for (let i = 0; i < count; i++) {
      const bytes = Buffer.from(`${count}-${i}${'x'.repeat(i === count - 1 ? 200 : 0)}`);
      sendToAll(members, sender, wholeMessage(true, bytes));
    }
    finishFanouts(server);
    assert.equal(
      shown(two).at(-1),
      `> text, ${Buffer.byteLength(`${count}-${count - 1}`) + 200} bytes: "${`${count}-${count - 1}`.padEnd(20, 'x')}" … [final]`,
    );
    if (count === 5) {
      assert.deepEqual(shown(one).slice(0, 3), [
        '< text, 6 bytes: "before" [final, masked]',
        `> text, 203 bytes: "${'1-0'.padEnd(20, 'x')}" … [final]`,
        '> text, 3 bytes: "5-0" [final]',
      ]);
    }
  }
  assert.deepEqual(shown(one), shown(two));
  assert.deepEqual(
    shown(one).slice(0, 7),
    [22, 23, 24, 25, 26, 27, 28].map(i => `> text, 5 bytes: "30-${i}" [final]`),
  );
  assert.deepEqual(shown(sender), []);
  // What follows pushes it out, entry by entry.
  for (let i = 1; i <= 20; i++) {
    receive(one, frame(opcode.text, `after ${i}`));
    const after = Array.from({ length: Math.min(i, 8) }, (_, at) => `after ${Math.max(1, i - 7) + at}`);
    const before = shown(two).slice(after.length);
    assert.deepEqual(shown(one), [
      ...before,
      ...after.map(text => `< text, ${text.length} bytes: "${text}" [final, masked]`),
    ]);
  }
  assert.equal(shown(two).length, 8);
}

test('where there are more connections than ever before, what is remembered of the others stays', () => {
  const connections = Array.from({ length: 3 }, open);
  for (const [at, connection] of connections.entries())
    for (let i = 1; i <= 10; i++) receive(connection, frame(opcode.text, `${at}-${i}`));
  const before = connections.map(shown);
  for (const id of [20_000, 100_000]) {
    const far = { ...open(), id };
    receive(far, frame(opcode.text, 'far'));
    assert.deepEqual(shown(far), ['< text, 3 bytes: "far" [final, masked]']);
    assert.deepEqual(connections.map(shown), before);
  }
});

test('two servers of one process record apart, though their connections have the same ids', () => {
  const one = open();
  const other = openFakeConnection(newFakeServer(), silent).connection;
  const twin = { ...other, id: one.id };
  receive(one, frame(opcode.text, 'one'));
  receive(twin, frame(opcode.text, 'other'));
  assert.deepEqual(
    [shown(one), shown(twin)],
    [['< text, 3 bytes: "one" [final, masked]'], ['< text, 5 bytes: "other" [final, masked]']],
  );
});

test('with --recorder off nothing is recorded, and the trace still works', () => {
  const off = newFakeServer('--recorder', 'off');
  const { connection } = openFakeConnection(off, echo);
  receive(connection, frame(opcode.text, 'unseen'));
  assert.equal(lastFrames(connection), null);
  const lines: string[] = [];
  const stop = watchLog(line => lines.push(line) > 0);
  traceConnection(off.trace, 'all');
  receive(connection, frame(opcode.text, 'traced'));
  stop();
  assert.deepEqual(
    lines.map(line => line.replace(/^.* frame id=\d+ /, '').trimEnd()),
    ['< text, 6 bytes: "traced" [final, masked]', '> text, 6 bytes: "traced" [final]'],
  );
  noteEnding(connection, 'server', 'for this test');
  recordClosed(connection);
  const [record] = findClosed(off.closedConnections, connection.id);
  assert.equal(record?.frames, null);
});

test('the next connection with an id has no frames of the one before', () => {
  const before = open();
  receive(before, frame(opcode.text, 'secret'));
  const { connection } = openFakeConnection(server, silent);
  const next = { ...connection, id: before.id };
  assert.deepEqual(shown(next), []);
  receive(next, frame(opcode.text, 'mine'));
  assert.deepEqual(shown(next), ['< text, 4 bytes: "mine" [final, masked]']);
});

test('bytes of wires without frames are shown as text where they are, as digits where not', () => {
  const connection = { ...open(), endpoint: undefined };
  const [text, digits] = [Buffer.from('hello\n'), Buffer.from([1, 2, 0xff])];
  recordBytes(connection, text, 0, text.length);
  recordBytes(connection, digits, 0, digits.length);
  recordBytes(connection, digits, 1, 1);
  assert.deepEqual(shown(connection), ['< 6 bytes: "hello\\n"', '< 3 bytes: 0102ff']);
});
