import assert from 'node:assert/strict';
import { constants } from 'node:os';
import { test } from 'node:test';
import fc from 'fast-check';
import { endConnection } from '../../src/core/close.ts';
import { join, newGroup, publishToGroup, sendToAll, wholeMessage } from '../../src/core/fanout.ts';
import { flush, onWriteComplete } from '../../src/core/flush.ts';
import { scheduleFlush } from '../../src/core/send.ts';
import { type FakeConnection, newFakeServer, openFakeConnection, sendText } from '../support/fakeSocket.ts';
import { frame, opcode } from '../support/rawFrame.ts';

const server = newFakeServer('--max-buffered', '0');
const open = () => openFakeConnection(server, undefined);
const asSent = (text: string) => frame(opcode.text, text, { key: null });

function drain({ connection, socket }: FakeConnection): void {
  if (!socket.isBusy) return;
  socket.drain();
  onWriteComplete(connection, undefined);
}

test('the flush writes to a connection once a turn, however many messages are queued [6.1-9]', () => {
  const { connection, socket } = open();
  for (let i = 0; i < 10; i++) sendText(connection, `message ${i}`);
  assert.equal(socket.writes.length, 0, 'nothing is written before the flush');
  flush(server);
  flush(server);
  assert.equal(socket.writes.length, 1);
  assert.deepEqual(
    socket.written(),
    Buffer.concat(Array.from({ length: 10 }, (_, i) => asSent(`message ${i}`))),
  );
  assert.equal(connection.queue.size, 0);
  assert.equal(connection.bytesOut, socket.written().length);
});

test('the FIN is sent after the queued bytes, and the connection is freed once both directions have ended [7.1.1-1]', () => {
  const { connection, socket } = open();
  socket.isStuck = true;
  sendText(connection, 'last words');
  endConnection(connection);
  flush(server);
  assert.equal(socket.isShutDown, false, 'queued bytes go first');
  socket.isStuck = false;
  drain({ connection, socket });
  flush(server);
  assert.equal(socket.isShutDown, true);
  assert.deepEqual(server.pendingFrees, []);
  connection.hasPeerEnded = true;
  drain({ connection, socket });
  onWriteComplete(connection, undefined);
  flush(server);
  assert.deepEqual(server.pendingFrees.splice(0), [connection]);
});

test('the end of a throttled connection is handled in the next turn, not in the flush', () => {
  const { connection } = open();
  connection.isThrottled = true;
  connection.hasPeerEnded = true;
  connection.handler = {
    name: 'test',
    message() {},
    closed: () => assert.fail('the flush calls no handler'),
  };
  scheduleFlush(connection);
  flush(server);
  assert.deepEqual(server.ready.ended.splice(0), [{ connection, error: undefined }]);
});

test('a failed write ends its connection and no other', () => {
  const [bad, good] = [open(), open()];
  bad.socket.nextError = -constants.errno.EPIPE;
  sendText(bad.connection, 'never sent');
  sendText(good.connection, 'sent');
  flush(server);
  assert.deepEqual(server.ready.ended.splice(0), [{ connection: bad.connection, error: 'EPIPE' }]);
  assert.equal(bad.connection.queue.size, 0);
  assert.deepEqual(good.socket.written(), asSent('sent'));
});

test('a completed write counts as a sign of life', () => {
  const { connection, socket } = open();
  socket.isStuck = true;
  sendText(connection, 'x');
  flush(server);
  (connection.server as { now: number }).now = 777;
  drain({ connection, socket });
  assert.equal(connection.heardAt, 777);
});

test('each connection gets exactly its own bytes in order, however writes stall and drain', () => {
  const count = 4;
  const size = fc.oneof(
    { weight: 8, arbitrary: fc.integer({ min: 0, max: 300 }) },
    { weight: 1, arbitrary: fc.integer({ min: 20_000, max: 300_000 }) },
  );
  const act = fc.oneof(
    { weight: 5, arbitrary: fc.record({ do: fc.constant('send' as const), who: fc.nat(count - 1), size }) },
    { weight: 4, arbitrary: fc.record({ do: fc.constant('broadcast' as const), who: fc.constant(0), size }) },
    { weight: 4, arbitrary: fc.record({ do: fc.constant('publish' as const), who: fc.nat(1), size }) },
    {
      weight: 2,
      arbitrary: fc.record({
        do: fc.constant('stick' as const),
        who: fc.nat(count - 1),
        size: fc.constant(0),
      }),
    },
    {
      weight: 2,
      arbitrary: fc.record({
        do: fc.constant('drain' as const),
        who: fc.nat(count - 1),
        size: fc.constant(0),
      }),
    },
  );
  fc.assert(
    fc.property(fc.array(fc.array(act, { maxLength: 10 }), { maxLength: 30 }), turns => {
      const all = Array.from({ length: count }, open);
      const due: Buffer[][] = all.map(() => []);
      const members = all.map(({ connection }) => connection);
      // The first half of the connections, and the second.
      const groups = [newGroup(), newGroup()];
      members.forEach((connection, i) => {
        join(groups[i < count / 2 ? 0 : 1]!, connection);
      });
      let serial = 0;
      for (const turn of turns) {
        for (const { do: what, who, size } of turn) {
          const one = all[who]!;
          const text = String.fromCharCode(97 + (serial++ % 26)).repeat(size);
          if (what === 'send') {
            sendText(one.connection, text);
            due[who]!.push(asSent(text));
          } else if (what === 'broadcast') {
            sendToAll(members, undefined, { isText: true, bytes: Buffer.from(text), start: 0, end: size });
            for (const bytes of due) bytes.push(asSent(text));
          } else if (what === 'publish') {
            publishToGroup(groups[who]!, wholeMessage(true, Buffer.from(text)));
            for (const bytes of due.slice(who * (count / 2), (who + 1) * (count / 2)))
              bytes.push(asSent(text));
          } else {
            one.socket.isStuck = what === 'stick';
            if (what === 'drain') drain(one);
          }
        }
        flush(server);
      }
      all.forEach((one, i) => {
        one.socket.isStuck = false;
        drain(one);
        flush(server);
        assert.ok(one.socket.written().equals(Buffer.concat(due[i]!)), `connection ${i}`);
        assert.equal(one.connection.queue.size, 0);
      });
    }),
    { seed: 6455, numRuns: 120 },
  );
});
