import assert from 'node:assert/strict';
import { test } from 'node:test';
import { helpInJson, helpOn } from '../../../src/commands/help.ts';
import { faults } from '../../../src/handlers/faults/table.ts';
import { runToEnd } from '../../support/serverProcess.ts';

const names = [...faults.keys()];

test('pollywog help faults --json prints every fault with its sentence and its parameters', () => {
  const { status, stdout, stderr } = runToEnd('help', 'faults', '--json');
  assert.deepEqual([status, stderr], [0, '']);
  const rows = JSON.parse(stdout) as Record<string, unknown>[];
  assert.deepEqual(
    rows.map(({ name }) => name),
    names,
  );
  const delay = rows.find(({ name }) => name === 'delay');
  assert.equal(delay?.['sentence'], faults.get('delay')?.sentence);
  assert.deepEqual(delay?.['parameters'], [
    {
      name: 'delay',
      expected: 'a time such as 200ms, or 200ms±50ms (also written 200ms~50ms)',
      default: '200ms',
    },
  ]);
});

test('pollywog help faults prints every fault with its sentence', () => {
  const text = helpOn('faults').replace(/\s+/g, ' ');
  for (const { name, sentence } of faults.values()) {
    assert.ok(text.includes(name), name);
    assert.ok(text.includes(sentence), sentence);
  }
});

test('only help faults has a JSON form', () => {
  for (const word of ['list', 'tls', undefined]) assert.throws(() => helpInJson(word), /only help faults/);
});
