/** The data and the negotiation of the cases of compression. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { deflateRawSync } from 'node:zlib';
import { payloadKinds, payloadOf, pieceOf } from '../../src/conformance/payloads.ts';
import { conformanceCases } from '../../src/conformance/table.ts';
import {
  acceptDeflateResponse,
  grantDeflate,
  parseExtensions,
} from '../../src/protocol/websocket/extensions.ts';

test('each kind of data has its size, and any piece of a text is valid UTF-8', () => {
  for (const kind of payloadKinds) {
    const data = payloadOf(kind);
    assert.equal(data.length, kind.size, kind.name);
    if (kind.isText)
      assert.ok(
        data.every(byte => byte < 0x80),
        kind.name,
      );
  }
});

test('the kinds compress differently: texts to less than a third, the picture and the document barely', () => {
  const ratio = new Map(
    payloadKinds.map(kind => [kind.name, deflateRawSync(payloadOf(kind)).length / kind.size] as const),
  );
  for (const name of ['json', 'prose', 'html'] as const) assert.ok(ratio.get(name)! < 0.34, name);
  assert.ok(ratio.get('image')! > 0.5 && ratio.get('image')! < 0.95);
  assert.ok(ratio.get('document')! > 0.95);
});

test('pieces follow each other, and wrap around at the end of the data', () => {
  const kind = payloadKinds[0]!;
  const length = 131_072;
  const pieces = Array.from({ length: 5 }, (_, at) => pieceOf(kind, at * length, length));
  const data = payloadOf(kind);
  const expected = Buffer.concat(Array.from({ length: 4 }, () => data)).subarray(0, 5 * length);
  assert.deepEqual(Buffer.concat(pieces), expected);
});

describe('grantDeflate', () => {
  const grant = (header: string, ...wishes: Parameters<typeof grantDeflate>[1]) =>
    grantDeflate(parseExtensions(header, 400), wishes);
  const plain = { clientNoContextTakeover: false };

  test('accepts the first usable offer, and grants its parameters', () => {
    assert.equal(grant('permessage-deflate', plain)?.response, 'permessage-deflate');
    assert.deepEqual(
      grant(
        'x, permessage-deflate; mystery, permessage-deflate; server_no_context_takeover; server_max_window_bits=9; client_max_window_bits',
        plain,
      ),
      {
        response: 'permessage-deflate; server_no_context_takeover; server_max_window_bits=9',
        parameters: {
          serverNoContextTakeover: true,
          clientNoContextTakeover: false,
          serverMaxWindowBits: 9,
          clientMaxWindowBits: 15,
        },
      },
    );
    assert.equal(grant('x-webkit-deflate-frame', plain), undefined);
  });

  test('a client that offers to drop its context may still keep it, unless the server asks it not to', () => {
    const offer = 'permessage-deflate; client_no_context_takeover';
    assert.equal(grant(offer, plain)?.parameters.clientNoContextTakeover, false);
    const asked = grant(offer, { clientNoContextTakeover: true });
    assert.deepEqual(
      [asked?.response, asked?.parameters.clientNoContextTakeover],
      ['permessage-deflate; client_no_context_takeover', true],
    );
  });

  test("a limit for the client's window needs an offer that allows it, and does not exceed the offered one", () => {
    const wish = { clientNoContextTakeover: false, clientMaxWindowBits: 12 };
    assert.equal(grant('permessage-deflate', wish), undefined);
    assert.equal(grant('permessage-deflate', wish, plain)?.response, 'permessage-deflate');
    assert.equal(
      grant('permessage-deflate, permessage-deflate; client_max_window_bits', wish)?.response,
      'permessage-deflate; client_max_window_bits=12',
    );
    assert.equal(
      grant('permessage-deflate; client_max_window_bits=10', wish)?.response,
      'permessage-deflate; client_max_window_bits=10',
    );
  });

  test('the answer of each compression case is valid for its own offers', () => {
    const cases = conformanceCases.filter(({ number }) => number !== undefined && /^1[23]\./.test(number));
    assert.equal(cases.length, 216);
    for (const { deflate, name } of cases) {
      const { offers, answer } = deflate!;
      const agreement = answer(parseExtensions(offers.join(', '), 400));
      assert.ok(agreement, name);
      const { parameters, response } = agreement;
      assert.deepEqual(
        acceptDeflateResponse(parseExtensions(response, 1002), 'takeover'),
        { ...parameters },
        name,
      );
    }
  });
});
