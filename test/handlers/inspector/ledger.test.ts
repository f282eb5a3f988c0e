/** The rules of explanations: from the ledger, with their lines in the source. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { explain } from '../../../src/explain/explain.ts';
import { ledger, rulesOf } from '../../../src/handlers/inspector/ledger.ts';
import { readLedger } from '../../ledger/check.ts';
import { frame } from '../../support/rawFrame.ts';

test('each rule has the lines of its markers', () => {
  for (const { statement, places } of readLedger().claims) {
    const { id, text, section, notApplicable } = statement;
    const rule = rulesOf([id])[id]!;
    assert.deepEqual([rule.statement, rule.section, rule.reason], [text, section, notApplicable]);
    assert.deepEqual(
      rule.places.map(({ file, name, line }) => [file, name, line]),
      places.map(({ file, name, line }) => [file, name, line + 1]),
      id,
    );
  }
});

test('every field and every broken rule of a frame names rules of the ledger', () => {
  const known = ledger();
  const samples = [
    frame(1, 'hello'),
    frame(2, Buffer.alloc(300)),
    frame(2, Buffer.alloc(70_000)),
    frame(9, 'ping'),
    frame(10, 'pong'),
    frame(8, Buffer.concat([Buffer.from([3, 232]), Buffer.from('bye')])),
    ...[
      1001, 1002, 1003, 1004, 1005, 1006, 1007, 1008, 1009, 1010, 1011, 1012, 1015, 999, 2000, 3000, 4000,
    ].map(code => frame(8, Buffer.from([code >> 8, code & 255]))),
    frame(8, Buffer.from([1])),
    frame(8, Buffer.from([3, 232, 255])),
    frame(8, Buffer.from([3, 232, 0xc3])),
    frame(1, 'not masked', { key: null }),
    frame(1, 'reserved', { rsv: 1 }),
    frame(1, 'compressed', { rsv: 4 }),
    frame(9, 'compressed', { rsv: 4 }),
    frame(3, 'unknown'),
    frame(0, 'nothing to continue'),
    frame(9, 'fragment', { fin: false }),
    frame(9, Buffer.alloc(126)),
    frame(1, 'short', { lengthBytes: 2 }),
    frame(1, 'short', { lengthBytes: 8 }),
    frame(1, Buffer.from([255])),
    frame(1, Buffer.from([0xc3])),
    Buffer.concat([frame(1, 'one', { fin: false }), frame(1, 'two')]),
  ];
  for (const bytes of samples) {
    for (const isCompressed of [false, true]) {
      for (const explanation of explain([{ sender: 'client', bytes }], { isCompressed })) {
        if (explanation.kind !== 'frame') continue;
        const { fields, breach } = explanation;
        for (const { name, rules = [] } of fields) {
          assert.ok(rules.length > 0, `${name} has no rule`);
          for (const id of rules) assert.ok(Object.hasOwn(known, id), `${name}: ${id}`);
        }
        if (breach === undefined) continue;
        assert.ok(breach.rules !== undefined && breach.rules.length > 0, breach.rule);
        for (const id of breach.rules) assert.ok(Object.hasOwn(known, id), `${breach.rule}: ${id}`);
      }
    }
  }
});
