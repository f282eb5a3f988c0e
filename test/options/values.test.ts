import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { host, listenUrl, origin, originRule } from '../../src/options/addresses.ts';
import {
  choice,
  count,
  duration,
  flag,
  historyBound,
  type Kind,
  port,
  size,
} from '../../src/options/values.ts';

interface Cases {
  kind: Kind<unknown>;
  good: readonly (readonly [raw: unknown, value: unknown])[];
  bad: readonly unknown[];
}

const MiB = 1024 * 1024;
const notWords = [
  undefined,
  null,
  true,
  {},
  [],
  ['1'],
  Number.NaN,
  Number.POSITIVE_INFINITY,
  -1,
  1.5,
  2 ** 53,
];
const notNumbers = [
  '',
  ' ',
  '-1',
  '+1',
  '1e3',
  '0x10',
  '080',
  '00',
  '1.5',
  '1_000',
  '1,000',
  ' 1',
  '1 ',
  '1\n',
  'lots',
];
const huge = ['9'.repeat(20), '9'.repeat(400)];

const cases: Record<string, Cases> = {
  port: {
    kind: port,
    good: [
      ['0', 0],
      ['80', 80],
      ['65535', 65535],
      [8080, 8080],
      [0, 0],
    ],
    bad: [...notWords, ...notNumbers, ...huge, '65536', 65536, '80KB'],
  },
  count: {
    kind: count,
    good: [
      ['0', 0],
      ['1', 1],
      ['1000000', 1e6],
      [5, 5],
    ],
    bad: [...notWords, ...notNumbers, ...huge, '1K'],
  },
  size: {
    kind: size,
    good: [
      ['0', Number.POSITIVE_INFINITY],
      [0, Number.POSITIVE_INFINITY],
      ['0KB', Number.POSITIVE_INFINITY],
      ['1', 1],
      ['100B', 100],
      ['512KB', 512 * 1024],
      ['512KiB', 512 * 1024],
      ['512K', 512 * 1024],
      ['16MB', 16 * MiB],
      ['16mb', 16 * MiB],
      ['1MiB', MiB],
      ['2G', 2048 * MiB],
      [65536, 65536],
    ],
    bad: [
      ...notWords,
      ...notNumbers,
      ...huge,
      '9007199254740991GB',
      'MB',
      '1 MB',
      '1TB',
      '1.5MB',
      '1constructor',
      '01MB',
    ],
  },
  duration: {
    kind: duration,
    good: [
      ['0', 0],
      ['0s', 0],
      ['30', 30_000],
      [30, 30_000],
      ['30s', 30_000],
      ['500ms', 500],
      ['2m', 120_000],
      ['1h', 3_600_000],
      ['576h', 576 * 3_600_000],
    ],
    bad: [...notWords, ...notNumbers, ...huge, '577h', '2147483647', 's', '1d', '1m30s', '-5s', '1toString'],
  },
  flag: {
    kind: flag,
    good: [
      [true, true],
      [false, false],
    ],
    bad: ['true', 'false', 1, 0, null, undefined, {}],
  },
  choice: {
    kind: choice(['off', 'on'], 'WORD'),
    good: [
      ['off', 'off'],
      ['on', 'on'],
    ],
    bad: ['', 'On', 'o', 'onn', true, null, 0, ['on'], 'constructor'],
  },
  host: {
    kind: host,
    good: [
      ['::', '::'],
      ['[::1]', '::1'],
      ['::ffff:127.0.0.1', '::ffff:127.0.0.1'],
      ['fe80::1%eth0', 'fe80::1%eth0'],
      ['127.0.0.1', '127.0.0.1'],
      ['localhost', 'localhost'],
      ['Web_1.example.com', 'Web_1.example.com'],
    ],
    bad: [
      ...[
        '',
        '*',
        ' ',
        '[::1',
        '::1]',
        ':::',
        '1::2::3',
        '12345::',
        '127.1',
        '127.0.0.01',
        '0x7f000001',
        '256.1.1.1',
      ],
      ...[
        'a b',
        'a/b',
        'a@b',
        'a:80',
        '127.0.0.1:80',
        '-a',
        'a-',
        'ü.example',
        'a'.repeat(254),
        80,
        null,
        {},
      ],
    ],
  },
  listen: {
    kind: listenUrl,
    good: [
      ['tcp://[::1]:8080', { transport: 'tcp', host: '::1', port: 8080 }],
      ['tcp://127.0.0.1:0', { transport: 'tcp', host: '127.0.0.1', port: 0 }],
      ['tcp://localhost:80/', { transport: 'tcp', host: 'localhost', port: 80 }],
      ['tcp://:2323?lines', { transport: 'tcp', host: '::', port: 2323, greeting: 'lines' }],
      ['fd:3?greet', { transport: 'inherited', fd: 3, greeting: 'greet' }],
      ['unix:/a?mode=660&group=www-data', { transport: 'unix', path: '/a', mode: 0o660, group: 'www-data' }],
      ['unix:/a?lines&mode=0600', { transport: 'unix', path: '/a', greeting: 'lines', mode: 0o600 }],
      ['unix:/run/a.sock', { transport: 'unix', path: '/run/a.sock' }],
      ['unix:///run/a b.sock', { transport: 'unix', path: '/run/a b.sock' }],
      [`unix:/${'a'.repeat(102)}`, { transport: 'unix', path: `/${'a'.repeat(102)}` }],
    ],
    bad: [
      ...['', 'tcp:', 'tcp://', 'tcp://a', 'tcp://a:', 'tcp://a:99999', 'tcp://a:080', 'tcp://::1:80'],
      ...[
        'tcp://[::1]',
        'tcp://[a]:80:80',
        'tcp://u@a:80',
        'tcp://a:80/x',
        'http://a:80',
        '127.0.0.1:80',
        'tcp://*:1',
      ],
      ...['unix:', 'unix:/', 'unix:a', 'unix:./a', 'unix://host/a', 'unix:/a\0b', `unix:/${'a'.repeat(103)}`],
      ...[`unix:/${'ü'.repeat(52)}`, 80, null, {}],
    ],
  },
  origin: {
    kind: origin,
    good: [
      ['https://example.com', 'https://example.com'],
      ['HTTPS://Example.COM:443/', 'https://example.com'],
      ['http://localhost:3000', 'http://localhost:3000'],
      ['http://[::1]:80', 'http://[::1]'],
      ['null', 'null'],
      ['capacitor://localhost', 'capacitor://localhost'],
    ],
    bad: [
      ...[
        '',
        '*',
        'same',
        'example.com',
        'https://',
        'https://*.example.com',
        'https://a/b',
        'https://a?b',
        'https://a#b',
      ],
      ...['https://u@a', 'https://a:99999', 'ftp://a', 'https://a b', 'https:a', 'https:\\\\a', 1, null, {}],
    ],
  },
  originRule: {
    kind: originRule,
    good: [
      ['https://example.com', 'https://example.com'],
      ['null', 'null'],
      ['Same', 'same'],
      ['*.Example.com', '*.example.com'],
      ['HTTPS://*.Example.com:443/', 'https://*.example.com'],
    ],
    bad: ['', '*', 'example.com', 'https://a/b', 'ws://a', 1, null, {}],
  },
};

for (const [name, { kind, good, bad }] of Object.entries(cases)) {
  describe(name, () => {
    test('reads valid values', () => {
      for (const [raw, value] of good) assert.deepEqual(kind.parse(raw), value, JSON.stringify(raw));
    });
    test('refuses everything else', () => {
      for (const raw of bad) assert.equal(kind.parse(raw), undefined, JSON.stringify(raw));
    });
    test('reads back what it shows', () => {
      if (kind === flag) return;
      for (const [, value] of good) assert.deepEqual(kind.parse(kind.show(value)), value);
    });
  });
}

test('sizes and times are shown in their largest whole unit', () => {
  assert.equal(size.show(16 * MiB), '16MB');
  assert.equal(size.show(1536), '1536B');
  assert.equal(size.show(Number.POSITIVE_INFINITY), '0');
  assert.equal(duration.show(90_000), '90s');
  assert.equal(duration.show(120_000), '2m');
  assert.equal(duration.show(1_500), '1500ms');
  assert.equal(duration.show(0), '0');
});

test('every number within range is read back from its shown form', () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 2 ** 50 }), n => size.parse(size.show(n)) === n),
    { seed: 6455 },
  );
  fc.assert(
    fc.property(fc.integer({ min: 0, max: 576 * 3_600_000 }), n => duration.parse(duration.show(n)) === n),
    { seed: 6455 },
  );
});

test('no value makes a parser throw', () => {
  fc.assert(
    fc.property(fc.oneof(fc.jsonValue(), fc.string({ unit: 'binary' }), fc.webUrl(), fc.ipV6()), raw => {
      for (const { kind } of Object.values(cases)) kind.parse(raw);
    }),
    { seed: 6455 },
  );
});

test('a history of no messages and one of no bytes are the same: none', () => {
  for (const none of ['0', '0KB', 0]) assert.equal(historyBound.parse(none)?.messages, 0, String(none));
  assert.equal(historyBound.show(historyBound.parse('0KB')!), '0');
});
