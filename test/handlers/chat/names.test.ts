import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { readName } from '../../../src/handlers/chat/names.ts';

const read = (text: string) => readName(Buffer.from(text), 'nick');

function keyOf(text: string): string {
  const name = read(text);
  if (typeof name === 'string') assert.fail(`${JSON.stringify(text)}: ${name}`);
  return name.key;
}

function refusal(bytes: string | Uint8Array): string {
  const name = readName(Buffer.from(bytes as Uint8Array), 'nick');
  if (typeof name !== 'string') assert.fail(`${JSON.stringify(name.text)} is taken for fit`);
  return name;
}

test('names in all scripts, with spaces and emoji, are valid and unchanged', () => {
  for (const text of [
    'alice',
    'Zoë',
    'Ελένη',
    'Дмитрий',
    '小青蛙',
    'ضفدع',
    'หนู',
    'नमस्ते',
    'two words',
    '../../etc/passwd',
    '<b>',
    '"',
    '0',
    '🐸',
    '👩‍💻',
    '👩🏽‍💻',
    '❤️‍🔥',
    '👨‍👩‍👧‍👦',
    'a'.repeat(32),
    '🐸'.repeat(32),
  ]) {
    const name = read(text);
    assert.equal(typeof name === 'string' ? name : name.text, text.normalize('NFC'));
  }
});

test('names that differ only in case, width, composition or spacing have the same key', () => {
  for (const [one, other] of [
    ['alice', 'ALICE'],
    ['alice', 'ａｌｉｃｅ'],
    ['Zoë', 'Zoe\u0308'],
    ['straße', 'STRASSE'],
    ['straße', 'STRAẞE'],
    ['ΣΙΣΥΦΟΣ', 'σισυφος'],
    ['σισυφοσ', 'σισυφος'],
    ['ﬁsh', 'fish'],
    ['two words', 'two\u00a0words'],
    ['two words', 'two  words'],
    ['two words', 'two\u3000words'],
    ['Å', 'Å'],
    ['각', '각'],
    ['ǆ', 'ǅ'],
  ] as const) {
    assert.equal(keyOf(one), keyOf(other), `${one} and ${other}`);
  }
});

test('names with similar letters or accents have different keys', () => {
  for (const [one, other] of [
    ['alice', 'alicia'],
    ['alice', 'аlice'],
    ['zoe', 'zoë'],
    ['o', '0'],
    ['two words', 'twowords'],
  ] as const) {
    assert.notEqual(keyOf(one), keyOf(other), `${one} and ${other}`);
  }
});

test('invisible characters are refused or ignored in the key', () => {
  const ignorable = [
    0x34f, 0x115f, 0x1160, 0x17b4, 0x17b5, 0x180b, 0x180f, 0x2065, 0x3164, 0xfe00, 0xfe0f, 0xffa0, 0xe0100,
  ];
  for (const code of ignorable) {
    const character = String.fromCodePoint(code);
    for (const text of [`alice${character}`, `ali${character}ce`, `${character}alice`]) {
      const name = read(text);
      const label = `alice with U+${code.toString(16).toUpperCase()}`;
      if (typeof name !== 'string') assert.equal(name.key, 'alice', label);
    }
  }
});

test('a name must have a visible character', () => {
  const blanks = [
    '',
    ' ',
    '\u3000',
    '\u0301',
    '\u0301\u0302',
    '\u20dd',
    '\ufe0f',
    '\u115f',
    '\u3164',
    '\uffa0',
    '\u2800',
  ];
  for (const text of blanks) refusal(text);
});

test('control, invisible, unassigned and private characters are refused with a sentence', () => {
  const unfit = [
    ...[0x00, 0x07, 0x09, 0x0a, 0x0d, 0x1b, 0x7f, 0x85, 0x9b, 0xad],
    ...[0x200b, 0x200c, 0x200d, 0x200e, 0x200f, 0x202a, 0x202e, 0x2028, 0x2029, 0x2060, 0x2066, 0x2069],
    ...[0xfeff, 0xfff9, 0xfffe, 0xe000, 0xe0001, 0xe0041, 0x10ffff, 0x0378],
  ];
  for (const code of unfit) {
    for (const text of [`a${String.fromCodePoint(code)}b`, `${String.fromCodePoint(code)}`]) {
      assert.match(refusal(text), /^a nick /, `U+${code.toString(16)}`);
    }
  }
});

test('a zero-width joiner is allowed between emoji only', () => {
  for (const text of ['a\u200db', '👩\u200d', '\u200d💻', '👩\u200d\u200d💻', '👩\u200da', 'a\u200d💻'])
    refusal(text);
});

test('invalid UTF-8 is refused: surrogates, overlong and truncated forms', () => {
  for (const hex of [
    'eda080',
    'edb080',
    'eda080edb080',
    'c080',
    'c1bf',
    'e08080',
    'f0808080',
    'f4908080',
    'ff',
    'e282',
  ]) {
    assert.equal(refusal(Buffer.from(hex, 'hex')), 'a nick must be valid UTF-8', hex);
  }
});

test('a name has at most 32 characters, counted as code points after composition', () => {
  assert.match(refusal('a'.repeat(33)), /at most 32/);
  assert.match(refusal('🐸'.repeat(33)), /at most 32/);
  assert.match(refusal(Buffer.alloc(1_000_000, 0x61)), /at most 32/);
  assert.equal(typeof read('e\u0301'.repeat(32)), 'object');
  // Normalization makes this one longer: three characters each.
  assert.match(refusal('\u{1d160}'.repeat(11)), /at most 32/);
});

test('the key of any name is a name with the same key, short enough for a file name', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'grapheme', maxLength: 20 }), text => {
      const name = read(text);
      if (typeof name === 'string') return;
      assert.equal(name.text, name.text.normalize('NFC'));
      const again = read(name.text);
      assert.ok(typeof again !== 'string' && again.key === name.key);
      const folded = read(name.key);
      if (typeof folded !== 'string') assert.equal(folded.key, name.key);
      assert.equal(keyOf(name.text.toUpperCase().slice(0, 32)).length > 0, true);
    }),
    { seed: 6455, numRuns: 3000 },
  );
});

test('any bytes yield a name or a sentence', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 140 }), bytes => {
      const name = readName(bytes, 'room');
      if (typeof name === 'string') assert.match(name, /^a room must /);
      else assert.ok(name.key.length > 0 && name.key.length <= 32 * 18);
    }),
    { seed: 6455, numRuns: 3000 },
  );
});
