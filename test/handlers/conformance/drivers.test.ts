/**
 * Client drivers in the classic form, for npm's ws, Python's websockets and our own client. `make drivers` runs all 517 cases; this
 * file leaves out those that wait for seconds or send many megabytes.
 */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { classicCases } from '../../../src/conformance/table.ts';
import { badlyClosed, drivers, knownVerdicts, runDriver, unusual } from './drivers.ts';

const waiting = ['5.19', '5.20', '6.4.1', '6.4.2', '6.4.3', '6.4.4'];
const large = ['9.*', '12.*', '13.*'];

/** Small cases of each kind of limits and compression. */
const small = [
  '9.1.1',
  '9.2.2',
  '9.3.9',
  '9.5.6',
  '9.7.1',
  '9.8.2',
  '12.1.1',
  '12.2.2',
  '13.1.3',
  '13.5.2',
  '13.7.1',
];

describe('Client drivers in the classic form', { timeout: 120_000 }, () => {
  for (const client of Object.keys(drivers) as (keyof typeof drivers)[]) {
    test(`${client} gets the verdicts of the classic suite in the fast cases`, async () => {
      const { results } = await runDriver(client, [...waiting, ...large]);
      assert.equal(Object.keys(results).length, 301 - 54 - waiting.length);
      const expected = Object.entries(knownVerdicts[client]).filter(
        ([number]) => results[number] !== undefined,
      );
      assert.deepEqual(unusual(client, results), Object.fromEntries(expected));
      assert.deepEqual(badlyClosed(results), []);
    });
  }

  test('ws passes cases of each kind of limits and compression', async () => {
    const others = classicCases.map(({ number }) => number!).filter(number => !small.includes(number));
    const { results } = await runDriver('ws', others);
    assert.deepEqual([Object.keys(results).length, unusual('ws', results)], [small.length, {}]);
  });
});
