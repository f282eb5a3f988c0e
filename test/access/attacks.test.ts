/** Attacks on tokens, links and rights: each is refused, for its own reason. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { readCredentials } from '../../src/access/credentials.ts';
import { decide } from '../../src/access/rights.ts';
import { allowRule } from '../../src/options/rules.ts';
import type { Head } from '../../src/protocol/http/head.ts';
import { percentDecode } from '../../src/protocol/http/path.ts';
import { attacked, attacks, victimClaims } from '../support/attacks.ts';
import { accessOf, linkOf, tokenOf } from '../support/tokens.ts';

const now = Date.UTC(2026, 10, 27, 12);

const access = accessOf({ ...attacked, rules: attacked.rules.map(line => allowRule.parse(line)!) });

function headOf(url: string, headers: Readonly<Record<string, string>>): Head {
  const [path = '', query = ''] = url.split(/\?(.*)/s, 2);
  return {
    ...{ method: 'GET', target: url, path, query, version: '1.1', bodyLength: 0 },
    headers: new Map(Object.entries(headers)),
  };
}

/** @returns why a subscription is refused; undefined: it is allowed */
function refusalOf(url: string, headers: Readonly<Record<string, string>> = {}): string | undefined {
  const head = headOf(url, headers);
  const { identity, fault } = readCredentials(access, head, now);
  const { isAllowed, rule, refusal, sentence } = decide(
    access,
    'subscribe',
    percentDecode(head.path)!,
    identity,
  );
  if (isAllowed) return undefined;
  assert.ok(Buffer.byteLength(sentence) <= 123 && sentence !== '');
  assert.ok(fault === undefined || (identity === undefined && Buffer.byteLength(fault) <= 123), fault);
  return fault ?? `${refusal} ${rule}`;
}

describe('the server under attack', () => {
  const all = attacks(now, 1);

  test('is tested with at least 60 attacks, each with its own name', () => {
    assert.ok(all.length >= 60, `${all.length}`);
    assert.equal(new Set(all.map(({ name }) => name)).size, all.length);
  });

  test('admits the user 17 with a token of each algorithm, in each place, and with a link', () => {
    const channel = '/channels/user-17';
    for (const by of ['HS256', 'RS256', 'ES256', 'EdDSA'] as const) {
      const token = tokenOf(victimClaims(now), {}, by);
      assert.equal(refusalOf(`${channel}?token=${token}`), undefined, by);
      assert.equal(refusalOf(channel, { authorization: `bearer ${token}` }), undefined, by);
      assert.equal(refusalOf(channel, { cookie: `a=b; session=${token}` }), undefined, by);
    }
    assert.equal(refusalOf(linkOf(channel, '17', now / 1000 + 1)), undefined);
    assert.equal(refusalOf(linkOf(channel, '17', now / 1000 + 1).replace('user-17', 'user%2D17')), undefined);
    assert.equal(refusalOf(linkOf('/channels/orders-ü 1', '17', now / 1000 + 1)), undefined);
  });

  test('refuses a link whose user is not UTF-8, although the U+FFFD in its place was signed', () => {
    const link = linkOf('/channels/user-17', '\ufffd', now / 1000 + 1).replace('%EF%BF%BD', '%FF');
    assert.equal(refusalOf(link), 'the query of the link is not percent-encoded UTF-8');
  });

  for (const { name, url, headers, reason } of all)
    test(`refuses ${name}`, () => {
      const refusal = refusalOf(url, headers);
      assert.ok(refusal !== undefined, 'it was allowed');
      assert.match(refusal, reason);
    });
});
