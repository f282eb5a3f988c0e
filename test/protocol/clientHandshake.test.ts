import assert from 'node:assert/strict';
import { Buffer } from 'node:buffer';
import { describe, test } from 'node:test';
import { CloseCode, ProtocolError } from '../../src/protocol/codes.ts';
import { parseRequestHead, parseResponseHead } from '../../src/protocol/http/head.ts';
import {
  finishHandshake,
  type HandshakeRequest,
  startHandshake,
} from '../../src/protocol/websocket/clientHandshake.ts';
import { acceptHandshake } from '../../src/protocol/websocket/handshake.ts';

/** RFC 6455 §1.3: its key is this, in base64. */
const nonce = Buffer.from('the sample nonce');

const plain: HandshakeRequest = {
  host: 'server.example.com',
  path: '/chat',
  subprotocols: [],
  headers: {},
  origin: undefined,
  compression: 'off',
};

const chat: HandshakeRequest = {
  ...plain,
  subprotocols: ['chat', 'superchat'],
  headers: { Cookie: 'a=b' },
  origin: 'http://example.com',
  compression: 'takeover',
};

describe('startHandshake', () => {
  test('writes the request that RFC 6455 §4.1 demands [4.1-18, 4.1-19, 4.1-20, 4.1-21, 4.1-22, 4.1-23, 4.1-24, 4.1-28, 4.1-29, 4.1-30, 4.1-31, 4.1-33, 4.1-34, 7692-7.1.2.2-1]', () => {
    assert.equal(
      startHandshake(chat, nonce).toString('latin1'),
      [
        'GET /chat HTTP/1.1',
        'Host: server.example.com',
        'Upgrade: websocket',
        'Connection: Upgrade',
        'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==',
        'Sec-WebSocket-Version: 13',
        'Origin: http://example.com',
        'Sec-WebSocket-Protocol: chat, superchat',
        'Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits',
        'Cookie: a=b',
        '\r\n',
      ].join('\r\n'),
    );
    assert.doesNotMatch(startHandshake(plain, nonce).toString('latin1'), /Origin|Protocol|Extensions/);
  });

  const invalid: [name: string, request: Partial<HandshakeRequest>, reason: RegExp][] = [
    ['host', { host: 'a b' }, /not a host/],
    ['path without slash', { path: 'chat' }, /path/],
    ['path with a fragment [3-2]', { path: '/a#b' }, /path/],
    ['path with a line break', { path: '/ HTTP/1.1\r\nA: b' }, /path/],
    ['subprotocol', { subprotocols: ['a b'] }, /subprotocols/],
    ['repeated subprotocol [4.1-32]', { subprotocols: ['a', 'a'] }, /subprotocols/],
    ['header name', { headers: { 'a b': 'c' } }, /"a b"/],
    ['header value', { headers: { a: 'b\r\nc: d' } }, /header a contains/],
    ['header beyond latin1', { headers: { a: '\u0142' } }, /header a contains/],
    ['origin', { origin: 'a\nb' }, /header Origin contains/],
    ['header of our own', { headers: { hOST: 'a' } }, /"hOST"/],
    ['header of the handshake', { headers: { 'Sec-WebSocket-Accept': 'a' } }, /Accept"/],
  ];
  for (const [name, change, reason] of invalid) {
    test(`refuses to write a wrong ${name}`, () => {
      assert.throws(() => startHandshake({ ...plain, ...change }, nonce), {
        name: 'TypeError',
        message: reason,
      });
    });
  }

  test('refuses a nonce that is not 16 bytes [4.1-25]', () => {
    assert.throws(() => startHandshake(plain, new Uint8Array(15)), TypeError);
  });
});

describe('finishHandshake', () => {
  const finish = (lines: readonly string[], request: HandshakeRequest) => {
    const bytes = Buffer.from(`${lines.join('\r\n')}\r\n\r\n`, 'latin1');
    return finishHandshake(parseResponseHead(bytes, 0, bytes.length, Infinity)!.head, request, nonce);
  };
  const status = 'HTTP/1.1 101 Switching Protocols';
  const upgrade = 'Upgrade: websocket';
  const connection = 'Connection: Upgrade';
  const proof = 'Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=';
  const good = [status, upgrade, connection, proof];

  test('agrees', () => {
    assert.deepEqual(finish(good, chat), { subprotocol: undefined, deflate: undefined });
    assert.deepEqual(finish([status, 'upgrade: WebSocket', 'connection: a, UPGRADE', proof], plain), {
      subprotocol: undefined,
      deflate: undefined,
    });
    const full = [
      ...good,
      'Sec-WebSocket-Protocol: superchat',
      'Sec-WebSocket-Extensions: permessage-deflate',
    ];
    assert.equal(finish(full, chat).subprotocol, 'superchat');
    assert.equal(finish(full, chat).deflate?.serverMaxWindowBits, 15);
  });

  test('ignores empty list elements, and fields that hold nothing else', () => {
    const lists = ['upgrade: ,websocket,', 'connection: , upgrade', proof];
    const empty = ['Sec-WebSocket-Protocol:', 'Sec-WebSocket-Extensions: ,'];
    for (const request of [chat, plain]) {
      assert.deepEqual(finish([status, ...lists, ...empty], request), {
        subprotocol: undefined,
        deflate: undefined,
      });
    }
    const full = [
      ...good,
      'Sec-WebSocket-Protocol: superchat,',
      'Sec-WebSocket-Extensions: ,permessage-deflate',
    ];
    assert.equal(finish(full, chat).subprotocol, 'superchat');
    assert.equal(finish(full, chat).deflate?.serverMaxWindowBits, 15);
  });

  test('agrees with our own server', () => {
    for (const compression of ['off', 'on', 'takeover'] as const) {
      const request = { ...chat, compression };
      const sent = startHandshake(request, nonce);
      const policy = { subprotocols: new Set(['superchat']), origins: ['http://example.com'], compression };
      const accepted = acceptHandshake(parseRequestHead(sent, 0, sent.length, Infinity)!.head, policy);
      const answer = parseResponseHead(accepted.response, 0, accepted.response.length, Infinity)!;
      const { subprotocol, deflate } = accepted;
      assert.deepEqual(finishHandshake(answer.head, request, nonce), { subprotocol, deflate });
      assert.equal(subprotocol, 'superchat');
      assert.equal(deflate === undefined, compression === 'off');
    }
  });

  const { ProtocolError: wrong } = CloseCode;
  const refusals: [
    name: string,
    lines: string[],
    code: number,
    reason: RegExp,
    request?: HandshakeRequest,
  ][] = [
    ['403 [4.1-36]', ['HTTP/1.1 403 Forbidden'], 403, /refused: 403 Forbidden$/],
    ['200', ['HTTP/1.1 200'], 200, /refused: 200$/],
    ['HTTP/1.0 [4.1-42]', ['HTTP/1.0 101 A', upgrade, connection, proof], wrong, /HTTP\/1.0/],
    ['no Upgrade [4.1-37]', [status, connection, proof], wrong, /Upgrade is not/],
    ['another Upgrade', [status, 'Upgrade: h2c, websocket', connection, proof], wrong, /Upgrade is not/],
    ['no Connection [4.1-38]', [status, upgrade, proof], wrong, /Connection/],
    ['another Connection', [status, upgrade, 'Connection: close', proof], wrong, /Connection/],
    ['no Accept', [status, upgrade, connection], wrong, /Accept/],
    ['another Accept [4.1-39]', [status, upgrade, connection, proof.replace('s3', 'S3')], wrong, /Accept/],
    ['two Accepts', [...good, proof], wrong, /Accept/],
    ['subprotocol unasked', [...good, 'Sec-WebSocket-Protocol: chat'], wrong, /Protocol/, plain],
    ['another subprotocol [4.1-41]', [...good, 'Sec-WebSocket-Protocol: Chat'], wrong, /Protocol/],
    ['two subprotocols', [...good, 'Sec-WebSocket-Protocol: chat, superchat'], wrong, /Protocol/],
    [
      'extension unasked',
      [...good, 'Sec-WebSocket-Extensions: permessage-deflate'],
      wrong,
      /not offered/,
      plain,
    ],
    ['unknown extension', [...good, 'Sec-WebSocket-Extensions: foo'], wrong, /not offered/],
    ['malformed extension [9.1-1]', [...good, 'Sec-WebSocket-Extensions: ;'], wrong, /malformed/],
  ];
  for (const [name, lines, code, reason, request = chat] of refusals) {
    test(`refuses ${name}`, () => {
      assert.throws(
        () => finish(lines, request),
        error => {
          assert.ok(error instanceof ProtocolError, String(error));
          assert.equal(error.code, code, error.message);
          assert.match(error.message, reason);
          return true;
        },
      );
    });
  }
});
