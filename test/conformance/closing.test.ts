/** Group 7, and how the TCP connection ends. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { after, before, describe, test } from 'node:test';
import { connectRaw, connectTcp, handshakeRequest } from '../support/rawClient.ts';
import { closeFrame, closePayload, frame, opcode } from '../support/rawFrame.ts';
import { type ServerProcess, startServer } from '../support/serverProcess.ts';
import {
  answer,
  assertEnd,
  assertFailed,
  assertFrame,
  assertUnharmed,
  type Case,
  runCases,
} from './runCases.ts';

const { continuation, text, binary, close, ping } = opcode;
const normal = closePayload(1000);
const hello = frame(text, 'Hello, world!');
const large = Buffer.alloc(256 * 1024, 'BAsd7&jh23');

const sequences: Case[] = [
  {
    id: '7.1.1',
    does: 'echoes a message before it answers the close frame behind it',
    sends: [hello, closeFrame(1000)],
    answers: [answer(text, 'Hello, world!')],
    closesWith: normal,
  },
  {
    id: '7.1.2',
    does: 'sends one close frame in answer to two',
    sends: [closeFrame(1000), closeFrame(1000)],
    closesWith: normal,
  },
  {
    id: '7.1.2a',
    does: 'answers the first of two different close frames',
    sends: [closeFrame(1001), closeFrame(1000, 'too late')],
    closesWith: closePayload(1001),
  },
  {
    id: '7.1.3',
    does: 'answers no ping behind a close frame',
    sends: [closeFrame(1000), frame(ping, 'ping')],
    closesWith: normal,
  },
  {
    id: '7.1.4',
    does: 'echoes no text behind a close frame',
    sends: [closeFrame(1000), hello],
    closesWith: normal,
  },
  {
    id: '7.1.5',
    does: 'discards a fragmented message that a close frame interrupts',
    sends: [frame(text, 'fragment1', { fin: false }), closeFrame(1000), frame(continuation, 'fragment2')],
    closesWith: normal,
  },
  {
    id: '7.1.6',
    does: 'echoes 256 KiB before it answers the close frame behind them',
    sends: [frame(text, large), closeFrame(1000), frame(ping, 'ping')],
    answers: [answer(text, large)],
    closesWith: normal,
  },
  {
    id: '7.1.7',
    does: 'echoes 8 MiB in 32 messages before it answers the close frame behind them',
    sends: [...Array.from({ length: 32 }, () => frame(binary, large)), closeFrame(3000), frame(ping, 'ping')],
    answers: Array.from({ length: 32 }, () => answer(binary, large)),
    closesWith: closePayload(3000),
  },
  {
    id: '7.1.8',
    does: 'ignores violations behind a close frame',
    sends: [closeFrame(1000), frame(3, 'reserved'), frame(text, Buffer.from([0xff]))],
    closesWith: normal,
  },
  {
    id: '7.3.1',
    does: 'answers an empty close frame with an empty one',
    sends: [closeFrame()],
    closesWith: Buffer.alloc(0),
  },
  {
    id: '7.3.2',
    does: 'refuses a close frame with half a code',
    sends: [frame(close, 'a')],
    failsWith: 1002,
  },
  {
    id: '7.3.3',
    does: 'answers a close frame without a reason',
    sends: [closeFrame(1000)],
    closesWith: normal,
  },
  {
    id: '7.3.4',
    does: 'answers a close frame with a reason',
    sends: [closeFrame(1000, 'Hello World!')],
    closesWith: normal,
  },
  {
    id: '7.3.5',
    does: 'answers a close frame with a reason of 123 bytes',
    sends: [closeFrame(1000, '*'.repeat(123))],
    closesWith: normal,
  },
  {
    id: '7.3.6',
    does: 'refuses a close frame with a reason of 124 bytes',
    sends: [closeFrame(1000, '*'.repeat(124))],
    failsWith: 1002,
  },
  {
    id: '7.3.7',
    does: 'refuses a fragmented close frame',
    sends: [frame(close, normal, { fin: false })],
    failsWith: 1002,
  },
  {
    id: '7.3.8',
    does: 'answers a close frame that arrives byte by byte',
    sends: [closeFrame(4999, 'Hello World!')],
    chopped: 1,
    closesWith: closePayload(4999),
  },
  {
    id: '7.5.1',
    does: 'refuses a reason that is not UTF-8',
    sends: [closeFrame(1000, Buffer.from('cebae1bdb9eda080656469746564', 'hex'))],
    failsWith: 1007,
  },
  {
    id: '7.5.2',
    does: 'refuses a reason that ends inside a character',
    sends: [closeFrame(1000, Buffer.from('cebae1', 'hex'))],
    failsWith: 1007,
  },
];

const validCodes = [
  1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3999, 4000, 4999,
];
const invalidCodes = [0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65_535];

runCases('7 closing', [
  ...sequences,
  ...validCodes.map(
    (code): Case => ({
      id: `7.7.${code}`,
      does: `echoes close code ${code}`,
      sends: [closeFrame(code)],
      closesWith: closePayload(code),
    }),
  ),
  ...invalidCodes.flatMap((code): Case[] => [
    {
      id: `7.9.${code}`,
      does: `refuses close code ${code}`,
      sends: [closeFrame(code)],
      failsWith: 1002,
    },
    {
      id: `7.9.${code}r`,
      does: `refuses close code ${code} with a reason`,
      sends: [closeFrame(code, 'a reason')],
      failsWith: 1002,
    },
  ]),
]);

// Without timeouts, so that nothing but the closing handshake ends a connection.
describe('7 the end of the TCP connection', { concurrency: 4, timeout: 60_000 }, () => {
  let server: ServerProcess;
  before(async () => {
    server = await startServer('--close-timeout', '0', '--ping-interval', '0');
  });
  after(() => assertUnharmed(server));

  const connect = () => connectRaw(server.port, { path: '/echo' });

  test('the server ends TCP first after the closing handshake', async () => {
    const client = await connect();
    client.send(closeFrame(1000));
    assertFrame('closing', await client.nextFrame(), answer(close, normal));
    // The client has sent no FIN when the server's arrives.
    assert.equal(await client.ended, 'FIN');
    assert.equal(client.socket.writable, true);
    await client.end();
  });

  test('the server ends TCP first after it has failed the connection', async () => {
    const client = await connect();
    client.send(frame(3));
    assertFailed('violation', await client.nextFrame(), 1002);
    assert.equal(await client.ended, 'FIN');
    assert.equal(client.socket.writable, true);
    await client.end();
  });

  const violations: readonly (readonly [what: string, bytes: Buffer, code: number])[] = [
    ['a reserved opcode', frame(3), 1002],
    ['text that is not UTF-8', frame(text, Buffer.from([0xff])), 1007],
    ['a frame that is too large', frame(binary, '', { announcedLength: 2 ** 40 }), 1009],
  ];
  for (const [what, bytes, code] of violations) {
    test(`the client gets the close frame for ${what} although it sends 32 MiB more`, async () => {
      const client = await connect();
      const more = Buffer.alloc(1024 * 1024, 0xaa);
      client.send(bytes, ...Array.from({ length: 32 }, () => more));
      assertFailed(what, await client.nextFrame(), code);
      assert.deepEqual(await client.remainingFrames(), []);
      assert.equal(await client.ended, 'FIN');
      // The server has read everything: a reset could have destroyed the close frame.
      await client.end();
      assert.equal(client.socket.writableLength, 0);
    });
  }

  test('the client gets the server’s close frame although it sends 32 MiB behind its own', async () => {
    const client = await connect();
    const more = frame(binary, Buffer.alloc(1024 * 1024));
    client.send(closeFrame(1000), ...Array.from({ length: 32 }, () => more));
    assertFrame('closing', await client.nextFrame(), answer(close, normal));
    await assertEnd('closing', client);
    assert.equal(client.socket.writableLength, 0);
  });

  test('a client that half-closes without a close frame gets its echoes and the FIN', async () => {
    const client = await connect();
    client.send(hello, frame(binary, large));
    client.socket.end();
    assertFrame('FIN', await client.nextFrame(), answer(text, 'Hello, world!'));
    assertFrame('FIN', await client.nextFrame(), answer(binary, large));
    assert.deepEqual(await client.remainingFrames(), []);
    assert.equal(await client.ended, 'FIN');
    await client.end();
  });

  test('a close frame and the FIN in one packet are answered in order', async () => {
    const client = await connect();
    client.socket.end(Buffer.concat([hello, closeFrame(1001)]));
    assertFrame('FIN', await client.nextFrame(), answer(text, 'Hello, world!'));
    assertFrame('FIN', await client.nextFrame(), answer(close, closePayload(1001)));
    await assertEnd('FIN', client);
  });

  test('the handshake, a message, a close frame and the FIN in one packet are answered in order', async () => {
    const socket = await connectTcp(server.port);
    const request = Buffer.from(handshakeRequest({ path: '/echo' }));
    socket.end(Buffer.concat([request, hello, closeFrame(1001)]));
    const chunks: Buffer[] = [];
    socket.on('data', chunk => chunks.push(chunk));
    await once(socket, 'end');
    const all = Buffer.concat(chunks);
    const answers = all.subarray(all.indexOf('\r\n\r\n') + 4);
    const due = [
      frame(text, 'Hello, world!', { key: null }),
      frame(close, closePayload(1001), { key: null }),
    ];
    assert.deepEqual(answers, Buffer.concat(due));
  });

  test('a client that resets its connection affects no other connection', async () => {
    const [broken, other] = await Promise.all([connect(), connect()]);
    broken.send(frame(binary, large), frame(text, 'cut', { announcedLength: 1000 }));
    broken.socket.resetAndDestroy();
    other.send(hello);
    assertFrame('reset', await other.nextFrame(), answer(text, 'Hello, world!'));
    other.send(closeFrame(1000));
    assertFrame('reset', await other.nextFrame(), answer(close, normal));
    await assertEnd('reset', other);
  });
});
