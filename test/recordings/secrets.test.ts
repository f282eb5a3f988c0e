/** Recordings omit credentials wherever clients send them, and keep everything else. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Opcode } from '../../src/protocol/codes.ts';
import type { FrameEvent } from '../../src/recordings/recording.ts';
import { redactEvent, redactHeaders, redactUrl } from '../../src/recordings/secrets.ts';

test('credentials in URLs are replaced, and other parameters are kept', () => {
  const cases: Record<string, string> = {
    '/chat?room=pond': '/chat?room=pond',
    '/chat?token=abc&room=pond': '/chat?token=***&room=pond',
    '/x?access_token=a&api_key=b&%70assword=c&q=key': '/x?access_token=***&api_key=***&%70assword=***&q=key',
    'ws://ada:lovelace@host:1/x': 'ws://***@host:1/x',
    '/x?author=ada&authorization=b': '/x?author=ada&authorization=***',
    '/x?next=eyJhbGciOi.eyJzdWIi.c2ln': '/x?next=***',
  };
  for (const [url, expected] of Object.entries(cases)) assert.equal(redactUrl(url), expected);
});

test('credentials in header fields are replaced, including those offered as subprotocols', () => {
  const redacted = redactHeaders({
    ...{
      host: 'localhost',
      authorization: 'Bearer abc',
      cookie: 'sid=1',
      'x-api-key': 'k',
      'set-cookie': 'a=b',
    },
    'sec-websocket-key': 'dGhlIHNhbXBsZSBub25jZQ==',
    'sec-websocket-protocol': 'chat, bearer, abc123',
    'user-agent': 'curl/8',
    origin: 'https://example.com',
    referer: 'https://example.com/?token=abc',
  });
  assert.deepEqual(redacted, {
    ...{ host: 'localhost', authorization: '***', cookie: '***', 'x-api-key': '***', 'set-cookie': '***' },
    'sec-websocket-key': 'dGhlIHNhbXBsZSBub25jZQ==',
    'sec-websocket-protocol': 'chat, bearer, ***',
    'user-agent': 'curl/8',
    origin: 'https://example.com',
    referer: 'https://example.com/?token=***',
  });
  const { 'sec-websocket-protocol': offered } = redactHeaders({
    'sec-websocket-protocol': 'graphql-transport-ws, base64url.bearer.authorization.k8s.io.c2VjcmV0',
  });
  assert.equal(offered, 'graphql-transport-ws, ***');
});

test('a JSON Web Token is found inside a word, and text that only resembles tokens takes linear time', () => {
  const cases: Record<string, string> = {
    '/eyJhbGciOi.eyJzdWIi.c2ln/x': '/***/x',
    '/a-eyJhbGciOi.eyJzdWIi.': '/a-***',
    '/a.b.eyJhbGciOi.eyJzdWIi.c2ln.d.eyJhbGciOi.e.f': '/a.b.***.d.***',
    '/eyJhbGciOi.eyJzdWIi': '/eyJhbGciOi.eyJzdWIi',
    '/eyJhbGciOi..c2ln': '/eyJhbGciOi..c2ln',
    '/eyJhb.eyJzdWIi.c2ln': '/eyJhb.eyJzdWIi.c2ln',
    '/heyJhbGciOi.eyJzdWIi.c2ln': '/heyJhbGciOi.eyJzdWIi.c2ln',
  };
  for (const [url, expected] of Object.entries(cases)) assert.equal(redactUrl(url), expected);
  const { content } = redactEvent(text('-eyJaaaaa'.repeat(200_000)), true);
  assert.equal(content?.bytes.length, 1_800_000);
});

function text(bytes: string): FrameEvent {
  const content = { isText: true, bytes: Buffer.from(bytes) };
  const raw = Buffer.from('00', 'hex');
  return {
    kind: 'frame',
    at: 0,
    from: 'client',
    opcode: Opcode.Text,
    isFinal: true,
    isCompressed: false,
    content,
    raw,
  };
}

test('a first message with credentials loses them, and its raw bytes', () => {
  const cases: Record<string, string> = {
    '{"token":"abc","room":"pond"}': '{"token":"***","room":"pond"}',
    '{"user":"ada","password": "abc"}': '{"user":"ada","password": "***"}',
    'Authorization: Bearer abcdef': 'Authorization: Bearer ***',
    [String.raw`{"password":"a\"b\\c\/d\u00e9","room":"pond"}`]: '{"password":"***","room":"pond"}',
    [JSON.stringify({ data: JSON.stringify({ secret: 'a"b\\c/d\n', room: 'pond' }) })]: JSON.stringify({
      data: JSON.stringify({ secret: '***', room: 'pond' }),
    }),
    '{"type":"connection_init","payload":{"authToken":"abc"}}':
      '{"type":"connection_init","payload":{"authToken":"***"}}',
  };
  for (const [given, expected] of Object.entries(cases)) {
    const { content, raw } = redactEvent(text(given), true);
    assert.deepEqual([content?.bytes.toString(), raw], [expected, undefined]);
  }
  const harmless = text('{"room":"pond","key of the door":"lost"}');
  assert.equal(redactEvent(harmless, true), harmless);
});

test('a later message loses only members called token', () => {
  const later = text('{"password":"of the day","from":"ada"}');
  assert.equal(redactEvent(later, false), later);
  assert.equal(redactEvent(text('{"token":"abc"}'), false).content?.bytes.toString(), '{"token":"***"}');
});
