import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { ProtocolError } from '../../src/protocol/codes.ts';
import { type Head, parseRequestHead } from '../../src/protocol/http/head.ts';
import { checkOrigin, parseOrigin, parseOriginRule } from '../../src/protocol/http/origin.ts';

function headWith(fields: string, host = 'pond.example'): Head {
  const bytes = Buffer.from(`GET / HTTP/1.1\r\nHost: ${host}\r\n${fields}\r\n`);
  const parsed = parseRequestHead(bytes, 0, bytes.length, Number.POSITIVE_INFINITY);
  assert.ok(parsed !== undefined);
  return parsed.head;
}

function isAdmitted(head: Head, rules: readonly string[]): boolean {
  try {
    checkOrigin(head, rules);
    return true;
  } catch (error) {
    assert.ok(error instanceof ProtocolError && error.code === 403 && error.option === 'origin');
    return false;
  }
}

const rules: readonly (readonly [rule: string, admitted: readonly string[], refused: readonly string[]])[] = [
  [
    'https://example.com',
    ['https://example.com', 'HTTPS://Example.COM', 'https://example.com:443'],
    [
      ...[
        'http://example.com',
        'https://example.com:444',
        'https://a.example.com',
        'https://example.com.evil.org',
      ],
      ...[
        'null',
        '',
        'https://example.com/',
        'https://example.com, https://example.com',
        'https://example.com.',
      ],
    ],
  ],
  ['http://localhost:3000', ['http://localhost:3000'], ['http://localhost', 'http://localhost:30001']],
  ['http://[::1]:80', ['http://[::1]'], ['http://[::2]', 'http://[::1]:81']],
  ['https://b\u00fccher.example', ['https://xn--bcher-kva.example'], ['https://bcher.example']],
  [
    '*.Example.com',
    ['https://a.example.com', 'http://a.b.example.com', 'https://A.EXAMPLE.COM'],
    [
      ...['https://example.com', 'https://evilexample.com', 'https://a.example.com.evil.org', '.example.com'],
      ...['https://evil.org/.example.com', 'https://evil.org?.example.com', 'https://evil@.example.com'],
      ...[
        'https://a.example.com:8443',
        'https://.example.com',
        'https://a..example.com',
        'https://-/.example.com',
      ],
      ...['null', 'capacitor://a.example.com', 'https://a.examplexcom'],
    ],
  ],
  [
    'https://*.example.com:8443',
    ['https://a.example.com:8443'],
    ['https://a.example.com', 'http://a.example.com:8443', 'https://example.com:8443'],
  ],
  [
    'https://*.example.com:443',
    ['https://a.example.com'],
    ['http://a.example.com', 'https://a.example.com:8443'],
  ],
  ['*.example.com:80', ['http://a.example.com'], ['https://a.example.com']],
  ['*.b\u00fccher.example', ['https://a.xn--bcher-kva.example'], ['https://xn--bcher-kva.example']],
  ['null', ['null'], ['https://example.com', 'file://', 'https://null']],
  ['file://', ['file://'], ['null', 'file:///etc/passwd']],
  [
    'capacitor://localhost',
    ['capacitor://localhost'],
    ['https://localhost', 'ionic://localhost', 'capacitor://localhost.evil.org'],
  ],
  [
    'chrome-extension://abcdefghijklmnop',
    ['chrome-extension://abcdefghijklmnop'],
    ['chrome-extension://other'],
  ],
  ['safari-web-extension://4A2B', ['safari-web-extension://4A2B'], ['safari-web-extension://4A2C']],
  [
    'same',
    ['http://pond.example', 'https://pond.example', 'https://POND.example'],
    ['http://pond.example:81', 'https://a.pond.example', 'null', 'capacitor://pond.example', ''],
  ],
];

describe('the pages that a rule admits', () => {
  for (const [rule, admitted, refused] of rules) {
    test(`the rule ${rule} admits its pages, and no others`, () => {
      const written = parseOriginRule(rule);
      assert.ok(written !== undefined);
      assert.equal(parseOriginRule(written), written, 'a rule is read back from how it is shown');
      for (const among of [[written], ['https://other.example', written]]) {
        for (const origin of admitted)
          assert.ok(isAdmitted(headWith(`Origin: ${origin}\r\n`), among), origin);
        for (const origin of refused)
          assert.ok(!isAdmitted(headWith(`Origin: ${origin}\r\n`), among), origin);
      }
      const [first = ''] = admitted;
      const twice = headWith(`Origin: ${first}\r\nOrigin: ${first}\r\n`);
      assert.ok(!isAdmitted(twice, [written]), 'a repeated Origin is none');
      assert.ok(isAdmitted(headWith(''), [written]), 'a program sends no Origin');
    });
  }

  test('without a rule, every page is admitted', () => {
    for (const origin of ['https://example.com', 'null', 'x'])
      assert.ok(isAdmitted(headWith(`Origin: ${origin}\r\n`), []));
  });

  for (const [host, origin, expected] of [
    ['pond.example:8080', 'http://pond.example:8080', true],
    ['pond.example:8080', 'http://pond.example', false],
    // A proxy took TLS off, and passes the port on or does not.
    ['pond.example:443', 'https://pond.example', true],
    ['pond.example:', 'https://pond.example', true],
    ['pond.example:80', 'https://pond.example', false],
    ['[::1]:8080', 'http://[::1]:8080', true],
    ['[::1]:8080', 'http://[::2]:8080', false],
  ] as const) {
    test(`same: ${origin} at ${host} is ${expected ? 'admitted' : 'refused'}`, () => {
      assert.equal(isAdmitted(headWith(`Origin: ${origin}\r\n`, host), ['same']), expected);
    });
  }

  test('same compares the origin with the X-Forwarded-Host of a trusted proxy', () => {
    const head = headWith('Origin: https://pond.example\r\n', '10.0.0.1:8080');
    assert.ok(!isAdmitted(head, ['same']));
    head.forwardedHost = 'pond.example';
    assert.ok(isAdmitted(head, ['same']));
  });
});

test('an origin in any notation is read as browsers write it', () => {
  for (const [text, origin] of [
    ['HTTPS://Example.COM:443/', 'https://example.com'],
    ['http://[::1]:80', 'http://[::1]'],
    ['NULL', 'null'],
    ['Tauri://localhost/', 'tauri://localhost'],
    ['moz-extension://1-2', 'moz-extension://1-2'],
    ['app://obsidian.md:1', 'app://obsidian.md:1'],
  ] as const) {
    assert.equal(parseOrigin(text), origin);
    assert.equal(parseOriginRule(text), origin);
  }
});

test('text that is not an origin is refused', () => {
  const bad = [
    ...[
      '',
      '*',
      '*.',
      '*.*.com',
      '*example.com',
      'a.*.com',
      'example.com',
      'https://',
      'https://*',
      'https://a/b',
    ],
    ...[
      'https://a?b',
      'https://a#b',
      'https://u@a',
      'https://a:99999',
      'https://a b',
      'https:a',
      'https:\\\\a',
    ],
    ...[
      'ws://a',
      'wss://a',
      'ftp://a',
      'capacitor://',
      'capacitor://a/b',
      'capacitor://a:99999',
      'x://*.a',
      'null:',
      'file:///x',
    ],
    ...['*.example.com/x', '*.1.2.3.4', '*.a:99999', 'same.', 'http://same:x', '*.a..b', '*.[::1]'],
  ];
  for (const text of bad) {
    assert.equal(parseOrigin(text), undefined, text);
    assert.equal(parseOriginRule(text), undefined, text);
  }
  for (const text of ['same', '*.example.com', 'https://*.example.com'])
    assert.equal(parseOrigin(text), undefined, text);
});
