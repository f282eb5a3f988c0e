/** Text from the network in the inspector. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { visibleText } from '../../../src/web/inspector/visible.ts';

test('visibleText names controls, direction marks, zero-width characters and lone surrogates', () => {
  assert.equal(visibleText('a\tb\r\nc\0'), 'a\\tb\\r\\nc\\0');
  assert.equal(visibleText('\x1b[31m\x7f\x85'), '\\x1b[31m\\x7fU+0085');
  assert.equal(visibleText('\u202egnp.exe\u202c\u2066\u200f'), 'U+202Egnp.exeU+202CU+2066U+200F');
  assert.equal(visibleText('a\u200bb\u200d\ufeff\u00ad\u2028'), 'aU+200BbU+200DU+FEFFU+00ADU+2028');
  assert.equal(visibleText('\ud83d!\u{e0041}'), 'U+D83D!U+E0041');
});

test('visibleText leaves letters of all scripts, spaces and emoji as they are', () => {
  const text = 'grüß dich, שלום، 你好 é ❤️ 😀 {"a": 1} <b>';
  assert.equal(visibleText(text), text);
});
