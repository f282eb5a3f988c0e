import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { parseAddress } from '../../src/client/address.ts';
import { type ClientConfiguration, readClientConfiguration } from '../../src/client/configuration.ts';
import { readMessages } from '../../src/client/input.ts';
import { clientHelp, clientOptions } from '../../src/client/options.ts';
import { UsageError } from '../../src/options/error.ts';
import { flagName } from '../../src/options/option.ts';

function read(...words: string[]): ClientConfiguration {
  const configuration = readClientConfiguration(['ws://localhost/', ...words]);
  assert.ok(typeof configuration === 'object');
  return configuration;
}

test('the URL gives the target, the Host header, the resource and the credentials [3-1, 3-2, 3-3, 4.1-3, 4.1-4]', () => {
  const plain = { isSecure: false, authorization: undefined };
  assert.deepEqual(parseAddress('ws://localhost:8080/echo?a=b c'), {
    ...plain,
    shown: 'ws://localhost:8080/echo?a=b%20c',
    target: { host: 'localhost', port: 8080 },
    host: 'localhost:8080',
    resource: '/echo?a=b%20c',
  });
  assert.deepEqual(parseAddress('wss://[::1]'), {
    ...plain,
    shown: 'wss://[::1]/',
    isSecure: true,
    target: { host: '::1', port: 443 },
    host: '[::1]',
    resource: '/',
  });
  assert.deepEqual(parseAddress('ws://localhost:80/')?.host, 'localhost');
  for (const spelling of ['ws+unix:/run/x:/echo', 'unix:///run/x:/echo', 'WS+UNIX:///run/x:/echo']) {
    const shown = 'ws+unix:/run/x:/echo';
    assert.deepEqual(parseAddress(spelling), {
      ...plain,
      shown,
      target: { path: '/run/x' },
      host: 'localhost',
      resource: '/echo',
    });
  }
  assert.equal(parseAddress('unix:/run/x')?.resource, '/');
  for (const unfit of [
    '',
    'localhost',
    'ws:/a',
    'ws://',
    'ws://a#b',
    'http://a/',
    'unix:x',
    'unix:/',
    'ws://a:99999/',
  ]) {
    assert.equal(parseAddress(unfit), undefined, unfit);
  }
});

test('credentials in the URL that cannot be sent are refused without showing them', () => {
  const basic = (url: string) => Buffer.from(parseAddress(url)!.authorization!.slice(6), 'base64').toString();
  assert.equal(basic('ws://a:b:c%25@localhost/'), 'a:b:c%');
  assert.equal(basic('ws://:secret@localhost/'), ':secret');
  for (const [user, why] of [
    ['a%zz:secret', /is not percent-encoded UTF-8; write % as %25$/],
    ['a:secret%', /is not percent-encoded UTF-8; write % as %25$/],
    ['a:secret%ff', /is not percent-encoded UTF-8; write % as %25$/],
    ['a%3Ab:secret', /contains a colon, which no user may have$/],
  ] as const)
    assert.throws(
      () => readClientConfiguration([`ws://${user}@localhost/`]),
      ({ name, message }: Error) => name === 'UsageError' && why.test(message) && !message.includes('secret'),
      user,
    );
});

test('without options, the configuration has the documented defaults [7.4.1-a]', () => {
  const { address: _, request, ...rest } = read();
  assert.deepEqual(rest, {
    ...{
      cert: '',
      key: '',
      ca: [],
      insecure: false,
      timeout: 10_000,
      ping: 0,
      reconnect: false,
      maxMessage: 16_777_216,
      send: [],
    },
    ...{
      wait: 'quiet',
      close: { code: 1000, reason: '' },
      verbose: false,
      framing: 'lines',
      count: 0,
      chat: undefined,
      conformance: undefined,
      recording: undefined,
      replay: undefined,
    },
  });
  assert.deepEqual([request.subprotocols, request.headers, request.origin], [[], {}, undefined]);
});

test('each option sets its part of the configuration', () => {
  assert.equal(read('-1').count, 1);
  assert.equal(read('-n3').count, 3);
  assert.equal(read('-w', '2').wait, 2000);
  assert.equal(read('-w', '0').wait, 0);
  assert.equal(read('-w', 'quiet').wait, 'quiet');
  assert.equal(read('-w', 'forever').wait, Number.POSITIVE_INFINITY);
  assert.deepEqual(read('--close', '4000:a:b').close, { code: 4000, reason: 'a:b' });
  // The reason may be a separate word, before or after the URL.
  assert.deepEqual(read('--close', '4000', 'so long').close, { code: 4000, reason: 'so long' });
  assert.throws(() => read('--close', '4000', 'so', 'long'), UsageError);
  assert.throws(() => read('--close', '4000:so', 'long'), UsageError);
  assert.throws(() => read('--close', '4000', 'x'.repeat(124)), UsageError);
  assert.deepEqual(read('-x', 'a', '-x', '').send, ['a', '']);
  assert.deepEqual(read('--nick', 'ada').chat, { nick: 'ada', room: 'lobby' });
  assert.deepEqual(read('--nick', 'ada').request.subprotocols, ['tpacket']);
  assert.throws(() => read('--nick', 'ada', '-s', 'other'), UsageError);
  assert.deepEqual(read('--conformance', '--cases', '6.*', '--report', 'tap:x').conformance, {
    ...{ cases: ['6.*'], quick: false, strict: false },
    report: [{ format: 'tap', file: 'x' }],
  });
  assert.throws(() => read('--quick'), /--quick needs --conformance/);
  assert.throws(() => read('--conformance', '--max-message', '1KB'), /remove --max-message/);
  assert.throws(() => read('--conformance', '-x', 'a'), /remove --send/);
  assert.throws(() => read('--conformance', '--report', 'pdf:x'), /junit, json, tap, html/);
  assert.throws(() => read('--conformance', '--report', 'tap:-', '--report', 'json:-'), UsageError);
  assert.equal(read('-H', 'X: é').request.headers['X'], 'Ã©', 'its bytes, as latin1');
});

test('any command line gives a configuration or throws UsageError', () => {
  const flags = Object.keys(clientOptions).map(flagName);
  const words = [
    ...flags,
    '-x',
    '-1',
    '-n',
    '-H',
    '-w',
    '-v',
    'ws://a/',
    '1',
    'a: b',
    '',
    '--',
    '-',
    '\0',
    '1000:é',
  ];
  const word = fc.oneof(fc.constantFrom(...words), fc.string());
  fc.assert(
    fc.property(fc.array(word, { maxLength: 6 }), argv => {
      try {
        readClientConfiguration(argv);
      } catch (error) {
        assert.ok(error instanceof UsageError, String(error));
      }
    }),
    { seed: 1, numRuns: 2000 },
  );
});

test('every example in --help is a valid command line', () => {
  const lines = clientHelp().split('\n');
  const examples = lines.slice(lines.indexOf('Examples:') + 1);
  assert.ok(examples.length > 0);
  for (const example of examples) readClientConfiguration(example.trim().split(' ').slice(1));
});

test('stdin is split into the same lines, wherever its chunks are cut', async () => {
  const sample = { framing: 'lines', maxMessage: 1000, chat: undefined } as const;
  const cuts = fc.array(fc.string({ unit: fc.constantFrom('a', 'é', '\n', '\r', '\0'), maxLength: 8 }));
  await fc.assert(
    fc.asyncProperty(cuts, fc.nat(20), async (texts, size) => {
      const whole = Buffer.from(texts.join(''));
      async function* chunks() {
        for (let at = 0; at < whole.length; at += size + 1) yield whole.subarray(at, at + size + 1);
      }
      const lines: string[] = [];
      for await (const batch of readMessages(chunks(), sample)) lines.push(...batch.map(String));
      const expected = whole.toString().split('\n');
      if (expected.at(-1) === '') expected.pop();
      assert.deepEqual(lines, expected);
    }),
    { seed: 1 },
  );
});
