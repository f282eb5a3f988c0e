import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { JsonError, readJson } from '../../src/options/json.ts';

function where(text: string): string {
  try {
    return `fine: ${JSON.stringify(readJson(text))}`;
  } catch (error) {
    assert.ok(error instanceof JsonError, String(error));
    return `${error.line}:${error.column} ${error.message}`;
  }
}

const wrong: [string, string][] = [
  ['', '1:1 expected a value, not the end'],
  [' \n\n  ', '3:3 expected a value, not the end'],
  ['{', '1:2 expected a name in double quotes, not the end'],
  ['{\n  "port": 80,\n}', '3:1 expected a name in double quotes, not "}"'],
  ['{\n  port: 80}', '2:3 expected a name in double quotes, not "p"'],
  ["{'port': 80}", '1:2 expected a name in double quotes, not "\'"'],
  ['{"port" 80}', '1:9 expected a colon, not "8"'],
  ['{"port": }', '1:10 expected a value, not "}"'],
  ['{"port": 080}', '1:10 expected a value, not "0"'],
  ['{"port": 80 "host": 1}', '1:13 expected a comma or a closing brace, not "\\""'],
  ['{"port": [80', '1:13 expected a comma or a closing bracket, not the end'],
  ['{"port": [80,]}', '1:14 expected a value, not "]"'],
  ['{} // why', '1:4 expected the end, not "/"'],
  ['"a\nb"', '1:1 expected a value, not "\\""'],
  ['{"ü😀": nope}', '1:8 expected a value, not "n"'],
  ['{"port": 1,\r\n "port": 2}', '2:2 "port" is given twice; keep one'],
  ['['.repeat(100_000), '1:22 values are nested more than 20 levels deep'],
];
for (const [text, sentence] of wrong) {
  test(`${JSON.stringify(text.slice(0, 30))} is refused: ${sentence}`, () => {
    assert.equal(where(text), sentence);
  });
}

test('everything that JSON.stringify writes is read as JSON.parse reads it', () => {
  fc.assert(
    fc.property(fc.jsonValue({ maxDepth: 5 }), fc.constantFrom(undefined, 2, '\t'), (value, indent) => {
      const text = JSON.stringify(value, null, indent);
      assert.deepEqual(readJson(text), JSON.parse(text));
    }),
    { seed: 8259 },
  );
});

test('everything that JSON.parse refuses is refused', () => {
  const damaged = fc.tuple(fc.jsonValue({ maxDepth: 2 }), fc.nat(), fc.string({ maxLength: 2 }));
  fc.assert(
    fc.property(damaged, ([value, at, inserted]) => {
      const text = JSON.stringify(value);
      const cut = at % (text.length + 1);
      const changed = text.slice(0, cut) + inserted + text.slice(cut + 1);
      let expected: unknown;
      try {
        expected = JSON.parse(changed);
      } catch {
        assert.throws(() => readJson(changed), JsonError);
        return;
      }
      try {
        assert.deepEqual(readJson(changed), expected);
      } catch (error) {
        // The damage may have made two keys alike.
        assert.match(String((error as Error).message), /is given twice/);
      }
    }),
    { seed: 8259, numRuns: 2000 },
  );
});

test('an object with too many names, or a list with too many values, is refused', () => {
  const numbers = Array.from({ length: 10_001 }, (_, index) => index);
  const names = `{${numbers.map(number => `"${number}":1`).join()}}`;
  assert.throws(() => readJson(names), /more than 10000 names/);
  assert.throws(() => readJson(`[${numbers.join()}]`), /more than 10000 values/);
  assert.deepEqual(readJson(`[${numbers.slice(1).join()}]`), numbers.slice(1));
});

test('__proto__ is an ordinary name', () => {
  assert.deepEqual(Object.keys(readJson('{"__proto__": {"port": 1}}') as object), ['__proto__']);
});
