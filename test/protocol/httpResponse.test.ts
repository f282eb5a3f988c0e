import assert from 'node:assert/strict';
import { Buffer } from 'node:buffer';
import { describe, test } from 'node:test';
import { CloseCode, ProtocolError } from '../../src/protocol/codes.ts';
import { encodeResponse, parseResponseHead, type ResponseHead } from '../../src/protocol/http/head.ts';

const maxHeader = 16 * 1024;
const bytes = (text: string) => Buffer.from(text, 'latin1');

describe('parseResponseHead', () => {
  const parseResponse = (text: string): ResponseHead | undefined =>
    parseResponseHead(bytes(text), 0, text.length, maxHeader)?.head;

  test('reads status, reason and fields, however the head is cut', () => {
    const text = 'HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n';
    for (let cut = 0; cut < text.length; cut++) {
      assert.equal(parseResponseHead(bytes(text), 0, cut, maxHeader), undefined);
      const parsed = parseResponseHead(bytes(`${text}\x81`), 0, text.length + 1, maxHeader, cut);
      assert.equal(parsed?.end, text.length);
      assert.equal(parsed.head.status, 101);
      assert.equal(parsed.head.reason, 'Switching Protocols');
      assert.deepEqual([...parsed.head.headers], [['upgrade', 'websocket']]);
    }
    assert.equal(parseResponse('HTTP/1.0 404 \r\n\r\n')?.version, '1.0');
    assert.equal(parseResponse('HTTP/1.1 404\r\n\r\n')?.reason, '');
  });

  const refusals: [text: string, reason: RegExp][] = [
    ['SSH-2.0', /not an HTTP/],
    ['HTTP/2', /not an HTTP/],
    ['HTTP/1.1 99 A\r\n\r\n', /status line/],
    ['HTTP/1.1 1010 A\r\n\r\n', /status line/],
    ['HTTP/1.1  101 A\r\n\r\n', /status line/],
    ['HTTP/1.1 101 A\r\nb\r\n\r\n', /Name: value/],
    ['HTTP/1.1 101 A\n', /LF/],
    ['HTTP/1.1 101 A\0', /control/],
    [`HTTP/1.1 101 ${'A'.repeat(maxHeader)}`, /longer than 16384/],
  ];
  for (const [text, reason] of refusals) {
    test(`refuses ${JSON.stringify(text.slice(0, 30))}`, () => {
      assert.throws(
        () => parseResponse(text),
        error =>
          error instanceof ProtocolError &&
          error.code === CloseCode.ProtocolError &&
          reason.test(error.message),
      );
    });
  }
});

test('encodeResponse writes the status line, the fields and the body', () => {
  assert.equal(
    encodeResponse(405, { Allow: 'GET', 'X-Split': 'a\r\nb' }, 'né').toString(),
    'HTTP/1.1 405 Method Not Allowed\r\nContent-Length: 3\r\nAllow: GET\r\nX-Split: a  b\r\n\r\nné',
  );
  assert.match(encodeResponse(200, { 'Content-Length': '9' }, '').toString(), /Length: 9\r\n\r\n$/);
  assert.match(encodeResponse(426, { Connection: 'Upgrade' }, '').toString(), /\r\nConnection: Upgrade\r\n/);
  assert.doesNotMatch(encodeResponse(304, {}, '').toString(), /Content-Length/);
  const page = encodeResponse(200, {}, new Uint8Array([0, 255]));
  assert.deepEqual([...page.subarray(-2)], [0, 255]);
});

test('encodeResponse replaces fields of the same name, and counts the bytes of a text in UTF-8', () => {
  const fields = { Connection: 'Upgrade', Vary: 'Origin' };
  assert.equal(
    encodeResponse(200, fields, '€', { Connection: 'Upgrade, close', 'Content-Length': '7' }).toString(),
    'HTTP/1.1 200 OK\r\nVary: Origin\r\nConnection: Upgrade, close\r\nContent-Length: 7\r\n\r\n€',
  );
  const lone = encodeResponse(200, {}, 'a\ud800b');
  assert.match(lone.toString('latin1'), /Content-Length: 5\r\n/);
  assert.deepEqual([...lone.subarray(-5)], [...Buffer.from('a\ufffdb')]);
  // A field may have the name of a property that objects inherit.
  assert.match(encodeResponse(200, { constructor: 'x' }, '').toString(), /\r\nconstructor: x\r\n/);
});
