/** Time faults: the output is exact, and none of it leaves too early. How late it leaves depends on the machine. */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { timeFaults } from '../../../src/handlers/faults/time.ts';
import { closeFrame, frame, opcode } from '../../support/rawFrame.ts';
import { type ServerProcess, startServer } from '../../support/serverProcess.ts';
import { connectForFaults } from './faultClient.ts';

const text = (payload: string) => frame(opcode.text, payload, { key: null });
const closed = frame(opcode.close, Buffer.from([3, 232]), { key: null });

let server: ServerProcess;
before(async () => {
  server = await startServer('--faults', '--compress', 'off');
});
after(() => server.kill());

test('every time fault has a test here', () => {
  assert.deepEqual(timeFaults.map(({ name }) => name).sort(), ['bandwidth', 'delay', 'drip', 'stall']);
});

describe('a time fault', () => {
  test('delay sends everything in order, and nothing too early', async () => {
    const client = await connectForFaults(
      server.port,
      `/faulty?delay=${encodeURIComponent('100ms±50ms')}&seed=3`,
    );
    client.say('one');
    await client.untilSize(text('one').length);
    const startedAt = performance.now();
    client.say('two');
    client.socket.write(frame(opcode.ping, 'ping'));
    client.say('three');
    client.socket.write(closeFrame(1000));
    assert.equal(await client.ended, 'FIN');
    assert.ok(performance.now() - startedAt >= 49);
    const pong = frame(opcode.pong, 'ping', { key: null });
    // The server answers control frames before the messages of the same turn, so the pong may be anywhere.
    assert.deepEqual(
      client.body().length,
      ['one', 'two', 'three'].map(text).join('').length + pong.length + 4,
    );
    assert.deepEqual(client.body().subarray(-4), closed);
    const places = ['one', 'two', 'three'].map(one => client.body().indexOf(text(one)));
    assert.deepEqual(
      places,
      places.toSorted((a, b) => a - b),
    );
    client.destroy();
  });

  test('delay holds back the close frame, too', async () => {
    const client = await connectForFaults(server.port, '/faulty?after=0&delay=50ms');
    const startedAt = performance.now();
    client.socket.write(closeFrame(1000));
    assert.equal(await client.ended, 'FIN');
    assert.ok(performance.now() - startedAt >= 50);
    assert.deepEqual(client.body(), closed);
    client.destroy();
  });

  test('drip sends byte by byte', async () => {
    const sizes: number[] = [];
    const client = await connectForFaults(server.port, '/faulty?drip=2ms', {
      onPiece: ({ length }) => sizes.push(length),
    });
    client.say('one');
    await client.untilSize(text('one').length);
    const before = sizes.length;
    client.say('a message in drops');
    client.socket.write(closeFrame(1000));
    assert.equal(await client.ended, 'FIN');
    assert.deepEqual(client.body(), Buffer.concat([text('one'), text('a message in drops'), closed]));
    // A busy client reads several bytes at once.
    assert.ok(sizes.length - before > 3, `${sizes.slice(before)}`);
    client.destroy();
  });

  test('bandwidth sends everything, at most at its rate', async () => {
    const client = await connectForFaults(server.port, '/faulty?bandwidth=100KB');
    client.say('one');
    await client.untilSize(text('one').length);
    const startedAt = performance.now();
    const long = 'x'.repeat(30_000);
    client.say(long);
    client.socket.write(closeFrame(1000));
    assert.equal(await client.ended, 'FIN');
    assert.ok(performance.now() - startedAt >= 250);
    assert.deepEqual(client.body(), Buffer.concat([text('one'), text(long), closed]));
    client.destroy();
  });

  test('stall sends nothing until its time is over, even if the client sends messages', async () => {
    const client = await connectForFaults(server.port, '/faulty?stall=100ms');
    client.say('one');
    await client.untilSize(text('one').length);
    const startedAt = performance.now();
    client.say('two');
    client.socket.write(closeFrame(1000));
    assert.equal(await client.ended, 'FIN');
    assert.ok(performance.now() - startedAt >= 99);
    assert.deepEqual(client.body(), Buffer.concat([text('one'), text('two'), closed]));
    client.destroy();
  });

  test('stall without a time holds a bounded number of bytes, then backpressure stops the client', async () => {
    const client = await connectForFaults(server.port, '/faulty?stall');
    client.say('one');
    await client.untilSize(text('one').length);
    const message = frame(opcode.binary, Buffer.alloc(1024 * 1024));
    let isStopped = false;
    for (let sent = 0; sent < 64 && !isStopped; sent++) isStopped = !client.socket.write(message);
    assert.ok(isStopped);
    // Meanwhile the server serves other clients.
    const other = await connectForFaults(server.port, '/echo');
    other.say('one');
    assert.deepEqual(await other.untilSize(5), text('one'));
    assert.deepEqual(client.body(), text('one'));
    other.destroy();
    client.destroy();
  });
});
