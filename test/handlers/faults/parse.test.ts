/** The syntax of faults, and the errors of invalid words. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { parseFaults, queryWords } from '../../../src/handlers/faults/parse.ts';
import { faults } from '../../../src/handlers/faults/table.ts';
import { maxFaults } from '../../../src/protocol/faultLimits.ts';

/** Each fault with its parameters and its common words. */
function parsed(line: string) {
  return parseFaults(line.split(' '), 1).settings.map(({ kind, values, after, chance, times }) => ({
    name: kind.name,
    ...values,
    ...(after === 1 ? {} : { after }),
    ...(chance === 1 ? {} : { chance }),
    ...(times === Number.POSITIVE_INFINITY ? {} : { times }),
  }));
}

/** All documented names. */
const promised = `
  wrong-accept no-accept double-accept no-upgrade status unasked-subprotocol unasked-extension drip-handshake early-frame
  huge-header garbage silence drop-before drop-during drop-after
  masked rsv1 rsv2 rsv3 reserved-opcode long-length-16 long-length-64 top-bit-length terabyte half-header half-frame
  fragmented-ping long-ping lone-continuation nested-message invalid-utf8 split-utf8 late-invalid-utf8 bad-deflate bomb
  rsv1-continuation endless-fragments
  close close-one-byte close-bad-reason no-close-answer late-close-answer data-after-close reset fin half-close
  delay bandwidth drip stall drop double swap cut no-pong late-pong wrong-pong unasked-pong ping-flood`;

describe('faults', () => {
  test('are in one table, and no name has two meanings', () => {
    assert.deepEqual([...faults.keys()].sort(), promised.trim().split(/\s+/).sort());
    const common = ['after', 'chance', 'times', 'seed', 'fault', 'off'];
    for (const { name, parameters, sentence } of faults.values()) {
      const names = [name, ...Object.keys(parameters).filter(parameter => parameter !== name)];
      for (const one of names) assert.ok(!common.includes(one), `${name}: ${one}`);
      for (const one of names.slice(1)) assert.ok(!faults.has(one), `${name}: ${one}`);
      assert.match(sentence, /^[a-z].*[^.]$/, name);
    }
  });

  test('take their values from their words, or the defaults from the table', () => {
    assert.deepEqual(parsed('close'), [{ name: 'close', close: 1000, reason: '' }]);
    assert.deepEqual(parsed('close='), parsed('close'));
    assert.deepEqual(parsed('fault=close'), parsed('close'));
    assert.deepEqual(parsed('fault=close=1011 reason=no'), [{ name: 'close', close: 1011, reason: 'no' }]);
    assert.deepEqual(parsed('delay=200ms±50ms'), [{ name: 'delay', delay: { around: 200, by: 50 } }]);
  });

  test('share the first value of a common word; a second value applies only to later faults', () => {
    assert.deepEqual(parsed('drop after=3 double times=2'), [
      { name: 'drop', after: 3, times: 2 },
      { name: 'double', after: 3, times: 2 },
    ]);
    assert.deepEqual(parsed('drop after=2 double after=9 chance=.5 reset'), [
      { name: 'reset', after: 9, chance: 0.5 },
      { name: 'drop', after: 2, chance: 0.5 },
      { name: 'double', after: 2, chance: 0.5 },
    ]);
    assert.equal(parseFaults(['drop', 'seed=7'], 1).seed, 7);
  });

  test('assign a further parameter to the last fault that has it', () => {
    assert.deepEqual(parsed('close=1001 reason=a drop'), [
      { name: 'close', close: 1001, reason: 'a' },
      { name: 'drop' },
    ]);
    const words = parseFaults(['status=301', 'location=ws://a/?b=c', 'after=2'], 1).settings[0]!.words;
    assert.equal(words, 'status=301 location=ws://a/?b=c after=2');
  });

  for (const [line, sentence] of [
    ['stal', 'unknown fault "stal"; did you mean stall?'],
    ['x', 'unknown fault "x"; pollywog help faults lists them'],
    ['toString', 'unknown fault "toString"; pollywog help faults lists them'],
    ['__proto__=1', 'unknown fault "__proto__"; pollywog help faults lists them'],
    ['fault=', 'unknown fault ""; pollywog help faults lists them'],
    ['fault', 'unknown fault ""; pollywog help faults lists them'],
    ['reset=1', 'the fault reset takes no value; remove it'],
    ['reason=x', 'reason is a parameter of the fault close; write it after close'],
    ['close reason=a reason=b', 'reason is given twice for the fault close; keep one'],
    ['close=65536', 'close must be a number from 0 to 65535, even a forbidden code, not "65536"'],
    ['drop after=-1', 'after must be a whole number from 0 to 1000000000, not "-1"'],
    ['drop after', 'after needs a value: a whole number from 0 to 1000000000'],
    ['drop chance=2', 'chance must be a probability from 0 to 1, such as 0.01, not "2"'],
    ['drop times=0', 'times must be a whole number from 1 to 1000000000, not "0"'],
    ['drop seed=4294967296', 'seed must be a whole number from 0 to 4294967295, not "4294967296"'],
    ['double after=3 double', 'a connection can have the fault double only once; remove the other'],
    [
      'huge-header huge-header=2MB',
      'a connection can have the fault huge-header only once; remove the other',
    ],
    ['drop '.repeat(maxFaults + 1).trim(), 'a connection has at most 16 faults; give fewer'],
  ] as const) {
    test(`refuse ${line.slice(0, 40)}`, () => {
      assert.throws(() => parsed(line), { name: 'UsageError', message: sentence });
    });
  }

  test('are percent-encoded UTF-8 in a URL', () => {
    assert.deepEqual(queryWords('a&&reason=x%26y%20%C2%B1+=&'), ['a', 'reason=x&y ±+=']);
    assert.deepEqual(queryWords(''), []);
    assert.throws(() => queryWords('reason=%ff'), { message: '"reason=%ff" is not percent-encoded UTF-8' });
  });
});
