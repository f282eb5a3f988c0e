import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import {
  formatDuration,
  formatHeading,
  formatResult,
  formatRow,
  formatSize,
} from '../../src/commands/show.ts';
import { printableJson, printableLine } from '../../src/log/printable.ts';

/** Characters that control a terminal or disguise a line: C0, DEL, C1, separators, bidirectional controls. */
const dangerous = /[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]/;

describe('text output', () => {
  test('is one line without control characters', () => {
    assert.equal(
      printableLine('\x1b[2J\x9b2J\x07\r\n\x7f\u2028\u202e'),
      '\\u001b[2J\\u009b2J\\u0007\\r\\n\\u007f\\u2028\\u202e',
    );
    assert.equal(printableLine('h\u00e9llo \u{1f438} "q" \\'), 'h\u00e9llo \u{1f438} "q" \\');
    const any = fc.string({ unit: 'binary' });
    fc.assert(
      fc.property(any, text => {
        assert.doesNotMatch(printableLine(text), dangerous);
        assert.doesNotMatch(formatRow({ a: { width: 3 } }, { a: text }), dangerous);
        assert.doesNotMatch(formatResult({ a: text }).slice(0, -1), dangerous);
        assert.doesNotMatch(printableJson([text]), dangerous);
        assert.deepEqual(JSON.parse(printableJson([text])), [text]);
      }),
      { seed: 7, numRuns: 1000 },
    );
  });

  test('rows are aligned with their heading, numbers to the right; a missing value is a hyphen', () => {
    const columns = {
      id: { width: -4 },
      nick: { width: 6 },
      size: { width: -6, format: formatSize },
    };
    assert.equal(formatHeading(columns), '  id  nick      size');
    assert.equal(formatRow(columns, { id: 7, nick: 'ada', size: 2048 }), '   7  ada       2.0K');
    assert.equal(formatRow(columns, { id: 7, nick: null, size: 0 }), '   7  -            0');
    assert.equal(
      formatRow(columns, { id: 12345, nick: 'longer than that' }),
      '12345  longer than that       -',
    );
  });

  test('a record has a line for each field, and nested fields are indented', () => {
    assert.equal(formatResult('done'), 'done\n');
    assert.equal(
      formatResult({ a: 1, b: { c: 'x', d: null }, e: [], f: ['g', 'h'], i: undefined, j: '' }),
      'a: 1\nb:\n  c: x\n  d: -\ne: -\nf:\n  g\n  h\nj: -\n',
    );
  });

  test('durations and sizes are short and rounded', () => {
    const times: [number, string][] = [
      [0, '0ms'],
      [350, '350ms'],
      [1000, '1s'],
      [59_999, '59s'],
      [200_000, '3m20s'],
      [3_600_000, '1h'],
      [18_720_000, '5h12m'],
      [273_600_000, '3d4h'],
    ];
    for (const [milliseconds, shown] of times) assert.equal(formatDuration(milliseconds), shown);
    const sizes: [number, string][] = [
      [0, '0'],
      [1023, '1023'],
      [1024, '1.0K'],
      [12_700, '12.4K'],
      [500 * 1024, '500K'],
      [3_250_586, '3.1M'],
      [5 * 2 ** 40, '5.0T'],
    ];
    for (const [bytes, shown] of sizes) assert.equal(formatSize(bytes), shown);
  });
});
