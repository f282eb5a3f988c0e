import assert from 'node:assert/strict';
import { Buffer } from 'node:buffer';
import { describe, test } from 'node:test';
import { ProtocolError } from '../../src/protocol/codes.ts';
import { type Body, bodyContent, newBody, readBody } from '../../src/protocol/http/body.ts';
import { type Head, parseRequestHead } from '../../src/protocol/http/head.ts';

const limit = 20;

function bodyOf(field: string): Body {
  const head = Buffer.from(`POST / HTTP/1.1\r\nHost: x\r\n${field}\r\n\r\n`);
  return newBody(parseRequestHead(head, 0, head.length, 1000)!.head, limit);
}

/** The content of `sent`, cut at `cut`, and what was left over. */
function read(field: string, sent: string, cut: number): [string, string] {
  const bytes = Buffer.from(sent);
  const body = bodyOf(field);
  const at = readBody(body, bytes, 0, cut);
  const end = readBody(body, bytes, at, bytes.length);
  assert.ok(body.isWhole);
  return [bodyContent(body).toString(), bytes.toString('utf8', end)];
}

const chunked = 'Transfer-Encoding: chunked';
const whole: [string, string, string, string, string][] = [
  ['as long as the head says', 'Content-Length: 5', 'hello', 'hello', ''],
  ['what follows is left', 'Content-Length: 5', 'hello there', 'hello', ' there'],
  ['none', 'Content-Length: 0', 'x', '', 'x'],
  ['in chunks', chunked, '5\r\nhello\r\n6\r\n there\r\n0\r\n\r\n', 'hello there', ''],
  ['in no chunk', chunked, '0\r\n\r\nGET', '', 'GET'],
  [
    'extensions and trailers are ignored',
    chunked,
    'A;a="b"\r\n0123456789\r\n0\r\nX: y\r\n\r\n',
    '0123456789',
    '',
  ],
  ['CRLF is content, too', chunked, '4\r\n\r\n\r\n\r\n0\r\n\r\n', '\r\n\r\n', ''],
];
describe('a body', () => {
  for (const [name, field, sent, content, rest] of whole) {
    test(`is read (${name}), however it is cut`, () => {
      for (let cut = 0; cut <= sent.length; cut++) assert.deepEqual(read(field, sent, cut), [content, rest]);
    });
  }

  test('takes memory for the bytes that arrived, not for the announced length or the number of chunks', () => {
    const body = newBody({ bodyLength: 1 << 30 } as Head, 1 << 30);
    readBody(body, Buffer.from('abc'), 0, 3);
    assert.ok(body.content.length < 100);
    const inBytes = newBody({ bodyLength: Number.POSITIVE_INFINITY } as Head, 100_000);
    const chunks = Buffer.from(`${'1\r\nx\r\n'.repeat(100_000)}0\r\n\r\n`);
    readBody(inBytes, chunks, 0, chunks.length);
    assert.ok(inBytes.isWhole && inBytes.content.length < 200_000);
    assert.equal(bodyContent(inBytes).toString(), 'x'.repeat(100_000));
  });

  test('is read only up to the given end, and continues there', () => {
    const bytes = Buffer.from(`${'1\r\nx\r\n'.repeat(10)}0\r\n\r\n`);
    const body = bodyOf(chunked);
    let calls = 0;
    for (let at = 0; !body.isWhole; calls++) {
      const before = at;
      at = readBody(body, bytes, at, bytes.length, () => false);
      assert.equal(bytes.toString('latin1', before, at).match(/\n/g)?.length, 1);
    }
    assert.equal(calls, 22);
    assert.equal(bodyContent(body).toString(), 'x'.repeat(10));
  });

  const refused: [string, string, string, number][] = [
    ['longer than is welcome', `Content-Length: ${limit + 1}`, '', 413],
    ['a chunk longer than is welcome, at its size', chunked, '15\r\n', 413],
    ['chunks longer together, at the size of the last', chunked, 'f\r\n0123456789abcde\r\n6\r\n', 413],
    ['no size', chunked, 'x\r\n', 400],
    ['a size that is negative', chunked, '-1\r\n', 400],
    ['a size with a sign, a space before it, 0x', chunked, ' +0x1\r\n', 400],
    ['a size beyond all sizes', chunked, '000000001\r\n', 400],
    ['a chunk longer than its size', chunked, '1\r\nab\r\n', 400],
    ['a line without end', chunked, `1;${'x'.repeat(2000)}`, 400],
    ['extensions without end', chunked, `1;${'x'.repeat(1000)}\r\na\r\n`.repeat(17), 413],
    ['trailers without end', chunked, `0\r\n${'X: y\r\n'.repeat(17)}`, 431],
  ];
  for (const [name, field, sent, code] of refused) {
    test(`is refused: ${name}`, () => {
      const bytes = Buffer.from(sent);
      assert.throws(
        () => readBody(bodyOf(field), bytes, 0, bytes.length),
        error => error instanceof ProtocolError && error.code === code,
      );
    });
  }
});
