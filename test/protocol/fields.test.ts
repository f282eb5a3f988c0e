import assert from 'node:assert/strict';
import { test } from 'node:test';
import { hasToken, isHost, splitList } from '../../src/protocol/http/fields.ts';

test('hasToken finds a token in a list, and isHost accepts hosts only', () => {
  for (const list of ['upgrade', 'Upgrade', 'keep-alive, Upgrade', ' a ,\tUPGRADE\t', ',upgrade']) {
    assert.ok(hasToken(list, 'upgrade'), list);
  }
  const others = [
    'upgrades',
    'keep-alive upgrade',
    'upgrade;q=1',
    '\xa0upgrade',
    'upgrade upgrade, xupgrade',
  ];
  for (const list of [undefined, '', ...others]) {
    assert.ok(!hasToken(list, 'upgrade'), list);
  }
  for (const host of ['a', 'a.b-c_d', 'a:80', 'a:', '127.0.0.1:1', '[::1]', '[::ffff:1.2.3.4]:65535']) {
    assert.ok(isHost(host), host);
  }
  for (const host of ['', ':80', 'a b', 'a, b', 'a:b', 'a:123456', '[::1', '::1', 'a/b', 'a@b', 'é']) {
    assert.ok(!isHost(host), host);
  }
});

test('splitList ignores empty elements', () => {
  assert.deepEqual(splitList(' a ,\t,b,, c d,'), ['a', 'b', 'c d']);
  for (const list of ['', ' ', ',', ' ,\t, ']) assert.deepEqual(splitList(list), []);
  assert.deepEqual(splitList('\xa0,a'), ['\xa0', 'a']);
});
