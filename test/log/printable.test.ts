/** Text of strangers in a log or a terminal. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { terminalSafe as printableInClient } from '../../src/client/outcome.ts';
import { printableChatText } from '../../src/handlers/chat/encoders.ts';
import { printableJson, printableLine } from '../../src/log/printable.ts';

const printableInChat = (text: string) => Buffer.from(printableChatText(Buffer.from(text))).toString();

/** Controls, C1 controls, line separators, embeddings and overrides, isolates. */
const commands = [
  ...['\x00', '\x07', '\x08', '\r', '\x1b', '\x7f', '\x80', '\x85', '\x9b', '\x9f'],
  ...['\u2028', '\u2029', '\u202a', '\u202b', '\u202c', '\u202d', '\u202e'],
  ...['\u2066', '\u2067', '\u2068', '\u2069'],
];

test('no control character reaches a terminal, wherever the text is shown', () => {
  for (const command of commands) {
    const text = `a${command}b`;
    assert.equal(printableInChat(text), 'a·b', JSON.stringify(text));
    assert.equal(printableInClient(text), 'a·b', JSON.stringify(text));
    for (const shown of [printableLine(text), printableJson(text)]) {
      assert.ok(!shown.includes(command), JSON.stringify(text));
      assert.match(shown, /a\\.+b/);
    }
    assert.equal(JSON.parse(printableJson(text)), text);
  }
});

test('text of all scripts and line ends stay unchanged', () => {
  const text = 'Grüße 🐸 שלום こんにちは \u200f';
  for (const show of [printableInChat, printableInClient, printableLine]) assert.equal(show(text), text);
  assert.equal(printableInChat('one\ntwo\r\nthree'), 'one\n    two\n    three');
  assert.equal(printableInClient('one\n\ttwo'), 'one\n\ttwo');
});

test('characters beside those that are replaced stay unchanged in the chat, in any order', () => {
  const others = ['\u00a0', '\u00c2', '\u2027', '\u202f', '\u2065', '\u206a', '\u3028', '🐸', 'x'];
  for (const other of others) {
    assert.equal(printableInChat(other.repeat(3)), other.repeat(3), JSON.stringify(other));
    for (const command of commands)
      assert.equal(printableInChat(`${command}${other}${command}`), `·${other}·`, JSON.stringify(other));
  }
  assert.equal(printableInChat('\r\r\n\n\r'), '·\n    \n    ·');
  assert.equal(printableInChat('\n'.repeat(1000)), '\n    '.repeat(1000));
});
