/** What is known of connections that have ended, and for how long. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { dropOnException } from '../../src/core/close.ts';
import { openSession } from '../../src/core/processData.ts';
import { readSocketData } from '../../src/core/readSocketData.ts';
import { findClosed, recordClosed } from '../../src/diagnostics/closedConnections.ts';
import { noteLost } from '../../src/diagnostics/closeReason.ts';
import { echo } from '../../src/handlers/echo.ts';
import { configureLog } from '../../src/log/log.ts';
import { maxClosedRecords } from '../../src/protocol/limits.ts';
import type { Handler } from '../../src/records/records.ts';
import { removeEntry } from '../../src/records/table.ts';
import { websocket } from '../../src/wires/websocket.ts';
import { type FakeConnection, newFakeServer, openFakeConnection } from '../support/fakeSocket.ts';
import { closeFrame, frame, opcode } from '../support/rawFrame.ts';

configureLog('error', 'text');
const server = newFakeServer();

function opened(handler: Handler = echo): FakeConnection['connection'] {
  const { connection } = openFakeConnection(server, undefined);
  openSession(connection, handler);
  return connection;
}

function receive(connection: FakeConnection['connection'], ...frames: Buffer[]): void {
  const bytes = Buffer.concat(frames);
  connection.bytesIn += bytes.length;
  readSocketData(connection, bytes, 0, bytes.length);
}

/** As the loop does it. */
function free(connection: FakeConnection['connection']): void {
  recordClosed(connection);
  removeEntry(server.table, connection.id);
}

const timeless = (frames: readonly string[] | null) => (frames ?? []).map(line => line.replace(/^\S+Z /, ''));

test('all of it is there, and the same as JSON', () => {
  const connection = opened();
  server.now += 2500;
  receive(connection, frame(opcode.text, 'grüße'), frame(opcode.ping), closeFrame(4000, 'enough'));
  free(connection);
  const [ended] = findClosed(server.closedConnections, connection.id);
  assert.ok(ended !== undefined);
  const { acceptedAt, endedAt, frames, ...rest } = ended;
  assert.equal(Date.parse(endedAt) - Date.parse(acceptedAt), 2500);
  assert.ok(frames?.every(line => line.startsWith(`${endedAt} `)));
  assert.deepEqual(timeless(frames), [
    '< text, 7 bytes: "grüße" [final, masked]',
    '> text, 7 bytes: "grüße" [final]',
    '< ping, 0 bytes [final, masked]',
    '> pong, 0 bytes [final]',
    '< close, 8 bytes: 4000 (a private code of the application) "enough" [final, masked]',
    '> close, 2 bytes: 4000 (a private code of the application) [final]',
  ]);
  assert.deepEqual(rest, {
    id: connection.id,
    serial: connection.serial,
    wire: 'websocket',
    handler: 'echo',
    address: '127.0.0.1:1',
    user: null,
    by: 'client',
    why: 'the client closed it with 4000: "enough"',
    aftermath: null,
    code: 4000,
    reason: 'enough',
    sent: { code: 4000, reason: '' },
    received: { code: 4000, reason: 'enough' },
    status: null,
    errno: null,
    messagesIn: 1,
    messagesOut: 1,
    bytesIn: connection.bytesIn,
    bytesOut: 0,
    faults: null,
  });
  assert.deepEqual(JSON.parse(JSON.stringify(ended)), ended);
});

test('what we say and what the peer says are kept apart', () => {
  const connection = opened();
  websocket.close(connection, 1001, 'the server is going away');
  receive(connection, closeFrame(4002, 'so am I'));
  free(connection);
  const [ended] = findClosed(server.closedConnections, connection.id);
  assert.deepEqual(ended?.sent, { code: 1001, reason: 'the server is going away' });
  assert.deepEqual(ended?.received, { code: 4002, reason: 'so am I' });
  assert.equal(ended?.why, 'we closed it: the server is going away');
});

const lost: readonly [errno: string, why: string][] = [
  ['ECONNRESET', 'the peer, or something in between, reset the connection'],
  ['EPIPE', 'the peer had closed the connection when we wrote to it'],
  ['ETIMEDOUT', 'no answer from the peer: its machine or the route to it is down'],
  ['EHOSTUNREACH', 'there is no longer a route to the peer'],
  ['EWHATEVER', 'the system lost the connection'],
];
for (const [errno, meaning] of lost) {
  test(`${errno} is explained, and what comes after it is not the cause`, () => {
    const connection = opened();
    receive(connection, frame(opcode.text, 'x'));
    noteLost(connection, errno);
    websocket.onEnd(connection, errno);
    noteLost(connection, 'EPIPE');
    free(connection);
    const [ended] = findClosed(server.closedConnections, connection.id);
    assert.equal(ended?.why, `${errno}: ${meaning}`);
    assert.deepEqual([ended?.by, ended?.errno, ended?.code], ['network', errno, 1006]);
    assert.deepEqual([ended?.sent, ended?.received], [null, null]);
  });
}

test('our own faults are called so', t => {
  // They are errors in the log, too.
  t.mock.method(process.stderr, 'write', () => true);
  const thrower: Handler = {
    name: 'thrower',
    message() {
      throw new Error('the secret');
    },
  };
  const connection = opened(thrower);
  receive(connection, frame(opcode.text, 'x'), closeFrame(1011));
  free(connection);
  const [ended] = findClosed(server.closedConnections, connection.id);
  assert.equal(ended?.why, 'an internal error: the handler thrower threw an exception (see the log)');
  assert.deepEqual([ended?.by, ended?.sent?.code], ['server', 1011]);

  const faulty = opened();
  dropOnException(faulty, new Error('inside'));
  free(faulty);
  assert.equal(
    findClosed(server.closedConnections, faulty.id)[0]?.why,
    'an internal error of the server (see the log)',
  );
});

test('a serial number finds one connection, even if others had its id', () => {
  const [first, second] = [opened(), opened()];
  for (const connection of [first, second]) {
    receive(connection, closeFrame(connection === first ? 4000 : 4001));
    free(connection);
  }
  assert.notEqual(first.serial, second.serial);
  for (const [connection, code] of [
    [first, 4000],
    [second, 4001],
  ] as const) {
    const found = findClosed(server.closedConnections, { serial: connection.serial });
    assert.deepEqual(
      found.map(one => one.code),
      [code],
    );
  }
  assert.deepEqual(findClosed(server.closedConnections, { serial: 1_000_000 }), []);
});

test('an id that was used again has all its stories, the newest first, and each its own frames', () => {
  const first = opened();
  receive(first, frame(opcode.text, 'one'), closeFrame(4001));
  free(first);
  const { id } = first;
  // The next with this id has said less than the first.
  const again = { ...opened(), id, frames: 0 };
  receive(again, closeFrame(4002));
  recordClosed(again);
  const [newest, older] = findClosed(server.closedConnections, id);
  assert.deepEqual([newest?.code, older?.code], [4002, 4001]);
  assert.deepEqual(timeless(newest?.frames ?? []), [
    '< close, 2 bytes: 4002 (a private code of the application) [final, masked]',
    '> close, 2 bytes: 4002 (a private code of the application) [final]',
  ]);
  assert.equal(timeless(older?.frames ?? [])[0], '< text, 3 bytes: "one" [final, masked]');
});

test('of the ended as many are kept as the bound says, and no pages', () => {
  const code = (i: number) => 3000 + i;
  const connection = opened();
  for (let i = 0; i < maxClosedRecords + 10; i++) {
    const one = { ...connection, frames: 0, ending: undefined, endpoint: { ...connection.endpoint! } };
    receive(one, closeFrame(code(i)));
    recordClosed(one);
    const page = { ...connection, ending: undefined };
    noteLost({ ...page, bytesIn: 0 }, undefined);
    recordClosed(page);
  }
  const all = findClosed(server.closedConnections, connection.id);
  assert.equal(all.length, maxClosedRecords);
  assert.deepEqual(
    all.map(ended => ended.code),
    Array.from({ length: maxClosedRecords }, (_, i) => code(maxClosedRecords + 9 - i)),
  );
  assert.deepEqual(timeless(all[0]!.frames), [
    `< close, 2 bytes: ${code(maxClosedRecords + 9)} (a private code of the application) [final, masked]`,
    `> close, 2 bytes: ${code(maxClosedRecords + 9)} (a private code of the application) [final]`,
  ]);
  assert.equal(
    timeless(all.at(-1)!.frames)[0],
    `< close, 2 bytes: ${code(10)} (a code of a library or framework, registered with IANA) [final, masked]`,
  );
});
