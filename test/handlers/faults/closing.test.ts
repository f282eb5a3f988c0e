/** Faults of the closing handshake, and of the end of TCP. */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { closingFaults } from '../../../src/handlers/faults/closing.ts';
import { closeFrame, frame, opcode } from '../../support/rawFrame.ts';
import { type ServerProcess, startServer } from '../../support/serverProcess.ts';
import { connectForFaults, type FaultClient } from './faultClient.ts';

const sent = (code: number, payload: string | Uint8Array) => frame(code, payload, { key: null });
const closeOf = (code: number, reason: string | Uint8Array = '') =>
  sent(opcode.close, Buffer.concat([Buffer.of(code >> 8, code & 0xff), Buffer.from(reason)]));
const echoed = sent(opcode.text, 'one');
const after1000 = closeOf(1000);

/** The output after the echo of the first message, for faults that close the connection. */
const closes: Readonly<Record<string, Buffer>> = {
  close: closeOf(1000),
  'close=1011': closeOf(1011),
  'close=4999&reason=by,%20by': closeOf(4999, 'by, by'),
  'close=1005': closeOf(1005),
  'close=0&reason=0': closeOf(0, '0'),
  'close=65535': closeOf(65_535),
  'close-one-byte': sent(opcode.close, Buffer.of(3)),
  'close-bad-reason': closeOf(1000, Buffer.from('bad\xff', 'latin1')),
  // data-after-close sees the frame of close, in any order of the words.
  'data-after-close&close=1001': Buffer.concat([closeOf(1001), sent(opcode.text, 'data-after-close')]),
};
/** The answer to the client's close frame, for faults that change it. */
const answers: Readonly<Record<string, Buffer>> = {
  'late-close-answer=20ms': after1000,
  'data-after-close': Buffer.concat([after1000, sent(opcode.text, 'data-after-close')]),
  'no-close-answer': Buffer.alloc(0),
};
const apart = ['reset', 'fin', 'half-close'];

let server: ServerProcess;
before(async () => {
  server = await startServer('--faults', '--close-timeout', '100ms', '--log-level', 'debug');
});
after(() => server.kill());

/** Connects with a fault, and acts after the echo of the first message. `rest` returns the bytes after that echo. */
async function withFault(
  query: string,
  act: (client: FaultClient, rest: () => Buffer) => Promise<void>,
): Promise<void> {
  const client = await connectForFaults(server.port, `/faulty?${query}`);
  client.say('one');
  const start = await client.untilSize(echoed.length);
  assert.deepEqual(start.subarray(0, echoed.length), echoed);
  await act(client, () => client.body().subarray(echoed.length));
  client.destroy();
}

describe('a fault of closing', () => {
  for (const [query, frames] of Object.entries(closes)) {
    test(`${query} closes after the first message, then sends nothing, and ends TCP after the answer`, () =>
      withFault(query, async (client, rest) => {
        client.say('two');
        await client.untilSize(echoed.length + frames.length);
        client.say('three');
        client.socket.write(closeFrame(1000));
        assert.equal(await client.ended, 'FIN');
        assert.deepEqual(rest(), frames);
      }));
  }

  for (const [query, frames] of Object.entries(answers)) {
    test(`${query} acts on the answer to a close frame`, () =>
      withFault(query, async (client, rest) => {
        client.socket.write(closeFrame(1000));
        await client.ended;
        assert.deepEqual(rest(), frames);
      }));
  }

  test('no-close-answer keeps TCP open until --close-timeout', () =>
    withFault('no-close-answer', async client => {
      client.socket.write(closeFrame(1000));
      await client.ended;
      const { aftermath } = await server.untilLogged(
        entry => String(entry['why']).startsWith('the client closed it') && entry['aftermath'] !== undefined,
      );
      assert.match(String(aftermath), /within 100ms \(--close-timeout\)/);
    }));

  test('fin ends TCP without a close frame, and the server reads no further messages', () =>
    withFault('fin', async (client, rest) => {
      assert.equal(await client.ended, 'FIN');
      client.say('not read');
      client.socket.end();
      const { messagesIn } = await server.untilLogged(({ why }) => why === 'the fault fin ended it');
      assert.equal(messagesIn, 1);
      assert.equal(rest().length, 0);
    }));

  test('half-close ends one direction, and the server keeps reading the other', () =>
    withFault('half-close', async (client, rest) => {
      assert.equal(await client.ended, 'FIN');
      client.say('still read');
      client.socket.end(closeFrame(4321));
      await server.untilLogged(
        ({ event, code, messagesIn }) => event === 'closed' && code === 4321 && messagesIn === 2,
      );
      assert.equal(rest().length, 0);
    }));

  test('always has a test here', () => {
    const tested = [...Object.keys(closes), ...Object.keys(answers)].map(query => query.split(/[=&]/)[0]!);
    assert.deepEqual(
      closingFaults.map(({ name }) => name).sort(),
      [...new Set([...tested, ...apart])].sort(),
    );
  });
});

test('the log names the fault that closed the connection, however quickly the client answers', () =>
  withFault('close=4111', async client => {
    await client.untilSize(echoed.length + closeOf(4111).length);
    client.socket.write(closeFrame(4111));
    const { by, why } = await server.untilLogged(({ event, code }) => event === 'closed' && code === 4111);
    assert.equal(by, 'server');
    assert.match(String(why), /the fault close=4111 closed it/);
  }));
