/** The content codings that a client accepts. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { acceptedCodings } from '../../src/protocol/http/contentCoding.ts';

test('codings are accepted by their weights, in the order of the client', () => {
  for (const [field, expected] of [
    [undefined, []],
    ['gzip, br', ['br', 'gzip']],
    ['br;q=0.5 , x-gzip ; q = 0.8', ['gzip', 'br']],
    ['gzip;q=0, *', ['br']],
    ['gzip\t;\tQ=0.000', []],
    ['gzip;level=9;q=1', []],
    ['gzip;q=', []],
  ] as const) {
    assert.deepEqual(acceptedCodings(field, ['br', 'gzip']), expected, field);
  }
});

test('long runs of blanks and semicolons are read in linear time', { timeout: 20_000 }, () => {
  for (const run of [' ', ';', '; ', ';q', ';q=']) {
    assert.deepEqual(acceptedCodings(`gzip${run.repeat(1_000_000)}x, br`, ['br', 'gzip']), ['br'], run);
  }
});
