import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { sizeUpTo, spread, wholeNumber } from '../../../src/handlers/faults/parameters.ts';
import { faults } from '../../../src/handlers/faults/table.ts';

describe('a time that varies', () => {
  const valid: [word: string, around: number, by: number][] = [
    ['200ms', 200, 0],
    ['200ms±50ms', 200, 50],
    ['200ms~50ms', 200, 50],
    ['1s±1s', 1000, 1000],
    ['2', 2000, 0],
  ];
  for (const [word, around, by] of valid)
    test(`${word} is read`, () => assert.deepEqual(spread.parse(word), { around, by }));

  for (const word of [
    '',
    '±50ms',
    '200ms±',
    '200ms±300ms',
    '200ms±1ms±1ms',
    'soon',
    '-1s',
    '577h',
    '576h±1h',
  ])
    test(`"${word}" is refused`, () => assert.equal(spread.parse(word), undefined));
});

test('numbers and sizes have bounds', () => {
  const [few, small] = [wholeNumber(1, 10), sizeUpTo(1024)];
  assert.deepEqual(
    ['0', '1', '10', '11', 'x'].map(word => few.parse(word)),
    [undefined, 1, 10, undefined, undefined],
  );
  assert.deepEqual(
    ['0', '1', '1KB', '1025', 'x'].map(word => small.parse(word)),
    [undefined, 1, 1024, undefined, undefined],
  );
});

test('every default of a fault is a value that its kind reads and shows', () => {
  for (const { name, parameters } of faults.values()) {
    for (const { kind, default: usual } of Object.values(parameters)) {
      // Users cannot write an empty text, but it can be a default.
      if (usual !== '') assert.deepEqual(kind.parse(kind.show(usual)), usual, name);
    }
  }
});
