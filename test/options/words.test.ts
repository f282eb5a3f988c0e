import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { splitWords } from '../../src/options/words.ts';

describe('a line is split', () => {
  const lines: [string, string[]][] = [
    ['', []],
    [' \t ', []],
    ['one', ['one']],
    ['  send 7\thello  ', ['send', '7', 'hello']],
    ["'a b' c", ['a b', 'c']],
    ['"a b"c\'d e\'f', ['a bcd ef']],
    ['""', ['']],
    ["a '' b", ['a', '', 'b']],
    ['a\\ b \\" \\\\', ['a b', '"', '\\']],
    ["'a\\nb'", ['a\\nb']],
    ['"a\\nb\\t\\r\\"\\\\"', ['a\nb\t\r"\\']],
    ['"\\u0041\\u{1f438}\\ud83d\\udc38"', ['A\u{1f438}\u{1f438}']],
    ['"\\u{110000} \\q \\u12"', ['\\u{110000} \\q \\u12']],
    ['$HOME *.txt `x` ~ #', ['$HOME', '*.txt', '`x`', '~', '#']],
    ['"it\'s"', ["it's"]],
    ['\u00a0', ['\u00a0']],
  ];
  for (const [line, words] of lines) {
    test(JSON.stringify(line), () => assert.deepEqual(splitWords(line), words));
  }

  for (const line of ['"', "'", 'a"b', "it's", '"a\\"', '\\', 'a \\']) {
    test(`${JSON.stringify(line)} is refused, because a quote or a backslash has no end`, () => {
      assert.throws(() => splitWords(line), {
        name: 'UsageError',
        message: /(is not closed; add the closing quote|escapes nothing; remove it)$/,
      });
    });
  }

  const ways: Readonly<Record<string, (word: string) => string>> = {
    'in double quotes': word => `"${word.replace(/["\\]/g, '\\$&')}"`,
    'as JSON': word => JSON.stringify(word),
    'with escapes alone': word =>
      `"${[...word].map(one => `\\u{${one.codePointAt(0)!.toString(16)}}`).join('')}"`,
    'in single quotes': word => `'${word.replaceAll("'", `'"'"'`)}'`,
    'with backslashes': word => (word === '' ? "''" : word.replace(/[\s\S]/gu, '\\$&')),
  };
  for (const [way, quote] of Object.entries(ways)) {
    test(`any words, ${way}, are split into the same words`, () => {
      const words = fc.array(fc.string({ unit: 'binary' }));
      fc.assert(
        fc.property(words, fc.constantFrom(' ', '\t', '  '), (given, blank) => {
          // JSON has two escapes that are not among ours.
          const fit = way === 'as JSON' ? given.map(word => word.replace(/[\b\f]/g, '')) : given;
          assert.deepEqual(splitWords(fit.map(quote).join(blank)), fit);
        }),
        { seed: 7, numRuns: 300 },
      );
    });
  }

  test('any text is split or refused, and a long text in linear time', () => {
    fc.assert(
      fc.property(fc.string({ unit: fc.constantFrom(...'"\'\\ ab\tu{}1'), maxLength: 40 }), line => {
        try {
          for (const word of splitWords(line)) assert.equal(typeof word, 'string');
        } catch (error) {
          assert.equal((error as Error).name, 'UsageError');
        }
      }),
      { seed: 7, numRuns: 2000 },
    );
    const long = 'a'.repeat(1 << 20);
    assert.deepEqual(splitWords(`"${long}" '${long}' ${long}`), [long, long, long]);
    assert.throws(() => splitWords(`"${long}`), { name: 'UsageError' });
    assert.throws(() => splitWords('"'.repeat((1 << 16) + 1)), { name: 'UsageError' });
  });
});
