/** The faulty socket without a network: the pieces it holds, their memory, and their order. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { flush, onWriteComplete } from '../../../src/core/flush.ts';
import { updateHeld } from '../../../src/core/memory.ts';
import { sendBytes } from '../../../src/core/send.ts';
import { readFaults, setFaults } from '../../../src/handlers/faults/faults.ts';
import type { FaultySocket } from '../../../src/handlers/faults/faultySocket.ts';
import { maxFaultHeld, maxFaults } from '../../../src/protocol/faultLimits.ts';
import { backpressureThreshold } from '../../../src/protocol/limits.ts';
import type { Connection } from '../../../src/records/records.ts';
import { type FakeSocket, newFakeServer, openFakeConnection, sendText } from '../../support/fakeSocket.ts';

interface Faulty {
  readonly connection: Connection;
  /** The connection's own socket. */
  readonly inner: FakeSocket;
  readonly faulty: FaultySocket;
  send(...texts: string[]): void;
  set(...words: string[]): void;
}

function open(...words: string[]): Faulty {
  const server = newFakeServer();
  const { connection, socket } = openFakeConnection(server, undefined);
  const set = (...faults: string[]) => void setFaults(connection, readFaults(faults));
  set(...words);
  const send = (...texts: string[]) => {
    for (const text of texts) sendText(connection, text);
    flush(server);
  };
  return { connection, inner: socket, faulty: connection.socket as FaultySocket, send, set };
}

/** The payloads of short text frames. */
function texts(bytes: Buffer): string[] {
  const found: string[] = [];
  for (let at = 0; at < bytes.length; at += 2 + bytes[at + 1]!)
    found.push(bytes.toString('latin1', at + 2, at + 2 + bytes[at + 1]!));
  return found;
}

describe('a faulty socket', () => {
  test('writes the output of a turn in one write', () => {
    const { inner, send } = open('drop', 'times=1');
    send('a', 'b', 'c');
    assert.deepEqual(inner.writes.map(texts), [['b', 'c']]);
  });

  test('holds at most maxFaultHeld before backpressure begins, and counts all of it as memory', () => {
    const { connection, inner, faulty, send, set } = open('stall');
    const long = 'x'.repeat(maxFaultHeld / 4);
    for (let count = 1; !faulty.isBusy; count++) {
      send(long);
      assert.ok(count <= 5);
      assert.ok(connection.held >= count * long.length);
    }
    assert.equal(inner.writes.length, 0);
    // Now the server's own queue grows.
    send('y'.repeat(backpressureThreshold + 1));
    assert.ok(connection.queue.size > backpressureThreshold);
    assert.ok(connection.isThrottled);
    set('off');
    assert.equal(faulty.isBusy, false);
    flush(connection.server);
    const size = inner.written().length;
    assert.ok(size > 4 * long.length + backpressureThreshold, `${size}`);
    assert.equal(inner.written().at(-1), 'y'.charCodeAt(0));
    assert.equal(connection.queue.size, 0);
    updateHeld(connection);
    assert.ok(connection.held < long.length);
  });

  test('discards the pieces it holds when memory is short', () => {
    const { inner, faulty, send, set } = open('stall');
    send('lost');
    faulty.discard();
    assert.equal(faulty.held(), 0);
    set('off');
    send('kept');
    assert.deepEqual(texts(inner.written()), ['kept']);
  });

  test('writes nothing to a busy socket, and the waiting pieces when the socket is ready', () => {
    const { connection, inner, faulty, send, set } = open('double');
    inner.isStuck = true;
    send('a');
    assert.ok(faulty.isBusy);
    send('b');
    set('unasked-pong', 'times=1');
    assert.equal(inner.writes.length, 0);
    inner.isStuck = false;
    inner.drain();
    onWriteComplete(connection, undefined);
    flush(connection.server);
    assert.deepEqual(texts(inner.written()), ['a', 'a', 'unasked-pong', 'b']);
    assert.equal(connection.queue.size, 0);
  });

  test('can replace a busy socket', () => {
    const server = newFakeServer();
    const { connection, socket } = openFakeConnection(server, undefined);
    socket.isStuck = true;
    sendText(connection, 'a');
    flush(server);
    setFaults(connection, readFaults(['double']));
    sendText(connection, 'b');
    flush(server);
    socket.isStuck = false;
    socket.drain();
    onWriteComplete(connection, undefined);
    flush(server);
    assert.deepEqual(texts(socket.written()), ['a', 'b', 'b']);
  });

  test('passes on incomplete and invalid frames unchanged', () => {
    for (const bytes of ['81', '817e00', '817e000161', '8105', '81056869', '817f8000000000000000']) {
      const { connection, inner } = open('double');
      sendText(connection, 'a');
      sendBytes(connection, Buffer.from(bytes, 'hex'));
      flush(connection.server);
      assert.equal(inner.written().toString('hex'), `810161810161${bytes}`);
    }
  });

  test('drops only its own connection if a fault throws', () => {
    const { connection, faulty, send } = open('double');
    const take = () => {
      throw new Error('a bug');
    };
    const { settings } = readFaults(['double']);
    const broken = settings.map(setting => ({
      ...setting,
      kind: { ...setting.kind, make: () => ({ take }) },
    }));
    faulty.setFaults({ seed: 1, settings: broken }, false);
    send('a');
    assert.equal(connection.phase, 'gone');
  });

  test('reports a write that failed', () => {
    const { connection, inner, send } = open('double');
    inner.nextError = -104;
    send('a');
    assert.deepEqual(
      connection.server.ready.ended.map(({ error }) => error),
      ['ECONNRESET'],
    );
  });

  test('applies faults in the order of their stages, not of the words', () => {
    const { inner, send } = open('data-after-close', 'close', 'after=1');
    send('a');
    assert.deepEqual(texts(inner.written()), ['a', '\x03\xe8', 'data-after-close']);
  });

  test('makes the same decisions with the same seed', () => {
    const run = (seed: number) => {
      const { inner, send } = open('drop', 'chance=0.5', `seed=${seed}`);
      for (let at = 0; at < 64; at++) send(String(at));
      return texts(inner.written()).join(' ');
    };
    assert.equal(run(1), run(1));
    assert.notEqual(run(1), run(2));
    const count = run(1).split(' ').length;
    assert.ok(count > 16 && count < 48, `${count}`);
  });

  test('acts at most `times` times, and after `after` messages', () => {
    const { inner, send } = open('drop', 'after=2', 'times=3');
    send('a', 'b', 'c', 'd', 'e', 'f');
    assert.deepEqual(texts(inner.written()), ['a', 'b', 'f']);
  });

  test('remembers only the last faults for why', () => {
    const { faulty, send, set } = open('drop', 'seed=1');
    send('a');
    for (let at = 0; at < 2 * maxFaults; at++) set('double', `seed=${at}`);
    assert.equal(faulty.faults().length, maxFaults);
    assert.equal(faulty.faults().at(-1), `double seed=${2 * maxFaults - 1}: has not acted`);
  });

  test('discards output after its end', () => {
    const { inner, faulty, send } = open('half-close', 'after=1');
    send('a', 'b');
    send('c');
    assert.ok(inner.isShutDown);
    assert.deepEqual(texts(inner.written()), ['a']);
    assert.equal(faulty.held(), 0);
    assert.equal(faulty.isBusy, false);
  });

  test('copies nothing while its faults are off', () => {
    const { inner, faulty, send, set } = open('double');
    set('off');
    send('a');
    assert.deepEqual(texts(inner.written()), ['a']);
    assert.equal(faulty.held(), 0);
  });

  test('clears its timers when the connection ends', t => {
    t.mock.timers.enable({ apis: ['setTimeout'] });
    const { inner, faulty, send } = open('delay=1h');
    send('a');
    faulty.destroy();
    t.mock.timers.tick(3_600_001);
    assert.equal(inner.writes.length, 0);
    assert.ok(inner.isDestroyed);
  });
});
