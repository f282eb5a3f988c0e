/** Where a history continues the lines that are shown. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { findOverlap } from '../../src/web/page/overlap.ts';

/** Each letter is a line. @returns everything shown afterwards */
function joined(shown: string, logged: string): string {
  const { before, from } = findOverlap([...shown], [...logged]);
  return logged.slice(0, before) + shown + logged.slice(from);
}

const cases: readonly [why: string, shown: string, logged: string, whole: string][] = [
  ['nothing is shown yet', '', 'abc', 'abc'],
  ['nothing is remembered', 'abc', '', 'abc'],
  ['nothing new', 'abc', 'abc', 'abc'],
  ['something new', 'abc', 'abcde', 'abcde'],
  ['the history is shorter than what is shown', 'abcdef', 'defg', 'abcdefg'],
  ['so much was missed that nothing meets', 'abc', 'xyz', 'abcxyz'],
  ['only the end of it is shown', 'cd', 'abcde', 'abcde'],
  ['the same line again and again', 'aaa', 'aaaaa', 'aaaaa'],
  ['the server lost the last lines', 'abcde', 'abc', 'abcde'],
  ['it lost them, and something was said since', 'abcde', 'abcx', 'abcdex'],
  ['it lost all, and someone says what was said before', 'abc', 'ax', 'abcax'],
  ['a line that is said often stands at both ends', 'oabco', 'oxo', 'oabcoxo'],
];
for (const [why, shown, logged, whole] of cases) {
  test(`${why}: ${shown || '-'} and ${logged || '-'}`, () => assert.equal(joined(shown, logged), whole));
}

test('the whole history is new if nothing is shown', () => {
  assert.deepEqual(findOverlap([], ['a', 'a']), { before: 0, from: 0 });
});

test('distinct lines merge into the whole conversation wherever the client left and the history starts', () => {
  fc.assert(
    fc.property(fc.nat(30), fc.nat(30), fc.nat(30), fc.nat(30), (forgotten, met, alsoMet, missed) => {
      // The shown lines and the history are two ranges, and either may begin first.
      const lines = Array.from(
        { length: forgotten + met + alsoMet + missed + 1 },
        (_, line) => `line ${line}`,
      );
      const shown = lines.slice(0, forgotten + met + 1);
      const logged = lines.slice(forgotten);
      const { before, from } = findOverlap(shown, logged);
      assert.deepEqual([...logged.slice(0, before), ...shown, ...logged.slice(from)], lines);
    }),
    { seed: 6455 },
  );
});
