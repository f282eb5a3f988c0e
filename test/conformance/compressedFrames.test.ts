/** RFC 7692 §7.2: compressed frames, valid ones (with the examples of §7.2.3) and invalid ones. */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { after, before, describe, test } from 'node:test';
import { constants, deflateRawSync, inflateRawSync } from 'node:zlib';
import { connectRaw, tryRaw } from '../support/rawClient.ts';
import { closeFrame, closePayload, frame, opcode } from '../support/rawFrame.ts';
import { type ServerProcess, startServer } from '../support/serverProcess.ts';
import { answer, assertEnd, assertFrame, assertUnharmed, type Case, runCases, show } from './runCases.ts';

const { continuation, text, binary, ping, pong, close } = opcode;
const rsv1 = 4;
const hex = (digits: string) => Buffer.from(digits.replaceAll(' ', ''), 'hex');
const hello = hex('f2 48 cd c9 c9 07 00');
const emptyBlock = hex('00 00 ff ff');

function deflated(payload: string | Buffer): Buffer {
  const bytes = deflateRawSync(payload, { finishFlush: constants.Z_SYNC_FLUSH });
  return bytes.subarray(0, bytes.length - emptyBlock.length);
}

type Row = Pick<Case, 'id' | 'does' | 'sends' | 'answers' | 'failsWith'>;

const accepted: Row[] = [
  {
    id: '7.2.3.1',
    does: 'inflates one block',
    sends: [frame(text, hello, { rsv: rsv1 })],
    answers: [answer(text, 'Hello')],
  },
  {
    id: '7.2.3.1f',
    does: 'inflates one block in two fragments, of which only the first has RSV1',
    sends: [
      frame(text, hello.subarray(0, 3), { rsv: rsv1, fin: false }),
      frame(continuation, hello.subarray(3)),
    ],
    answers: [answer(text, 'Hello')],
  },
  {
    id: '7.2.3.1p',
    does: 'answers a ping between two fragments of a compressed message',
    sends: [
      frame(text, hello.subarray(0, 3), { rsv: rsv1, fin: false }),
      frame(ping, 'between'),
      frame(continuation, hello.subarray(3), { fin: false }),
      frame(continuation),
    ],
    answers: [answer(pong, 'between'), answer(text, 'Hello')],
  },
  {
    id: '7.2.3.3',
    does: 'inflates a stored block',
    sends: [frame(text, hex('00 05 00 fa ff 48 65 6c 6c 6f 00'), { rsv: rsv1 })],
    answers: [answer(text, 'Hello')],
  },
  {
    id: '7.2.3.4',
    does: 'inflates a block that is marked as the last',
    sends: [frame(text, hex('f3 48 cd c9 c9 07 00 00'), { rsv: rsv1 })],
    answers: [answer(text, 'Hello')],
  },
  {
    id: '7.2.3.5',
    does: 'inflates two blocks in one message',
    sends: [frame(text, hex('f2 48 05 00 00 00 ff ff ca c9 c9 07 00'), { rsv: rsv1 })],
    answers: [answer(text, 'Hello')],
  },
  {
    id: '7.2.3.6',
    does: 'inflates an empty message',
    sends: [frame(text, hex('00'), { rsv: rsv1 }), frame(binary, hex('02 00'), { rsv: rsv1 })],
    answers: [answer(text), answer(binary)],
  },
  {
    id: '12.x.1',
    does: 'echoes uncompressed messages between compressed ones',
    sends: [
      frame(text, hello, { rsv: rsv1 }),
      frame(text, 'plain'),
      frame(binary, hello),
      frame(text, hello, { rsv: rsv1 }),
    ],
    answers: [answer(text, 'Hello'), answer(text, 'plain'), answer(binary, hello), answer(text, 'Hello')],
  },
  {
    id: '12.x.2',
    does: 'inflates a text whose characters are split across fragments',
    sends: [...deflated('κόσμε')].map((_, at, all) =>
      frame(at === 0 ? text : continuation, deflated('κόσμε').subarray(at, at + 1), {
        rsv: at === 0 ? rsv1 : 0,
        fin: at === all.length - 1,
      }),
    ),
    answers: [answer(text, 'κόσμε')],
  },
];

const refused: Row[] = [
  {
    id: '12.x.3',
    does: 'refuses RSV1 on a continuation frame',
    sends: [
      frame(text, hello.subarray(0, 3), { rsv: rsv1, fin: false }),
      frame(continuation, hello.subarray(3), { rsv: rsv1 }),
    ],
    failsWith: 1002,
  },
  {
    id: '12.x.4',
    does: 'refuses RSV1 on a ping',
    sends: [frame(ping, 'ping', { rsv: rsv1 })],
    failsWith: 1002,
  },
  {
    id: '12.x.5',
    does: 'refuses RSV1 on a close frame',
    sends: [frame(close, closePayload(1000), { rsv: rsv1 })],
    failsWith: 1002,
  },
  {
    id: '12.x.6',
    does: 'refuses RSV2 together with RSV1',
    sends: [frame(text, hello, { rsv: rsv1 | 2 })],
    failsWith: 1002,
  },
  {
    id: '12.x.7',
    does: 'refuses data that is not DEFLATE',
    sends: [frame(binary, Buffer.alloc(100, 0xff), { rsv: rsv1 })],
    failsWith: 1007,
  },
  {
    id: '12.x.8',
    does: 'refuses a reference to bytes before the first',
    sends: [frame(binary, hex('02 00 11 00 00'), { rsv: rsv1 })],
    failsWith: 1007,
  },
  {
    id: '12.x.9',
    does: 'refuses compressed text that is not UTF-8',
    sends: [frame(text, deflated(hex('cebae1bdb9eda080')), { rsv: rsv1 })],
    failsWith: 1007,
  },
  {
    id: '12.x.10',
    does: 'refuses a truncated compressed message',
    sends: [frame(text, deflated('Hello world Hello world, this is').subarray(0, 10), { rsv: rsv1 })],
    failsWith: 1007,
  },
  {
    id: '12.x.11',
    does: 'refuses a message that inflates to one byte more than 16 MiB',
    sends: [frame(binary, deflated(Buffer.alloc(2 ** 24 + 1)), { rsv: rsv1 })],
    failsWith: 1009,
  },
  {
    id: '12.x.12',
    does: 'refuses a message that would inflate to 200 MiB',
    sends: [frame(binary, deflated(Buffer.alloc(200 * 2 ** 20)), { rsv: rsv1 })],
    failsWith: 1009,
  },
];

const headers = { 'Sec-WebSocket-Extensions': 'permessage-deflate' };
const cases = [...accepted, ...refused].flatMap((row): Case[] => [
  { ...row, headers },
  ...(row.sends.every(each => each.length < 1000)
    ? [{ ...row, id: `${row.id}c`, does: `${row.does} (sent byte by byte)`, chopped: 1, headers }]
    : []),
]);

runCases('12 compressed frames, with --compress on', cases);
runCases('12 compressed frames, with --compress takeover', cases, '--compress', 'takeover');

describe('12 the largest compressed messages', { timeout: 60_000 }, () => {
  let server: ServerProcess;
  before(async () => {
    server = await startServer();
  });
  after(() => assertUnharmed(server));

  const contents = [
    ['zeroes', Buffer.alloc(2 ** 24), rsv1],
    // The limit applies to the message, not to its compressed bytes, which are more than 16 MiB here. The echo is
    // uncompressed, because compression would only take time.
    ['noise, which compression makes larger', randomBytes(2 ** 24), 0],
  ] as const;
  for (const [what, payload, rsv] of contents) {
    test(`the server echoes 16 MiB of ${what}`, async () => {
      const client = await connectRaw(server.port, { path: '/echo', headers });
      try {
        client.send(frame(binary, deflated(payload), { rsv: rsv1 }));
        const echo = await client.nextFrame();
        if (echo === undefined) assert.fail('the stream ended before the echo');
        assert.deepEqual([echo.opcode, echo.rsv], [binary, rsv], show(echo));
        const echoed = rsv === rsv1 ? inflate(echo.payload) : echo.payload;
        assert.ok(echoed.equals(payload));
        client.send(closeFrame(1000));
        assertFrame(what, await client.nextFrame(), answer(close, closePayload(1000)));
        await assertEnd(what, client);
      } finally {
        client.destroy();
      }
    });
  }
});

describe('13 the negotiation of compression', { timeout: 60_000 }, () => {
  let server: ServerProcess;
  before(async () => {
    server = await startServer();
  });
  after(() => assertUnharmed(server));

  const declined = [
    'x-webkit-deflate-frame',
    'permessage-deflate; mystery',
    'permessage-deflate; server_no_context_takeover; server_no_context_takeover',
    'permessage-deflate; server_no_context_takeover=1',
    'permessage-deflate; server_max_window_bits',
    'permessage-deflate; server_max_window_bits=7',
    'permessage-deflate; server_max_window_bits=16',
    'permessage-deflate; server_max_window_bits=09',
    'permessage-deflate; client_max_window_bits=7',
    'permessage-bzip2',
  ];
  for (const offer of declined) {
    test(`the server declines "${offer}" and goes on without compression`, async () => {
      const client = await connectRaw(server.port, {
        path: '/echo',
        headers: { 'Sec-WebSocket-Extensions': offer },
      });
      assert.equal(client.headers.get('sec-websocket-extensions'), undefined);
      const payload = Buffer.alloc(4096, 'a');
      client.send(frame(text, payload));
      assertFrame(offer, await client.nextFrame(), answer(text, payload));
      client.send(closeFrame(1000));
      assertFrame(offer, await client.nextFrame(), answer(close, closePayload(1000)));
      await assertEnd(offer, client);
    });
  }

  for (const offer of [
    'permessage-deflate;',
    'permessage-deflate; =9',
    'permessage-deflate; a="',
    ';',
    'a b',
  ]) {
    test(`the server refuses a handshake with the malformed offer "${offer}"`, async () => {
      const client = await tryRaw(server.port, { headers: { 'Sec-WebSocket-Extensions': offer } });
      assert.equal(client.status, 400);
      client.destroy();
    });
  }

  test('the server does not offer compression with --compress off', async () => {
    const without = await startServer('--compress', 'off');
    const client = await connectRaw(without.port, { path: '/echo', headers });
    assert.equal(client.headers.get('sec-websocket-extensions'), undefined);
    client.destroy();
    await assertUnharmed(without);
  });
});

function inflate(payload: Buffer): Buffer {
  return inflateRawSync(Buffer.concat([payload, emptyBlock]), { finishFlush: constants.Z_SYNC_FLUSH });
}
