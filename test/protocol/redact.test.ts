/** Secrets in URLs and messages are hidden from logs and other programs. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { redact, redactMessage, redactQuery } from '../../src/protocol/http/redact.ts';

describe('redact', () => {
  test('hides tokens, signatures and the ids of polling sessions, and nothing else', () => {
    const urls: [string, string][] = [
      ['/channels/a?token=eyJ.x.y&after=1', '/channels/a?token=***&after=1'],
      ['/echo?user=17&until=9&sign=abc', '/echo?user=17&until=9&sign=***'],
      ['/poll/s/SECRET?ack=3', '/poll/s/***?ack=3'],
      ['http://a/poll/s/SECRET', 'http://a/poll/s/***'],
      ['/prefix/poll/s/SE/CRET', '/prefix/poll/s/***'],
      ['/a?token=x&token=y', '/a?token=***&token=***'],
      ['/a?%74oken=x', '/a?%74oken=***'],
      ['/a??token=x', '/a??token=***'],
      ['/a?TOKEN=x&Sign=y', '/a?TOKEN=***&Sign=***'],
      ['/a?token=x?y=z', '/a?token=***'],
      ['/a?token', '/a?token'],
      ['/a?tokens=x&resign=y&c=token', '/a?tokens=x&resign=y&c=token'],
      ['/poll/s/', '/poll/s/'],
      ['/', '/'],
      ['', ''],
    ];
    for (const [url, shown] of urls) assert.equal(redact(url), shown);
  });

  test('hides every token that the server would read from the URL', () => {
    const secret = 'S3CRET';
    const text = fc.string({ maxLength: 10 });
    const encoded = fc.constantFrom('token', '%74oken', 'tok%65n', 'sign', 's%69gn');
    fc.assert(
      fc.property(fc.array(fc.tuple(text, text), { maxLength: 3 }), encoded, fc.nat(3), (pairs, name, at) => {
        const all = pairs.map(([key, value]) => `${encodeURIComponent(key)}=${encodeURIComponent(value)}`);
        all.splice(at, 0, `${name}=${secret}`);
        const query = all.join('&');
        const read = new URLSearchParams(query);
        assert.ok(read.get('token') !== null || read.get('sign') !== null);
        assert.ok(!redactQuery(query).includes(secret));
        assert.equal(redactQuery(redactQuery(query)), redactQuery(query));
      }),
    );
  });
});

test('redactMessage hides the token in a message, even if the message is cut off', () => {
  assert.equal(redactMessage('{"token":"eyJhbGci'), '{"token":"***');
  assert.equal(redactMessage('{"subscribe":"a","token" : "x.y.z"}'), '{"subscribe":"a","token" : "***"}');
  assert.equal(redactMessage('{"text":"{\\"token\\":\\"x'), '{"text":"{\\"token\\":\\"***');
  assert.equal(redactMessage('{"text":"token"}'), '{"text":"token"}');
  // PHP escapes slashes, which base64 contains.
  const escaped = String.raw`{"token":"ab\/cd\"ef\\","room":"pond"}`;
  assert.equal(redactMessage(escaped), '{"token":"***","room":"pond"}');
  assert.equal(
    redactMessage(JSON.stringify({ text: escaped })),
    JSON.stringify({ text: '{"token":"***","room":"pond"}' }),
  );
  const long = JSON.stringify({ token: '\n'.repeat(4_000_000) });
  assert.equal(redactMessage(long), '{"token":"***"}');
});
