/** Ping faults and order faults, byte for byte. */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { orderFaults } from '../../../src/handlers/faults/order.ts';
import { pingFaults } from '../../../src/handlers/faults/pings.ts';
import { closeFrame, FrameReader, frame, opcode } from '../../support/rawFrame.ts';
import { type ServerProcess, startServer } from '../../support/serverProcess.ts';
import { connectForFaults, type FaultClient } from './faultClient.ts';

const text = (payload: string) => frame(opcode.text, payload, { key: null });
const pong = (payload: string) => frame(opcode.pong, payload, { key: null });
const closed = frame(opcode.close, Buffer.from([3, 232]), { key: null });

let server: ServerProcess;
before(async () => {
  server = await startServer('--faults', '--compress', 'off');
});
after(() => server.kill());

/** Sends each text, or a ping for the text `ping`, then closes. @returns the server's output, and how TCP ended */
async function converse(
  query: string,
  ...texts: string[]
): Promise<{ body: Buffer; client: FaultClient; end: string }> {
  const client = await connectForFaults(server.port, `/faulty?${query}`);
  for (const one of texts) {
    if (one === 'ping') client.socket.write(frame(opcode.ping, one));
    else client.say(one);
  }
  client.socket.write(closeFrame(1000));
  const end = await client.ended;
  client.destroy();
  return { body: client.body(), client, end };
}

test('every ping fault and order fault has a test here', () => {
  assert.deepEqual([...pingFaults, ...orderFaults].map(({ name }) => name).sort(), [
    'cut',
    'double',
    'drop',
    'late-pong',
    'no-pong',
    'ping-flood',
    'swap',
    'unasked-pong',
    'wrong-pong',
  ]);
});

describe('a ping fault', () => {
  test('no-pong answers no ping after the first message', async () => {
    const { body } = await converse('no-pong', 'ping', 'one', 'ping', 'two');
    assert.deepEqual(body, Buffer.concat([pong('ping'), text('one'), text('two'), closed]));
  });

  test('wrong-pong answers with another payload', async () => {
    const { body } = await converse('wrong-pong', 'one', 'ping', 'two');
    assert.deepEqual(body, Buffer.concat([text('one'), pong('wrong-pong'), text('two'), closed]));
  });

  test('late-pong answers after later messages, but never after a close frame', async () => {
    const client = await connectForFaults(server.port, '/faulty?after=0&late-pong=50ms');
    client.socket.write(Buffer.concat([frame(opcode.ping, 'first'), frame(opcode.ping, 'second')]));
    client.say('one');
    const due = Buffer.concat([text('one'), pong('first'), pong('second')]);
    assert.deepEqual(await client.untilSize(due.length), due);
    client.destroy();
    const { body } = await converse('after=0&late-pong=50ms', 'ping', 'one');
    assert.deepEqual(body, Buffer.concat([text('one'), closed]));
  });

  test('unasked-pong sends a pong after each message', async () => {
    const { body } = await converse('unasked-pong', 'one', 'two');
    const unasked = pong('unasked-pong');
    assert.deepEqual(body, Buffer.concat([text('one'), unasked, text('two'), unasked, closed]));
  });

  test('ping-flood sends exactly this many pings, all different', async () => {
    const client = await connectForFaults(server.port, '/faulty?ping-flood=1000');
    client.say('one');
    const due = Array.from({ length: 1000 }, (_, at) =>
      frame(opcode.ping, `ping-flood ${at + 1}`, { key: null }),
    );
    const all = Buffer.concat([text('one'), ...due]);
    assert.deepEqual(await client.untilSize(all.length), all);
    client.socket.write(closeFrame(1000));
    assert.equal(await client.ended, 'FIN');
    assert.deepEqual(client.body(), Buffer.concat([all, closed]));
    client.destroy();
  });

  test('ping-flood ends with the closing handshake', async () => {
    const client = await connectForFaults(server.port, '/faulty?ping-flood=100000');
    client.say('one');
    await client.untilSize(100);
    client.socket.write(closeFrame(1000));
    assert.equal(await client.ended, 'FIN');
    assert.deepEqual(client.body().subarray(-4), closed);
    client.destroy();
  });
});

describe('an order fault', () => {
  test('drop loses the messages after the first', async () => {
    const { body } = await converse('drop', 'one', 'two', 'ping', 'three');
    assert.deepEqual(body, Buffer.concat([text('one'), pong('ping'), closed]));
  });

  test('double sends each message twice', async () => {
    const { body } = await converse('double', 'one', 'two', 'three');
    const all = ['one', 'two', 'two', 'three', 'three'].map(text);
    assert.deepEqual(body, Buffer.concat([...all, closed]));
  });

  test('swap exchanges each two messages, and sends the last one before the close frame', async () => {
    const { body } = await converse('swap', 'one', 'two', 'three', 'four');
    const all = ['one', 'three', 'two', 'four'].map(text);
    assert.deepEqual(body, Buffer.concat([...all, closed]));
  });

  test('swap does not hold back pongs', async () => {
    const { body } = await converse('after=0&swap', 'one', 'ping', 'two');
    assert.deepEqual(body, Buffer.concat([pong('ping'), text('two'), text('one'), closed]));
  });

  test('swap with times=1 sends one message after the next', async () => {
    const { body } = await converse('swap&times=1', 'one', 'two', 'three', 'four');
    const all = ['one', 'three', 'two', 'four'].map(text);
    assert.deepEqual(body, Buffer.concat([...all, closed]));
  });

  for (const [query, how] of [
    ['cut', 'FIN'],
    ['cut=reset', 'ECONNRESET'],
  ] as const) {
    test(`${query} sends half of a message, then ends TCP with ${how}`, async () => {
      const client = await connectForFaults(server.port, `/faulty?${query}`);
      client.say('one');
      const first = text('one');
      await client.untilSize(first.length);
      client.say('a longer one');
      assert.equal(await client.ended, how);
      // A reset may destroy earlier output.
      const due = Buffer.concat([first, text('a longer one').subarray(0, 7)]);
      if (how === 'FIN') assert.deepEqual(client.body(), due);
      client.destroy();
    });
  }

  test('drop with chance=0.5 loses about half of the messages, and delivers the others whole and in order', async () => {
    const texts = Array.from({ length: 400 }, (_, at) => `message ${at}`);
    const { body } = await converse('drop&chance=0.5&after=0&seed=5', ...texts);
    const reader = new FrameReader();
    reader.add(body);
    const heard: string[] = [];
    for (let next = reader.next(); next?.opcode === opcode.text; next = reader.next())
      heard.push(next.payload.toString());
    assert.ok(heard.length > 150 && heard.length < 250, `${heard.length} messages`);
    assert.deepEqual(
      heard,
      texts.filter(one => heard.includes(one)),
    );
  });
});
