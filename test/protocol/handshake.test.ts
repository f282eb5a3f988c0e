import assert from 'node:assert/strict';
import { Buffer } from 'node:buffer';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { ProtocolError } from '../../src/protocol/codes.ts';
import { type Head, parseRequestHead } from '../../src/protocol/http/head.ts';
import {
  acceptHandshake,
  acceptValueFor,
  asksForWebSocket,
  type HandshakePolicy,
} from '../../src/protocol/websocket/handshake.ts';

const policy: HandshakePolicy = {
  subprotocols: new Set(['chat', 'superchat']),
  origins: [],
  compression: 'off',
};

/** RFC 6455 §1.3's request, by lines to change; a name with undefined leaves the line out, a list repeats it. */
const rfcFields = {
  Host: 'server.example.com',
  Upgrade: 'websocket',
  Connection: 'Upgrade',
  'Sec-WebSocket-Key': 'dGhlIHNhbXBsZSBub25jZQ==',
  'Sec-WebSocket-Version': '13',
};

type Changes = Record<string, string | string[] | undefined>;

function request(changes: Changes = {}, line = 'GET /chat?room=1 HTTP/1.1'): Head {
  let text = `${line}\r\n`;
  for (const [name, values] of Object.entries({ ...rfcFields, ...changes })) {
    for (const value of values === undefined ? [] : [values].flat()) text += `${name}: ${value}\r\n`;
  }
  const bytes = Buffer.from(`${text}\r\n`, 'latin1');
  return parseRequestHead(bytes, 0, bytes.length, 16 * 1024)!.head;
}

const accept = (changes: Changes = {}, its: Partial<HandshakePolicy> = {}) =>
  acceptHandshake(request(changes), { ...policy, ...its });

test("acceptValueFor computes the accept key of the RFC's example (§1.3) [4.2.2-a]", () => {
  assert.equal(acceptValueFor('dGhlIHNhbXBsZSBub25jZQ=='), 's3pPLMBiTxaQ9kYGzzhZRbK+xOo=');
});

describe('acceptHandshake', () => {
  test("answers the RFC's example (§1.3) [4.2.2-12]", () => {
    const { response, ...rest } = accept({
      'Sec-WebSocket-Protocol': 'chat, superchat',
      Origin: 'http://example.com',
    });
    assert.equal(
      response.toString('latin1'),
      [
        'HTTP/1.1 101 Switching Protocols',
        'Upgrade: websocket',
        'Connection: Upgrade',
        'Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=',
        'Sec-WebSocket-Protocol: chat',
        '\r\n',
      ].join('\r\n'),
    );
    assert.deepEqual(rest, { path: '/chat', query: 'room=1', subprotocol: 'chat', deflate: undefined });
  });

  const variants: [name: string, changes: Changes][] = [
    ['Firefox', { Connection: 'keep-alive, Upgrade' }],
    ['any case', { Upgrade: 'WebSocket', Connection: 'UPGRADE' }],
    ['repeated Connection', { Connection: ['keep-alive', 'upgrade'] }],
    ['several upgrades', { Upgrade: 'h2c, websocket' }],
    ['empty body', { 'Content-Length': '0' }],
    ['key with bits behind the last', { 'Sec-WebSocket-Key': 'dGhlIHNhbXBsZSBub25jZR==' }],
    ['any origin', { Origin: 'null' }],
    // RFC 9110 §5.6.1.2: a recipient ignores empty list elements; a field with nothing else counts as absent.
    ['empty elements in Connection and Upgrade', { Connection: ', Upgrade,', Upgrade: 'websocket, ,' }],
    ['empty lists', { 'Sec-WebSocket-Protocol': '', 'Sec-WebSocket-Extensions': ', ,' }],
  ];
  for (const [name, changes] of variants) {
    test(`accepts ${name}`, () => {
      assert.match(accept(changes).response.toString(), /^HTTP\/1.1 101 [\s\S]*\r\n\r\n$/);
    });
  }

  const webSocket = { Upgrade: 'websocket', Connection: 'Upgrade' };
  const version = { ...webSocket, 'Sec-WebSocket-Version': '13' };
  const refusals: [name: string, head: Head, status: number, reason: RegExp, headers?: object][] = [
    ['HTTP/1.0 [4.1-19]', request({}, 'GET / HTTP/1.0'), 505, /needs HTTP\/1.1/],
    ['POST [4.1-19, 4.2.2-1]', request({}, 'POST / HTTP/1.1'), 405, /not a POST/, { Allow: 'GET' }],
    ['HEAD', request({}, 'HEAD / HTTP/1.1'), 405, /not a HEAD/, { Allow: 'GET' }],
    ['a body', request({ 'Content-Length': '3' }), 400, /no body/],
    ['a chunked body', request({ 'Transfer-Encoding': 'chunked' }), 400, /no body/],
    ['no Upgrade [4.1-22]', request({ Upgrade: undefined }), 426, /Upgrade: websocket/, webSocket],
    ['another Upgrade', request({ Upgrade: 'h2c' }), 426, /Upgrade: websocket/, webSocket],
    ['half an Upgrade', request({ Upgrade: 'websockets' }), 426, /Upgrade: websocket/, webSocket],
    ['no Connection [4.1-23]', request({ Connection: undefined }), 400, /Connection/],
    ['another Connection', request({ Connection: 'keep-alive' }), 400, /Connection/],
    ['no version [4.1-29]', request({ 'Sec-WebSocket-Version': undefined }), 426, /not 13/, version],
    ['version 8 [4.1-30, 4.2.2-6, 4.4-1]', request({ 'Sec-WebSocket-Version': '8' }), 426, /not 13/, version],
    ['version 013', request({ 'Sec-WebSocket-Version': '013' }), 426, /not 13/, version],
    ['two versions', request({ 'Sec-WebSocket-Version': ['13', '13'] }), 426, /not 13/, version],
    ['no key [4.1-24]', request({ 'Sec-WebSocket-Key': undefined }), 400, /base64/],
    [
      'two keys',
      request({ 'Sec-WebSocket-Key': Array(2).fill(rfcFields['Sec-WebSocket-Key']) }),
      400,
      /base64/,
    ],
    [
      'key of 15 bytes [4.1-25]',
      request({ 'Sec-WebSocket-Key': Buffer.alloc(15).toString('base64') }),
      400,
      /base64/,
    ],
    ['key of 17 bytes', request({ 'Sec-WebSocket-Key': Buffer.alloc(17).toString('base64') }), 400, /base64/],
    ['unpadded key', request({ 'Sec-WebSocket-Key': 'dGhlIHNhbXBsZSBub25jZQ' }), 400, /base64/],
    ['base64url key [4.3-1]', request({ 'Sec-WebSocket-Key': 'dGhlIHNhbXBs-SBub25jZQ==' }), 400, /base64/],
    [
      'repeated subprotocol [4.1-32]',
      request({ 'Sec-WebSocket-Protocol': 'chat, chat' }),
      400,
      /distinct tokens/,
    ],
    ['repeated subprotocol, apart', request({ 'Sec-WebSocket-Protocol': 'a,,a' }), 400, /distinct tokens/],
    ['subprotocol with a space', request({ 'Sec-WebSocket-Protocol': 'ch at' }), 400, /distinct tokens/],
    [
      'malformed extensions [9.1-1]',
      request({ 'Sec-WebSocket-Extensions': 'a;' }),
      400,
      /Extensions header is malformed/,
    ],
  ];
  for (const [name, head, status, reason, headers = {}] of refusals) {
    test(`refuses ${name} with ${status}`, () => {
      assert.throws(
        () => acceptHandshake(head, policy),
        error => {
          assert.ok(error instanceof ProtocolError);
          assert.equal(error.code, status, error.message);
          assert.match(error.message, reason);
          assert.deepEqual({ ...error.headers }, headers);
          return true;
        },
      );
    });
  }

  const subprotocols: [offered: string | string[], chosen: string | undefined][] = [
    ['superchat, chat', 'superchat'],
    ['foo,chat', 'chat'],
    [['foo', 'superchat'], 'superchat'],
    ['chat,', 'chat'],
    [', ,chat,,superchat', 'chat'],
    [['', 'superchat'], 'superchat'],
    [',', undefined],
    ['Chat', undefined],
    ['foo', undefined],
  ];
  for (const [offered, chosen] of subprotocols) {
    test(`chooses ${chosen} from the subprotocols ${offered} [4.2.2-8, 4.2.2-9]`, () => {
      const { subprotocol, response } = accept({ 'Sec-WebSocket-Protocol': offered });
      assert.equal(subprotocol, chosen);
      assert.equal(/Sec-WebSocket-Protocol: (.*)\r\n/.exec(response.toString())?.[1], chosen);
    });
  }

  test('accepts an offer of compression, unless it is off [4.2.2-11, 9-2, 9.1-3, 9.1-4, 7692-5-7]', () => {
    const offer = { 'Sec-WebSocket-Extensions': ['foo', 'permessage-deflate; server_max_window_bits=10'] };
    const { deflate, response } = accept(offer, { compression: 'takeover' });
    assert.equal(deflate?.serverMaxWindowBits, 10);
    assert.match(
      response.toString(),
      /\r\nSec-WebSocket-Extensions: permessage-deflate; server_max_window_bits=10\r\n/,
    );
    const lists = [', permessage-deflate', 'permessage-deflate,', ['', 'permessage-deflate']];
    for (const value of [...lists, ['permessage-deflate', 'foo']]) {
      const listed = accept({ 'Sec-WebSocket-Extensions': value }, { compression: 'takeover' });
      assert.equal(listed.deflate?.serverMaxWindowBits, 15, String(value));
    }
    assert.doesNotMatch(accept(offer).response.toString(), /Extensions/);
    assert.equal(accept(offer).deflate, undefined);
  });

  test('refuses pages of other origins with 403 [4.2.2-4, 4.2.2-5, 10.2-1, 10.2-2]', () => {
    const its = { origins: ['https://example.com'] };
    assert.ok(accept({ Origin: 'https://example.com' }, its).response);
    assert.throws(
      () => accept({ Origin: 'https://other.example' }, its),
      error => error instanceof ProtocolError && error.code === 403 && error.option === 'origin',
    );
  });

  test('accepts a request without Origin, because only browsers must send one [4.2.1-2]', () => {
    assert.ok(accept({}, { origins: ['https://example.com'] }).response);
  });

  test('answers with one head or throws a ProtocolError, whatever the request has', () => {
    const value = fc.oneof(
      fc.constantFrom(
        'websocket',
        'Upgrade',
        '13',
        rfcFields['Sec-WebSocket-Key'],
        'permessage-deflate',
        'chat',
        '*',
      ),
      fc.string({ unit: fc.constantFrom(...' ,;="\\a1\t\xa0\xff') }),
    );
    const names = [...Object.keys(rfcFields), 'Origin', 'Sec-WebSocket-Protocol', 'Sec-WebSocket-Extensions'];
    const changes = fc.dictionary(fc.constantFrom(...names.slice(1)), value, {
      maxKeys: 2,
      noNullPrototype: true,
    });
    fc.assert(
      fc.property(changes, changed => {
        try {
          const { response } = accept(changed, {
            compression: 'on',
            origins: changed['Origin'] ? ['*.a'] : [],
          });
          assert.equal(response.indexOf('\r\n\r\n'), response.length - 4);
        } catch (error) {
          assert.ok(error instanceof ProtocolError, String(error));
        }
      }),
      { seed: 6455, numRuns: 3000 },
    );
  });
});

test('asksForWebSocket recognizes Upgrade, and a key without Upgrade, as some proxies pass it on', () => {
  assert.ok(asksForWebSocket(request()));
  assert.ok(asksForWebSocket(request({ Upgrade: 'foo, WebSocket', 'Sec-WebSocket-Key': undefined })));
  assert.ok(asksForWebSocket(request({ Upgrade: undefined, Connection: 'close' }, 'GET / HTTP/1.0')));
  assert.ok(!asksForWebSocket(request({ Upgrade: 'h2c', 'Sec-WebSocket-Key': undefined })));
  assert.ok(!asksForWebSocket(request({ Upgrade: undefined, 'Sec-WebSocket-Key': undefined })));
});
