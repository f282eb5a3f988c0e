import assert from 'node:assert/strict';
import { Buffer } from 'node:buffer';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { ProtocolError } from '../../src/protocol/codes.ts';
import { type Head, parseRequestHead } from '../../src/protocol/http/head.ts';
import { maxHeaderFields } from '../../src/protocol/limits.ts';

const maxHeader = 16 * 1024;
const bytes = (text: string) => Buffer.from(text, 'latin1');

function parse(text: string, bound = maxHeader): Head {
  const parsed = parseRequestHead(bytes(text), 0, text.length, bound);
  assert.ok(parsed, 'the head is complete');
  assert.equal(parsed.end, text.length);
  return parsed.head;
}

function assertRefused(run: () => unknown, code: number, reason: RegExp): void {
  assert.throws(run, error => {
    assert.ok(error instanceof ProtocolError, String(error));
    assert.equal(error.code, code, error.message);
    assert.match(error.message, reason);
    return true;
  });
}

const rfcRequest = [
  'GET /chat HTTP/1.1',
  'Host: server.example.com',
  'Upgrade: websocket',
  'Connection: Upgrade',
  'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==',
  'Origin: http://example.com',
  'Sec-WebSocket-Protocol: chat, superchat',
  'Sec-WebSocket-Version: 13',
  '\r\n',
].join('\r\n');

const requests = [
  rfcRequest,
  'GET / HTTP/1.1\r\nHost: a\r\n\r\n',
  'GET / HTTP/1.0\r\n\r\n',
  '\r\nGET /?a=1&b=2 HTTP/1.1\r\nHost:[::1]:8080 \t\r\nX: \r\nx:a\tb\xff\r\n\r\n',
  'POST http://example.com HTTP/1.1\r\nHost: a\r\nContent-Length: 7\r\n\r\n',
];

describe('parseRequestHead', () => {
  test('reads the example of the RFC', () => {
    const head = parse(rfcRequest);
    assert.deepEqual(
      { ...head, headers: Object.fromEntries(head.headers) },
      {
        method: 'GET',
        target: '/chat',
        path: '/chat',
        query: '',
        version: '1.1',
        bodyLength: 0,
        headers: {
          host: 'server.example.com',
          upgrade: 'websocket',
          connection: 'Upgrade',
          'sec-websocket-key': 'dGhlIHNhbXBsZSBub25jZQ==',
          origin: 'http://example.com',
          'sec-websocket-protocol': 'chat, superchat',
          'sec-websocket-version': '13',
        },
      },
    );
  });

  test('trims values, joins repeated fields in order, and reads bytes from 0x80 on as Latin-1', () => {
    const { headers } = parse(requests[3]!);
    assert.deepEqual(
      [...headers],
      [
        ['host', '[::1]:8080'],
        ['x', ', a\tb\xff'],
      ],
    );
    assert.equal(parse('GET / HTTP/1.1\r\nHost: a\r\nb: \xa0c\xa0\r\n\r\n').headers.get('b'), '\xa0c\xa0');
  });

  const targets = [
    ['/', '/', ''],
    ['/a?', '/a', ''],
    ['/a?b?c', '/a', 'b?c'],
    ['//a/%20|', '//a/%20|', ''],
    ['http://a', '/', ''],
    ['HTTPS://a:1/b?c', '/b', 'c'],
    ['wss://[::1]?c', '/', 'c'],
  ] as const;
  for (const [target, path, query] of targets) {
    test(`reads the target ${target}`, () => {
      const head = parse(`GET ${target} HTTP/1.1\r\nHost: a\r\n\r\n`);
      assert.deepEqual([head.target, head.path, head.query], [target, path, query]);
    });
  }

  test('reads a later HTTP/1.x as 1.1, and HTTP/1.0 without Host', () => {
    assert.equal(parse('GET / HTTP/1.7\r\nHost: a\r\n\r\n').version, '1.1');
    assert.equal(parse('GET / HTTP/1.0\r\n\r\n').version, '1.0');
  });

  test('reads the length of the body', () => {
    const withField = (field: string) => parse(`POST / HTTP/1.1\r\nHost: a\r\n${field}\r\n\r\n`).bodyLength;
    assert.equal(withField('X: y'), 0);
    assert.equal(withField('Content-Length: 0'), 0);
    assert.equal(withField('Content-Length: 12'), 12);
    assert.equal(withField('Transfer-Encoding: Chunked'), Number.POSITIVE_INFINITY);
  });

  test('does not read bytes before and after the head', () => {
    const around = bytes(`xx${rfcRequest}\r\n\r\n`);
    const parsed = parseRequestHead(around, 2, around.length, maxHeader);
    assert.equal(parsed?.end, 2 + rfcRequest.length);
    assert.equal(parsed.head.path, '/chat');
    // What an earlier read left behind `end` is not looked at.
    assert.equal(parseRequestHead(around, 2, 2 + rfcRequest.length - 1, maxHeader), undefined);
    assert.equal(parseRequestHead(around, 2, 2, maxHeader), undefined);
  });

  const field = (line: string) => `GET / HTTP/1.1\r\nHost: a\r\n${line}\r\n\r\n`;
  const notForm = /not of the form/;
  const refusals: [name: string, text: string, code: number, reason: RegExp][] = [
    ['bare LF', 'GET / HTTP/1.1\nHost: a\n\n', 400, /ends in LF/],
    ['bare LF in a field', field('b: c\nd: e'), 400, /ends in LF/],
    ['bare CR', field('b: c\rd'), 400, /CR without LF/],
    ['CR CR LF', field('b: c\r'), 400, /CR without LF/],
    ['NUL', field('b: \0'), 400, /control character/],
    ['DEL', field('b: \x7f'), 400, /control character/],
    ['TLS', '\x16\x03\x01\x02\x00', 400, /control character/],
    ['two empty lines first', '\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n', 400, /start with a method/],
    ['method with a colon', 'Host: a\r\n\r\n', 400, /start with a method/],
    ['no method', ' / HTTP/1.1\r\n\r\n', 400, /start with a method/],
    ['unknown method', 'BREW / HTTP/1.1\r\nHost: a\r\n\r\n', 501, /unknown method/],
    ['lower-case method', 'get / HTTP/1.1\r\nHost: a\r\n\r\n', 501, /unknown method/],
    ['HTTP/0.9', 'GET /\r\n\r\n', 400, notForm],
    ['two spaces', 'GET  / HTTP/1.1\r\nHost: a\r\n\r\n', 400, /HTTP version/],
    ['trailing space', 'GET / HTTP/1.1 \r\nHost: a\r\n\r\n', 400, /HTTP version/],
    ['no HTTP', 'GET / HTCPCP/1.0\r\n\r\n', 400, /HTTP version/],
    ['lower-case http', 'GET / http/1.1\r\n\r\n', 400, /HTTP version/],
    ['HTTP/2.0', 'PRI * HTTP/2.0\r\n\r\n', 501, /unknown method/],
    ['GET of HTTP/2.0', 'GET / HTTP/2.0\r\nHost: a\r\n\r\n', 505, /not HTTP\/2.0/],
    ['HTTP/0.9 by name', 'GET / HTTP/0.9\r\nHost: a\r\n\r\n', 505, /not HTTP\/0.9/],
    ['asterisk', 'GET * HTTP/1.1\r\nHost: a\r\n\r\n', 400, /not a path/],
    ['authority', 'CONNECT a:80 HTTP/1.1\r\nHost: a\r\n\r\n', 400, /not a path/],
    ['other scheme', 'GET ftp://a/ HTTP/1.1\r\nHost: a\r\n\r\n', 400, /not a path/],
    ['user in the target', 'GET http://u@a/ HTTP/1.1\r\nHost: a\r\n\r\n', 400, /not a path/],
    ['no authority', 'GET http:///b HTTP/1.1\r\nHost: a\r\n\r\n', 400, /not a path/],
    ['fragment [3-2, 3-3]', 'GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n', 400, /character/],
    ['latin1 target', 'GET /\xe9 HTTP/1.1\r\nHost: a\r\n\r\n', 400, /character/],
    ['tab in the target', 'GET /a\tb HTTP/1.1\r\nHost: a\r\n\r\n', 400, /character/],
    ['no Host [4.1-21]', 'GET / HTTP/1.1\r\n\r\n', 400, /no Host/],
    ['two Hosts', field('host: a'), 400, /Host header is repeated/],
    ['empty Host', 'GET / HTTP/1.1\r\nHost:\r\n\r\n', 400, /not a host/],
    ['invalid Host', 'GET / HTTP/1.1\r\nHost: a/b\r\n\r\n', 400, /not a host/],
    ['space before the colon', field('b : c'), 400, notForm],
    ['obs-fold', field('b: c\r\n d: e'), 400, notForm],
    ['obs-fold first', 'GET / HTTP/1.1\r\n Host: a\r\n\r\n', 400, notForm],
    ['no colon', field('b'), 400, notForm],
    ['no name', field(': b'), 400, notForm],
    ['name that is no token', field('b(: c'), 400, notForm],
    ['latin1 name', field('\xe9: c'), 400, notForm],
    ['too many fields', field(`${'b: c\r\n'.repeat(maxHeaderFields)}`.trim()), 431, /more than 100/],
    ['two Content-Lengths', field('Content-Length: 1\r\nContent-Length: 1'), 400, /not a number/],
    ['signed Content-Length', field('Content-Length: +1'), 400, /not a number/],
    ['endless Content-Length', field(`Content-Length: ${'9'.repeat(16)}`), 400, /not a number/],
    ['both lengths', field('Content-Length: 1\r\nTransfer-Encoding: chunked'), 400, /both/],
    ['coding in 1.0', 'POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n', 400, /HTTP\/1.0/],
    ['unknown coding', field('Transfer-Encoding: gzip, chunked'), 501, /Transfer-Encoding/],
  ];
  for (const [name, text, code, reason] of refusals) {
    test(`refuses ${name} with ${code}, in one piece and byte by byte`, () => {
      assertRefused(() => parseRequestHead(bytes(text), 0, text.length, maxHeader), code, reason);
      assertRefused(() => feedBytewise(text, maxHeader), code, reason);
    });
  }

  const early: [text: string, code: number][] = [
    ['\x16', 400],
    ['{', 400],
    ['\r\r', 400],
    ['GET\r', 400],
    ['GETGETGE', 501],
    ['GET / HTTP/3.0\r\n', 505],
    ['GET ftp://a HTTP/1.1\r\n', 400],
    ['GET / HTTP/1.1\r\nA: \0', 400],
    ['GET / HTTP/1.1\r\nA: b\n', 400],
    ['GET / HTTP/1.1\r\nA: b\rc', 400],
  ];
  for (const [text, code] of early) {
    test(`refuses ${JSON.stringify(text)} at its last byte, and not before`, () => {
      assert.equal(parseRequestHead(bytes(text), 0, text.length - 1, maxHeader), undefined);
      assertRefused(() => parseRequestHead(bytes(text), 0, text.length, maxHeader), code, /./);
      assertRefused(
        () => parseRequestHead(bytes(text), 0, text.length, maxHeader, text.length - 1),
        code,
        /./,
      );
    });
  }

  test('accepts a head of the largest size, and refuses a larger one as soon as it is too large', () => {
    const head = 'GET / HTTP/1.1\r\nHost: a\r\nb: cccccccc\r\n\r\n';
    assert.equal(parse(head, head.length).path, '/');
    assertRefused(() => parse(head, head.length - 1), 431, /longer than 39 bytes/);
    const endless = `GET /${'a'.repeat(100)}`;
    assert.equal(parseRequestHead(bytes(endless), 0, 63, 64), undefined);
    assertRefused(() => parseRequestHead(bytes(endless), 0, 64, 64), 414, /longer than 64 bytes/);
    // 0: no bound but the one that keeps a scan short.
    assert.equal(parse(field(`b: ${'c'.repeat(100_000)}`), Infinity).headers.get('b')?.length, 100_000);
    const flood = bytes(`GET / HTTP/1.1\r\nb: ${'c'.repeat(1024 * 1024)}`);
    assertRefused(() => parseRequestHead(flood, 0, flood.length, Infinity), 431, /longer than 1048576/);
  });

  test('returns the same head, however the input is cut', () => {
    for (const text of requests) {
      const whole = parse(text);
      for (let cut = 0; cut < text.length; cut++) {
        assert.equal(parseRequestHead(bytes(text), 0, cut, maxHeader), undefined, `cut at ${cut}`);
        const rest = parseRequestHead(bytes(text), 0, text.length, maxHeader, cut);
        assert.deepEqual(rest, { head: whole, end: text.length }, `cut at ${cut}`);
      }
      assert.deepEqual(feedBytewise(text, maxHeader), { head: whole, end: text.length });
    }
  });

  test('reads or refuses a mutated head in the same way, however it is cut', () => {
    const mutation = fc.record({
      at: fc.nat(),
      remove: fc.nat(3),
      insert: fc.oneof(
        fc.constantFrom('\r', '\n', '\r\n', '\r\n\r\n', '\0', ' ', '\t', ':', ',', 'Host: a\r\n'),
        fc.string({ unit: 'binary', maxLength: 3 }),
      ),
    });
    const anyHead = fc
      .tuple(fc.constantFrom(...requests), fc.array(mutation, { minLength: 1, maxLength: 3 }))
      .map(([text, mutations]) =>
        mutations.reduce((old, { at, remove, insert }) => {
          const place = at % (old.length + 1);
          return old.slice(0, place) + insert + old.slice(place + remove);
        }, text),
      );
    fc.assert(
      fc.property(anyHead, text => {
        const whole = outcome(() => parseRequestHead(bytes(text), 0, text.length, 256));
        const fed = outcome(() => feedBytewise(text, 256));
        // With two faults, cuts decide which one is seen first.
        if (whole === 'refused' || fed === 'refused') assert.equal(fed, whole);
        else assert.deepEqual(fed, whole);
      }),
      { seed: 6455, numRuns: 3000 },
    );
  });
});

/** Hands the bytes over one more at a time, as a slow client does. */
function feedBytewise(text: string, bound: number): { head: Head; end: number } | undefined {
  const all = bytes(text);
  for (let end = 1; end <= all.length; end++) {
    const parsed = parseRequestHead(all, 0, end, bound, end - 1);
    if (parsed !== undefined) return parsed;
  }
  return undefined;
}

/** What a call returns, or that it refused. Any other error is passed on: there must be none. */
function outcome<T>(run: () => T): T | 'refused' {
  try {
    return run();
  } catch (error) {
    if (error instanceof ProtocolError) return 'refused';
    throw error;
  }
}
