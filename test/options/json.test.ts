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
  ['', '1:1 a value is missing, it ends'],
  [' \n\n  ', '3:3 a value is missing, it ends'],
  ['{', '1:2 a name in double quotes is missing, it ends'],
  ['{\n  "port": 80,\n}', '3:1 a name in double quotes is missing, there is "}"'],
  ['{\n  port: 80}', '2:3 a name in double quotes is missing, there is "p"'],
  ["{'port': 80}", '1:2 a name in double quotes is missing, there is "\'"'],
  ['{"port" 80}', '1:9 a colon is missing, there is "8"'],
  ['{"port": }', '1:10 a value is missing, there is "}"'],
  ['{"port": 080}', '1:10 a value is missing, there is "0"'],
  ['{"port": 80 "host": 1}', '1:13 a comma or a closing brace is missing, there is "\\""'],
  ['{"port": [80', '1:13 a comma or a closing bracket is missing, it ends'],
  ['{"port": [80,]}', '1:14 a value is missing, there is "]"'],
  ['{} // why', '1:4 the end is missing, there is "/"'],
  ['"a\nb"', '1:1 a value is missing, there is "\\""'],
  ['{"ü😀": nope}', '1:8 a value is missing, there is "n"'],
  ['{"port": 1,\r\n "port": 2}', '2:2 "port" stands there twice; keep one'],
  ['['.repeat(100_000), '1:22 lists are nested too deeply'],
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
        assert.match(String((error as Error).message), /stands there twice/);
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
