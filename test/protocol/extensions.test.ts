import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { CloseCode, ProtocolError } from '../../src/protocol/codes.ts';
import {
  acceptDeflateResponse,
  type DeflateParameters,
  negotiateDeflate,
  offerDeflate,
  parseExtensions,
} from '../../src/protocol/websocket/extensions.ts';

const refusedWith = (code: number, reason: RegExp) => (error: unknown) =>
  error instanceof ProtocolError && error.code === code && reason.test(error.message);

describe('parseExtensions', () => {
  // RFC 6455 §9.1 has the first four.
  const readable: [value: string, extensions: [name: string, ...parameters: [string, string?][]][]][] = [
    ['foo, bar; baz=2', [['foo'], ['bar', ['baz', '2']]]],
    ['deflate-stream', [['deflate-stream']]],
    [
      'mux; max-channels=4; flow-control,   deflate-stream',
      [['mux', ['max-channels', '4'], ['flow-control']], ['deflate-stream']],
    ],
    ['private-extension', [['private-extension']]],
    [' \ta\t;\tb = c \t', [['a', ['b', 'c']]]],
    ['a;b="c"', [['a', ['b', 'c']]]],
    ['a;b="\\c\\1", d', [['a', ['b', 'c1']], ['d']]],
    ['a;b;b=1;b', [['a', ['b'], ['b', '1'], ['b']]]],
    // RFC 9110 §5.6.1.2: empty elements are ignored.
    ...(['', ' ', ',', ' , ,\t'].map(value => [value, []]) as [string, []][]),
    ...(['a,', ',a', ' , a', 'a\t, ,'].map(value => [value, [['a']]]) as [string, [string][]][]),
    [
      'a;b=c,, ,d;e,',
      [
        ['a', ['b', 'c']],
        ['d', ['e']],
      ],
    ],
  ];
  for (const [value, expected] of readable) {
    test(`reads ${JSON.stringify(value)}`, () => {
      const read = parseExtensions(value, 400).map(({ name, parameters }) => [
        name,
        ...parameters.map(([key, given]) => (given === undefined ? [key] : [key, given])),
      ]);
      assert.deepEqual(read, expected);
    });
  }

  const malformed = [
    ...['a;', 'a;,b', 'a;,', ';a', ',;a', 'a,;b', 'a b', 'a;b=', 'a;=b', 'a;b=c=d', 'a=b', 'a/b'],
    ...[
      'a;b="',
      'a;b="c',
      'a;b=""',
      'a;b="c d"',
      'a;b="c,d"',
      'a;b="\\"',
      'a;b="\\""',
      'a;b="c"d',
      'a;b=c"d"',
    ],
    ...['\xe9', 'a\xa0', 'a;b=\u0142'],
  ];
  for (const value of malformed) {
    test(`refuses ${JSON.stringify(value)} [4.3-1, 9.1-1, 9.1-2]`, () => {
      assert.throws(() => parseExtensions(value, 400), refusedWith(400, /Sec-WebSocket-Extensions/));
      assert.throws(() => parseExtensions(value, 1002), refusedWith(1002, /Sec-WebSocket-Extensions/));
    });
  }

  test('throws only ProtocolErrors, and reads what was written', () => {
    const piece = fc.constantFrom(
      'a',
      'b1',
      ' ',
      '\t',
      ';',
      ',',
      '=',
      '"',
      '\\',
      '"c"',
      '\xff',
      'permessage-deflate',
    );
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 12 }), pieces => {
        let read: ReturnType<typeof parseExtensions>;
        try {
          read = parseExtensions(pieces.join(''), 400);
        } catch (error) {
          assert.ok(error instanceof ProtocolError, String(error));
          return;
        }
        const written = read.map(({ name, parameters }) =>
          [name, ...parameters.map(([key, value]) => (value === undefined ? key : `${key}="${value}"`))].join(
            ';',
          ),
        );
        assert.deepEqual(parseExtensions(written.join(','), 400), read);
      }),
      { seed: 7692, numRuns: 3000 },
    );
  });
});

/** Context takeover as two letters, `s` and `c` for each side that gives it up; then the window sizes. */
function short(parameters: DeflateParameters | undefined): string | undefined {
  if (parameters === undefined) return undefined;
  const { serverNoContextTakeover, clientNoContextTakeover, serverMaxWindowBits, clientMaxWindowBits } =
    parameters;
  const sides = (serverNoContextTakeover ? 's' : '') + (clientNoContextTakeover ? 'c' : '');
  return `${sides} ${serverMaxWindowBits} ${clientMaxWindowBits}`.trim();
}

const pmd = 'permessage-deflate';
const both = `${pmd}; server_no_context_takeover; client_no_context_takeover`;

describe('negotiateDeflate', () => {
  const accepted: [mode: 'on' | 'takeover', offer: string, response: string, parameters: string][] = [
    ['on', pmd, both, 'sc 15 15'],
    ['on', `${pmd}; client_max_window_bits`, both, 'sc 15 15'],
    ['on', `${pmd}; client_max_window_bits=10`, both, 'sc 15 15'],
    ['on', `${pmd}; server_max_window_bits=10`, `${both}; server_max_window_bits=10`, 'sc 10 15'],
    ['takeover', pmd, pmd, '15 15'],
    ['takeover', `${pmd}; client_max_window_bits`, pmd, '15 15'],
    ['takeover', `${pmd}; client_max_window_bits=9`, `${pmd}; client_max_window_bits=9`, '15 9'],
    ['takeover', `${pmd}; server_max_window_bits=8`, `${pmd}; server_max_window_bits=8`, '8 15'],
    ['takeover', `${pmd}; server_max_window_bits="15"`, `${pmd}; server_max_window_bits=15`, '15 15'],
    ['takeover', `${pmd}; server_no_context_takeover`, `${pmd}; server_no_context_takeover`, 's 15 15'],
    ['takeover', `${pmd}; client_no_context_takeover`, `${pmd}; client_no_context_takeover`, 'c 15 15'],
    [
      'takeover',
      `foo, ${pmd}; bar, ${pmd}; server_max_window_bits=9, ${pmd}`,
      `${pmd}; server_max_window_bits=9`,
      '9 15',
    ],
  ];
  for (const [mode, offer, response, parameters] of accepted) {
    test(`accepts ${offer} in the mode ${mode} [4.2.2-10, 7692-5-1, 7692-5-2, 7692-7.1.1.1-2, 7692-7.1.1.1-3, 7692-7.1.1.1-5, 7692-7.1.1.2-2, 7692-7.1.2.1-3, 7692-7.1.2.2-3, 7692-7.1.2.2-4]`, () => {
      const agreed = negotiateDeflate(parseExtensions(offer, 400), mode);
      assert.equal(agreed?.response, response);
      assert.equal(short(agreed.parameters), parameters);
    });
  }

  const declined = [
    'x-webkit-deflate-frame',
    'Permessage-Deflate',
    `${pmd}; unknown`,
    `${pmd}; server_no_context_takeover=1`,
    `${pmd}; client_no_context_takeover=true`,
    `${pmd}; server_no_context_takeover; server_no_context_takeover`,
    `${pmd}; client_no_context_takeover; client_no_context_takeover`,
    `${pmd}; server_max_window_bits`,
    `${pmd}; server_max_window_bits=9; server_max_window_bits=9`,
    `${pmd}; client_max_window_bits; client_max_window_bits`,
    `${pmd}; client_max_window_bits=10; client_max_window_bits`,
    ...['7', '16', '08', '1', '015', '1e1', '+9', '10.0'].flatMap(bits => [
      `${pmd}; server_max_window_bits=${bits}`,
      `${pmd}; client_max_window_bits=${bits}`,
    ]),
  ];
  for (const offer of declined) {
    test(`declines ${offer} [9-3, 9.1-5, 7692-7-1, 7692-7-2, 7692-7-3, 7692-7.1.2.1-2, 7692-7.1.2.2-2]`, () => {
      assert.equal(negotiateDeflate(parseExtensions(offer, 400), 'on'), undefined);
      assert.equal(negotiateDeflate(parseExtensions(offer, 400), 'takeover'), undefined);
    });
  }

  test('uses no compression if it is off or not offered [9-1, 9.2-1, 7692-7-4]', () => {
    assert.equal(negotiateDeflate(parseExtensions(pmd, 400), 'off'), undefined);
    assert.equal(negotiateDeflate([], 'on'), undefined);
  });
});

describe('the client', () => {
  const accept = (response: string, mode: 'off' | 'on' | 'takeover') =>
    acceptDeflateResponse(parseExtensions(response, CloseCode.ProtocolError), mode);

  test('makes an offer that our server accepts, and accepts its response [9.1-6, 7692-7.1.1.1-1, 7692-7.1.1.2-1]', () => {
    assert.equal(offerDeflate('off'), undefined);
    assert.equal(offerDeflate('on'), both.replace(pmd, `${pmd}; client_max_window_bits`));
    for (const client of ['on', 'takeover'] as const) {
      for (const server of ['on', 'takeover'] as const) {
        const agreed = negotiateDeflate(parseExtensions(offerDeflate(client)!, 400), server);
        assert.deepEqual(accept(agreed!.response, client), agreed!.parameters, `${client}, ${server}`);
      }
      assert.equal(acceptDeflateResponse([], client), undefined);
    }
  });

  const accepted: [mode: 'on' | 'takeover', response: string, parameters: string][] = [
    ['on', `${pmd}; server_no_context_takeover`, 'sc 15 15'],
    // A server that ignores what was asked for compresses with context takeover.
    ['on', pmd, 'c 15 15'],
    ['on', `${pmd}; client_no_context_takeover`, 'c 15 15'],
    ['on', `${pmd}; server_max_window_bits=10; client_max_window_bits=9`, 'c 10 9'],
    ['takeover', pmd, '15 15'],
    ['takeover', both, 'sc 15 15'],
    ['takeover', `${pmd}; client_max_window_bits=8; server_max_window_bits=12`, '12 8'],
  ];
  for (const [mode, response, parameters] of accepted) {
    test(`accepts ${response} in the mode ${mode} [7692-7.1.1.2-3, 7692-7.1.1.2-4]`, () =>
      assert.equal(short(accept(response, mode)), parameters));
  }

  const refused: [mode: 'off' | 'on' | 'takeover', response: string, reason: RegExp][] = [
    ['off', pmd, /not offered/],
    ['takeover', 'foo', /not offered/],
    ['takeover', `${pmd}, ${pmd}`, /not offered/],
    ['takeover', `${pmd}, foo`, /not offered/],
    ['takeover', `${pmd}; foo`, /invalid parameters/],
    ['takeover', `${pmd}; server_max_window_bits`, /invalid parameters/],
    ['takeover', `${pmd}; client_max_window_bits=16`, /invalid parameters/],
    ['takeover', `${pmd}; server_no_context_takeover; server_no_context_takeover`, /invalid parameters/],
    ['takeover', `${pmd}; client_max_window_bits`, /without a value/],
  ];
  for (const [mode, response, reason] of refused) {
    test(`refuses ${response} in the mode ${mode} [4.1-40, 7692-5-4, 7692-5-6, 7692-7-5, 7692-7-6, 7692-7-7, 7692-7-8, 7692-7.1.2.2-5]`, () => {
      assert.throws(() => accept(response, mode), refusedWith(CloseCode.ProtocolError, reason));
    });
  }
});
