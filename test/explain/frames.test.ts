/** Explanations of frames, written by hand from RFC 6455 §5 and RFC 7692 §7. */
import assert from 'node:assert/strict';
import { Buffer } from 'node:buffer';
import { describe, test } from 'node:test';
import { explain } from '../../src/explain/explain.ts';
import type { Explanation, FrameExplanation } from '../../src/explain/records.ts';
import { newDeflateContext } from '../../src/protocol/websocket/deflate.ts';
import {
  newEndpoint,
  nextEvent,
  ProtocolEvent,
  releaseMessage,
} from '../../src/protocol/websocket/endpoint.ts';

interface Expected {
  /** Of the last frame. */
  readonly summary?: string;
  readonly content?: string | RegExp;
  readonly refused?: readonly [rule: RegExp, section: string, at: number];
  readonly missing?: number;
  /** Values by field. */
  readonly fields?: Readonly<Record<string, string>>;
}

type Case = readonly [hex: string, expected: Expected];

const zeros = (count: number) => '00'.repeat(count);
const ones = (count: number) => '01'.repeat(count);
/** "a" `count` times. */
const text = (count: number) => '61'.repeat(count);

/** From a client: the key 00000000 leaves the payload as it is. */
const fromClient: readonly Case[] = [
  // RFC 6455 §5.7, the examples.
  [
    '818537fa213d7f9f4d5158',
    {
      summary: 'text, 5 bytes, masked',
      content: 'text message: "Hello"',
      fields: { 'Masking-key': '37fa213d', 'Payload, unmasked': '48656c6c6f' },
    },
  ],
  ['8a8537fa213d7f9f4d5158', { summary: 'pong, 5 bytes, masked', content: '48656c6c6f' }],
  ['898537fa213d7f9f4d5158', { summary: 'ping, 5 bytes, masked', content: '48656c6c6f' }],
  ['818000000000', { summary: 'text, 0 bytes, masked', content: 'text message: ""' }],
  ['81810000000041', { summary: 'text, 1 byte, masked', content: 'text message: "A"' }],
  ['8181ffffffffbe', { content: 'text message: "A"', fields: { 'Payload, unmasked': '41' } }],
  ['8282010203040103', { content: 'binary message: 0001' }],
  ['82830102030402000e', { content: 'binary message: 03020d' }],
  ['8280deadbeef', { summary: 'binary, 0 bytes, masked', content: 'binary message: empty' }],
  ['888000000000', { summary: 'close, 0 bytes, masked', content: /^no code: the receiver reports 1005$/ }],
  ['88820000000003e8', { content: /^1000 \(normal closure\)/, fields: { 'Close code': '1000' } }],
  ['88850000000003e9627965', { content: /^1001 \(going away\) "bye"/, fields: { Reason: '"bye"' } }],
  ['8882000000000bb8', { content: /^3000 \(a code of a library/ }],
  ['888200000000128f', { content: /^4751 \(a private code/ }],
  ['810548656c6c6f', { refused: [/^a client must mask its frames$/, 'RFC 6455 §5.1', 1] }],
  ['8900', { refused: [/^a client must mask/, 'RFC 6455 §5.1', 1] }],
  ['8200', { refused: [/^a client must mask/, 'RFC 6455 §5.1', 1] }],
  ['81', { missing: 1, summary: 'text, a part of its header' }],
  ['8185', { missing: 4 }],
  ['818537fa', { missing: 2 }],
  ['818537fa213d', { missing: 5, summary: 'text, 5 bytes, masked' }],
  ['818537fa213d7f9f', { missing: 3, fields: { 'Payload, unmasked': '4865' } }],
  ['81fe', { missing: 2 }],
  ['81fe00', { missing: 1 }],
  ['81ff', { missing: 8 }],
  ['82fe007e00000000', { missing: 126, fields: { 'Extended payload length (16)': '126' } }],
  [
    `82fe007e00000000${ones(126)}`,
    { summary: 'binary, 126 bytes, masked', content: `binary message: ${ones(16)}…` },
  ],
  ['82fe007d', { refused: [/fits into 7 bits/, 'RFC 6455 §5.2', 3] }],
  ['82fe0000', { refused: [/fits into 7 bits/, 'RFC 6455 §5.2', 3] }],
  ['82ff000000000000ffff', { refused: [/fits into 16 bits/, 'RFC 6455 §5.2', 7] }],
  ['82ff000000000000', { refused: [/fits into 16 bits/, 'RFC 6455 §5.2', 7] }],
  ['82ff80', { refused: [/most significant bit/, 'RFC 6455 §5.2', 2] }],
  ['82ffffffffffffffffff', { refused: [/most significant bit/, 'RFC 6455 §5.2', 2] }],
  ['82ff7fffffffffffffff00000000', { fields: { 'Extended payload length (64)': '9223372036854775807' } }],
  ['c180', { refused: [/^RSV1 must be 0/, 'RFC 6455 §5.2', 0] }],
  ['a180', { refused: [/^RSV2 and RSV3/, 'RFC 6455 §5.2', 0] }],
  ['9180', { refused: [/^RSV2 and RSV3/, 'RFC 6455 §5.2', 0] }],
  ['f180', { refused: [/^RSV2 and RSV3/, 'RFC 6455 §5.2', 0] }],
  ['b980', { refused: [/^RSV2 and RSV3/, 'RFC 6455 §5.2', 0] }],
  [
    '8380',
    {
      summary: 'opcode 0x3, a part of its header',
      refused: [/^the opcode 0x3 is reserved$/, 'RFC 6455 §5.2', 0],
    },
  ],
  ['8480', { refused: [/opcode 0x4/, 'RFC 6455 §5.2', 0] }],
  ['8580', { refused: [/opcode 0x5/, 'RFC 6455 §5.2', 0] }],
  ['8680', { refused: [/opcode 0x6/, 'RFC 6455 §5.2', 0] }],
  ['8780', { refused: [/opcode 0x7/, 'RFC 6455 §5.2', 0] }],
  ['8b80', { refused: [/opcode 0xb/, 'RFC 6455 §5.2', 0] }],
  ['8c80', { refused: [/opcode 0xc/, 'RFC 6455 §5.2', 0] }],
  ['8d80', { refused: [/opcode 0xd/, 'RFC 6455 §5.2', 0] }],
  ['8e80', { refused: [/opcode 0xe/, 'RFC 6455 §5.2', 0] }],
  ['8f80', { refused: [/opcode 0xf/, 'RFC 6455 §5.2', 0] }],
  ['0980', { refused: [/^a control frame must not be fragmented$/, 'RFC 6455 §5.5', 0] }],
  ['0a80', { refused: [/^a control frame must not be fragmented$/, 'RFC 6455 §5.5', 0] }],
  ['0880', { refused: [/^a control frame must not be fragmented$/, 'RFC 6455 §5.5', 0] }],
  ['89fe', { refused: [/at most 125 bytes/, 'RFC 6455 §5.5', 1] }],
  ['8aff', { refused: [/at most 125 bytes/, 'RFC 6455 §5.5', 1] }],
  ['88fe', { refused: [/at most 125 bytes/, 'RFC 6455 §5.5', 1] }],
  [`89fd00000000${text(125)}`, { summary: 'ping, 125 bytes, masked', content: `${text(16)}…` }],
  ['808000000000', { refused: [/needs a message to continue/, 'RFC 6455 §5.4', 0] }],
  ['008000000000', { refused: [/needs a message to continue/, 'RFC 6455 §5.4', 0] }],
  ['0181000000004881820000000069', { refused: [/^a message must be finished/, 'RFC 6455 §5.4', 7] }],
  ['01810000000048 0181', { refused: [/^a message must be finished/, 'RFC 6455 §5.4', 7] }],
  ['01810000000048 8281', { refused: [/^a message must be finished/, 'RFC 6455 §5.4', 7] }],
  [
    '01810000000048 808100000000 69',
    { summary: 'continuation, 1 byte, masked', content: 'text message: "Hi"' },
  ],
  ['01810000000048 898000000000 808100000000 69', { content: 'text message: "Hi"' }],
  ['02810000000001 00810000000002 80810000000003', { content: 'binary message: 010203' }],
  ['01810000000048', { summary: 'text, 1 byte, masked, more frames follow' }],
  // RFC 6455 §8.1 and RFC 3629 §4.
  ['818200000000c3a9', { content: 'text message: "é"' }],
  ['818300000000e282ac', { content: 'text message: "€"' }],
  ['818400000000f09f9880', { content: 'text message: "😀"' }],
  ['0181000000 00e2 8082 00000000 82ac', { content: 'text message: "€"' }],
  ['81810000000080', { refused: [/the byte 80 is invalid here/, 'RFC 6455 §8.1', 6] }],
  ['818200000000c0af', { refused: [/the byte c0/, 'RFC 6455 §8.1', 6] }],
  ['818300000000eda080', { refused: [/the byte a0/, 'RFC 6455 §8.1', 7] }],
  ['818400000000f4908080', { refused: [/the byte 90/, 'RFC 6455 §8.1', 7] }],
  ['818300000000e08080', { refused: [/the byte 80/, 'RFC 6455 §8.1', 7] }],
  ['8182000000006180', { refused: [/the byte 80/, 'RFC 6455 §8.1', 7] }],
  ['81840000000061ff', { refused: [/the byte ff/, 'RFC 6455 §8.1', 7] }],
  ['818200000000e282', { refused: [/must not end inside a character/, 'RFC 6455 §8.1', 7] }],
  ['0181000000 00e2 8081 00000000 41', { refused: [/the byte 41/, 'RFC 6455 §8.1', 13] }],
  // RFC 6455 §5.5.1 and §7.4.
  ['88810000000003', { refused: [/must be empty or begin with a code of 2 bytes/, 'RFC 6455 §5.5.1', 1] }],
  ['88820000000003ec', { refused: [/code 1004/, 'RFC 6455 §7.4.1', 7] }],
  ['88820000000003ed', { refused: [/code 1005/, 'RFC 6455 §7.4.1', 7] }],
  ['88820000000003ee', { refused: [/code 1006/, 'RFC 6455 §7.4.1', 7] }],
  ['88820000000003f7', { refused: [/code 1015/, 'RFC 6455 §7.4.1', 7] }],
  ['88820000000003f8', { refused: [/code 1016/, 'RFC 6455 §7.4.2', 7] }],
  ['888200000000044c', { refused: [/code 1100/, 'RFC 6455 §7.4.2', 7] }],
  ['88820000000003e7', { refused: [/code 999/, 'RFC 6455 §7.4.2', 7] }],
  ['8882000000000000', { refused: [/code 0/, 'RFC 6455 §7.4.2', 7] }],
  ['888200000000 1388', { refused: [/code 5000/, 'RFC 6455 §7.4.2', 7] }],
  ['888200000000 1387', { content: /^4999 \(a private code of the application\)/ }],
  ['888400000000 03e8 c328', { refused: [/^the reason must be UTF-8$/, 'RFC 6455 §5.5.1', 9] }],
  ['888300000000 03e8 c3', { refused: [/^the reason must not end inside/, 'RFC 6455 §5.5.1', 8] }],
];

/** From a server, whose frames are not masked. */
const fromServer: readonly Case[] = [
  ['810548656c6c6f', { summary: 'text, 5 bytes', content: 'text message: "Hello"', fields: { MASK: '0' } }],
  ['010348656c80026c6f', { content: 'text message: "Hello"' }],
  ['890548656c6c6f', { content: '48656c6c6f' }],
  [`827e0100${ones(256)}`, { summary: 'binary, 256 bytes' }],
  [
    `827f0000000000010000${zeros(65536)}`,
    { summary: 'binary, 65536 bytes', fields: { 'Extended payload length (64)': '65536' } },
  ],
  ['818537fa213d7f9f4d5158', { refused: [/^a server must not mask its frames$/, 'RFC 6455 §5.1', 1] }],
  ['8980', { refused: [/^a server must not mask/, 'RFC 6455 §5.1', 1] }],
  ['880203e8', { content: /^1000/ }],
];

/** From a server, with permessage-deflate: RFC 7692 §7.2.3. */
const compressed: readonly Case[] = [
  [
    'c107f248cdc9c90700',
    {
      summary: 'text, 7 bytes, compressed',
      content: /^text message, 7 bytes of DEFLATE data, 5 inflated .*: "Hello"$/,
    },
  ],
  ['4103f248cd8004c9c90700', { content: /5 inflated .*: "Hello"$/ }],
  // Two messages that share the window.
  ['c107f248cdc9c90700 c105f200110000', { content: /5 bytes of DEFLATE data, 5 inflated .*: "Hello"$/ }],
  // No compression, in a stored block.
  ['c10b000500faff48656c6c6f00', { content: /11 bytes of DEFLATE data, 5 inflated .*: "Hello"$/ }],
  // A block with BFINAL, and the empty block after it.
  ['c108f348cdc9c9070000', { content: /8 bytes of DEFLATE data, 5 inflated .*: "Hello"$/ }],
  // Two blocks.
  ['c10df248050000 00ffffcac9c90700', { content: /13 bytes of DEFLATE data, 5 inflated .*: "Hello"$/ }],
  ['810548656c6c6f', { content: 'text message: "Hello"' }],
  ['c900', { refused: [/^a control frame must not be compressed$/, 'RFC 7692 §6.1', 0] }],
  ['4103f248cdc004c9c90700', { refused: [/only in the first frame of a message/, 'RFC 7692 §6.1', 5] }],
  ['c103ffffff', { refused: [/valid DEFLATE data/, 'RFC 7692 §7.2.2', 4] }],
  ['a100', { refused: [/^RSV2 and RSV3/, 'RFC 6455 §5.2', 0] }],
];

function explained(hex: string, sender: 'client' | 'server', isCompressed: boolean): Explanation[] {
  const bytes = Buffer.from(hex.replaceAll(' ', ''), 'hex');
  return explain([{ sender, bytes }], { isCompressed });
}

function lastFrame(all: readonly Explanation[]): FrameExplanation {
  const frames = all.filter(one => one.kind === 'frame');
  return frames.at(-1)!;
}

const groups = {
  'a frame of a client': { sender: 'client', cases: fromClient, isCompressed: false },
  'a frame of a server': { sender: 'server', cases: fromServer, isCompressed: false },
  'a frame with permessage-deflate': { sender: 'server', cases: compressed, isCompressed: true },
} as const;

for (const [name, { sender, cases, isCompressed }] of Object.entries(groups)) {
  describe(`explain describes ${name}, and names the byte that proves a broken rule`, () => {
    for (const [hex, expected] of cases) {
      const shown = hex.length > 60 ? `${hex.slice(0, 60)}…` : hex;
      test(shown, () => {
        const { summary, content, breach, missing, fields } = lastFrame(explained(hex, sender, isCompressed));
        if (expected.summary !== undefined) assert.equal(summary, expected.summary);
        if (expected.content instanceof RegExp) assert.match(content ?? '', expected.content);
        else if (expected.content !== undefined) assert.equal(content, expected.content);
        if (expected.refused === undefined) assert.equal(breach, undefined, breach?.rule);
        else {
          const [rule, section, at] = expected.refused;
          assert.match(breach?.rule ?? '', rule);
          assert.deepEqual([breach?.section, breach?.at], [section, at]);
        }
        if (expected.missing !== undefined) assert.equal(missing, expected.missing);
        for (const [field, value] of Object.entries(expected.fields ?? {}))
          assert.equal(fields.find(one => one.name === field)?.value, value, field);
      });
    }
  });
}

/** Whether the server's own reader, or the client's, fails the connection. */
function isRefused(hex: string, sender: 'client' | 'server', isCompressed: boolean): boolean {
  const bytes = Buffer.from(hex.replaceAll(' ', ''), 'hex');
  const contexts = isCompressed ? [newDeflateContext(true, 15), newDeflateContext(true, 15)] : [];
  const endpoint = newEndpoint(sender === 'client' ? 'server' : 'client', 1 << 30, ...contexts);
  const input = { bytes, start: 0, end: bytes.length };
  for (;;) {
    const event = nextEvent(endpoint, input);
    if (event === ProtocolEvent.Failed) return true;
    if (event === ProtocolEvent.Close || event === ProtocolEvent.NeedMore) return false;
    if (event === ProtocolEvent.Message) releaseMessage();
  }
}

describe('explain and the readers of the server and the client refuse the same frames', () => {
  /** The readers refuse these when the whole header has arrived, and a length of 2^63 - 1 because of their limit. */
  const isEarly = new Set([
    ...['82ff000000000000', '82ff80', '01810000000048 0181', '01810000000048 8281'],
    '82ff7fffffffffffffff00000000',
  ]);
  for (const { sender, cases, isCompressed } of Object.values(groups))
    for (const [hex, { refused }] of cases)
      if (!isEarly.has(hex))
        test(`${sender}: ${hex.slice(0, 60)}`, () => {
          assert.equal(isRefused(hex, sender, isCompressed), refused !== undefined);
        });
});

describe('explain takes linear time', () => {
  const limit = { timeout: 20_000 };
  const count = 30_000;

  test('for many frames that arrive one by one', limit, () => {
    const bytes = Buffer.concat([Buffer.from('827e03e8', 'hex'), Buffer.alloc(1000)]);
    const chunks = Array.from({ length: count }, () => ({ sender: 'server' as const, bytes }));
    const all = explain(chunks, { isCompressed: false });
    assert.deepEqual([all.length, all.at(-1)?.at], [count, (count - 1) * bytes.length]);
  });

  test('for a message in many fragments', limit, () => {
    const fragments = `0101 61${'000161'.repeat(count)}8000`;
    assert.match(lastFrame(explained(fragments, 'server', false)).content ?? '', /^text message: "a{60}" …$/);
  });
});
