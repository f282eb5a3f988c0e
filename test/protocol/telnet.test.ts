/** What telnet sends beside text. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { beginsTelnet, readTelnet } from '../../src/protocol/telnet.ts';

const bytes = (text: string) => Buffer.from(text, 'latin1');

/** @returns text and answer, a character for each byte */
function read(line: string): [text: string, answer: string] {
  const { text, answer } = readTelnet(bytes(line));
  return [text.toString('latin1'), answer.toString('latin1')];
}

test('the first two bytes identify a command', () => {
  const begins = (text: string) => beginsTelnet(bytes(text), 0, text.length);
  assert.deepEqual(['\xff\xfb', '\xff\xf1x', '\xff', '\xff\xff', '\xffa', 'a\xff\xfb'].map(begins), [
    true,
    true,
    undefined,
    false,
    false,
    false,
  ]);
});

test('options are refused, and refusals are not answered', () => {
  assert.deepEqual(read('\xff\xfd\x01a\xff\xfb\x18b'), ['ab', '\xff\xfc\x01\xff\xfe\x18']);
  assert.deepEqual(read('\xff\xfc\x01a\xff\xfe\x18'), ['a', '']);
});

test('commands and subnegotiations are removed, and a doubled IAC is one byte', () => {
  assert.deepEqual(read('a\xff\xf1b\xff\xfa\x18\0xterm\xff\xf0c'), ['abc', '']);
  assert.deepEqual(read('a\xff\xffb'), ['a\xffb', '']);
});

test('an incomplete command ends with the line', () => {
  for (const cut of ['\xff\xfa\x18x', '\xff\xfd', '\xff\xf1']) assert.deepEqual(read(`a${cut}`), ['a', '']);
  assert.deepEqual(read('a\xff'), ['a\xff', '']);
});
