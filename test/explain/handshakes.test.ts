/** Explanations of handshakes, written by hand from RFC 6455 §4. */
import assert from 'node:assert/strict';
import { Buffer } from 'node:buffer';
import { describe, test } from 'node:test';
import { explain } from '../../src/explain/explain.ts';
import type { HandshakeExplanation } from '../../src/explain/records.ts';

/** RFC 6455 §1.3: the key of the example, and its accept value. */
const key = 'dGhlIHNhbXBsZSBub25jZQ==';
const accept = 's3pPLMBiTxaQ9kYGzzhZRbK+xOo=';

const usualRequest: Readonly<Record<string, string>> = {
  Host: 'server.example.com',
  Upgrade: 'websocket',
  Connection: 'Upgrade',
  'Sec-WebSocket-Key': key,
  'Sec-WebSocket-Version': '13',
};
const usualAnswer: Readonly<Record<string, string>> = {
  Upgrade: 'websocket',
  Connection: 'Upgrade',
  'Sec-WebSocket-Accept': accept,
};

type Fields = Readonly<Record<string, string | null>>;

function head(firstLine: string, usual: Fields, changed: Fields): Buffer {
  const fields = Object.entries({ ...usual, ...changed }).filter(([, value]) => value !== null);
  return Buffer.from(
    `${[firstLine, ...fields.map(([name, value]) => `${name}: ${value}`)].join('\r\n')}\r\n\r\n`,
  );
}

const request = (changed: Fields = {}, line = 'GET /chat HTTP/1.1') => head(line, usualRequest, changed);
const answer = (changed: Fields = {}, line = 'HTTP/1.1 101 Switching Protocols') =>
  head(line, usualAnswer, changed);

interface Expected {
  /** Meanings by the start of the line. */
  readonly says?: Readonly<Record<string, RegExp>>;
  /** The broken rules, in order. */
  readonly refused?: readonly (readonly [rule: RegExp, section: string])[];
}

/** The last handshake is explained. */
const cases: Readonly<
  Record<string, readonly [client: Buffer, server: Buffer | undefined, expected: Expected]>
> = {
  'a request whose lines end with LF alone': [
    Buffer.from(request().toString().replaceAll('\r', '')),
    undefined,
    {
      says: { 'GET /chat': /asks for the resource \/chat/, 'Sec-WebSocket-Key': /16 random bytes/ },
      refused: [[/each line must end with CR LF, not with LF alone/, 'RFC 9112 §2.1']],
    },
  ],
  'the request of the RFC': [
    request({ Origin: 'http://example.com', 'Sec-WebSocket-Protocol': 'chat, superchat' }),
    undefined,
    {
      says: {
        GET: /^asks for the resource \/chat$/,
        Host: /the server that the client wants to reach/,
        'Sec-WebSocket-Key': /^16 random bytes in base64/,
        Origin: /http:\/\/example\.com/,
        'Sec-WebSocket-Protocol': /^offers chat, superchat, in order/,
      },
    },
  ],
  'a query': [
    request({}, 'GET /chat?room=1 HTTP/1.1'),
    undefined,
    { says: { GET: /with the query room=1$/ } },
  ],
  'a field of HTTP': [
    request({ 'User-Agent': 'x' }),
    undefined,
    { says: { 'User-Agent': /^does not belong to the handshake$/ } },
  ],
  'Connection with several words': [request({ Connection: 'keep-alive, Upgrade' }), undefined, {}],
  'an offer of compression': [
    request({ 'Sec-WebSocket-Extensions': 'permessage-deflate; client_max_window_bits' }),
    undefined,
    { says: { 'Sec-WebSocket-Extensions': /^offers permessage-deflate$/ } },
  ],
  POST: [
    request({}, 'POST /chat HTTP/1.1'),
    undefined,
    { refused: [[/method must be GET, not POST/, '§4.1, item 2']] },
  ],
  'HTTP/1.0': [
    request({}, 'GET /chat HTTP/1.0'),
    undefined,
    { refused: [[/HTTP\/1\.1 or later/, '§4.1, item 2']] },
  ],
  'no Host': [request({ Host: null }), undefined, { refused: [[/Host is missing/, '§4.1, item 4']] }],
  'no Upgrade': [
    request({ Upgrade: null }),
    undefined,
    { refused: [[/Upgrade is missing/, '§4.1, item 5']] },
  ],
  'another Upgrade': [
    request({ Upgrade: 'h2c' }),
    undefined,
    { refused: [[/the word websocket/, '§4.1, item 5']] },
  ],
  'no Upgrade in Connection': [
    request({ Connection: 'keep-alive' }),
    undefined,
    { refused: [[/the word Upgrade/, '§4.1, item 6']] },
  ],
  'no key': [
    request({ 'Sec-WebSocket-Key': null }),
    undefined,
    { refused: [[/Key is missing/, '§4.1, item 7']] },
  ],
  'a key of 15 bytes': [
    request({ 'Sec-WebSocket-Key': 'dGhlIHNhbXBsZSBub25j' }),
    undefined,
    {
      says: { 'Sec-WebSocket-Key': /^15 random bytes/ },
      refused: [[/must be 16 bytes in base64/, '§4.1, item 7']],
    },
  ],
  'version 8': [
    request({ 'Sec-WebSocket-Version': '8' }),
    undefined,
    { refused: [[/must be 13/, '§4.1, item 9']] },
  ],
  'no version': [
    request({ 'Sec-WebSocket-Version': null }),
    undefined,
    { refused: [[/Version is missing/, '§4.1, item 9']] },
  ],
  'a subprotocol twice': [
    request({ 'Sec-WebSocket-Protocol': 'chat, chat' }),
    undefined,
    { refused: [[/distinct tokens/, '§4.1, item 10']] },
  ],
  'a malformed extension': [
    request({ 'Sec-WebSocket-Extensions': 'permessage-deflate; =' }),
    undefined,
    { refused: [[/malformed/, '§9.1']] },
  ],
  'two faults': [
    request({ Upgrade: null, 'Sec-WebSocket-Version': '7' }),
    undefined,
    {
      refused: [
        [/must be 13/, '§4.1, item 9'],
        [/Upgrade is missing/, '§4.1, item 5'],
      ],
    },
  ],
  'the answer of the RFC': [
    request({ 'Sec-WebSocket-Protocol': 'chat, superchat' }),
    answer({ 'Sec-WebSocket-Protocol': 'chat' }),
    { says: { HTTP: /frames follow this head/, 'Sec-WebSocket-Protocol': /^chooses chat$/ } },
  ],
  'a wrong accept value': [
    request(),
    answer({ 'Sec-WebSocket-Accept': 'AAAAAAAAAAAAAAAAAAAAAAAAAAA=' }),
    { refused: [[/must be s3pPLMBiTxaQ9kYGzzhZRbK\+xOo=/, '§4.2.2, item 5.4']] },
  ],
  'no accept value': [
    request(),
    answer({ 'Sec-WebSocket-Accept': null }),
    { refused: [[/Accept is missing/, '§4.2.2, item 5.4']] },
  ],
  'a subprotocol that was not offered': [
    request(),
    answer({ 'Sec-WebSocket-Protocol': 'soap' }),
    { refused: [[/did not offer the subprotocol soap/, '§4.2.2, item 5.5']] },
  ],
  'an extension that was not offered': [
    request(),
    answer({ 'Sec-WebSocket-Extensions': 'permessage-deflate' }),
    { refused: [[/did not offer the extension permessage-deflate/, '§9.1']] },
  ],
  'status 403': [
    request(),
    answer({}, 'HTTP/1.1 403 Forbidden'),
    { says: { HTTP: /^no WebSocket/ }, refused: [[/not 403/, '§4.1']] },
  ],
  'no Upgrade in the answer': [
    request(),
    answer({ Upgrade: null }),
    { refused: [[/Upgrade is missing/, '§4.2.2, item 5.2']] },
  ],
};

function explained(client: Buffer, server: Buffer | undefined): HandshakeExplanation {
  const answered = server === undefined ? [] : [{ sender: 'server', bytes: server } as const];
  const all = explain([{ sender: 'client', bytes: client }, ...answered], { isCompressed: false });
  const last = all.filter(one => one.kind === 'handshake').at(-1);
  return last!;
}

describe('explain describes each line of a handshake, and names broken rules', () => {
  for (const [name, [client, server, { says = {}, refused = [] }]] of Object.entries(cases)) {
    test(name, () => {
      const { lines, breaches, size } = explained(client, server);
      assert.equal(size, (server ?? client).length);
      for (const [start, meaning] of Object.entries(says))
        assert.match(lines.find(({ line }) => line.startsWith(start))?.meaning ?? '', meaning);
      assert.equal(breaches.length, refused.length, JSON.stringify(breaches));
      for (const [i, [rule, section]] of refused.entries()) {
        assert.match(breaches[i]!.rule, rule);
        assert.equal(breaches[i]!.section, section.startsWith('RFC') ? section : `RFC 6455 ${section}`);
      }
    });
  }
});

test('explain computes the accept value of the RFC step by step', () => {
  assert.deepEqual(explained(request(), undefined).accept, [
    `key             ${key}`,
    `+ GUID          ${key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`,
    'SHA-1           b37a4f2cc0624f1690f64606cf385945b2bec4ea',
    `base64          ${accept}`,
  ]);
});

test('explain inflates messages after a handshake that agreed to compression', () => {
  const offered = request({ 'Sec-WebSocket-Extensions': 'permessage-deflate' });
  const agreed = answer({ 'Sec-WebSocket-Extensions': 'permessage-deflate' });
  const hello = Buffer.from('c107f248cdc9c90700', 'hex');
  const again = Buffer.from('c105f200110000', 'hex');
  const all = explain(
    [
      { sender: 'client', bytes: offered },
      { sender: 'server', bytes: agreed },
      { sender: 'server', bytes: Buffer.concat([hello, again]) },
    ],
    { isCompressed: false },
  );
  const contents = all.map(one => (one.kind === 'frame' ? one.content : one.kind));
  assert.deepEqual(contents.slice(0, 2), ['handshake', 'handshake']);
  for (const content of contents.slice(2)) assert.match(content!, /: "Hello"$/);
  assert.equal(contents.length, 4);
});

test('explain does not read frames after an answer that refuses the handshake', () => {
  const all = explain(
    [
      { sender: 'client', bytes: request() },
      {
        sender: 'server',
        bytes: Buffer.concat([answer({}, 'HTTP/1.1 404 Not Found'), Buffer.from('nothing here')]),
      },
    ],
    { isCompressed: false },
  );
  assert.deepEqual(
    all.map(({ kind }) => kind),
    ['handshake', 'handshake', 'ignored'],
  );
});
