/** The reports of a run: their counts, and text of a peer that cannot break their format. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { test } from 'node:test';
import { htmlReport } from '../../src/conformance/reports/html.ts';
import { jsonReport } from '../../src/conformance/reports/json.ts';
import { junitReport } from '../../src/conformance/reports/junit.ts';
import type { Report, TimedResult } from '../../src/conformance/reports/report.ts';
import { tapReport } from '../../src/conformance/reports/tap.ts';
import { conformanceCases } from '../../src/conformance/table.ts';
import { type CaseVerdict, handshakeResult } from '../../src/conformance/verdict.ts';

const hostile = `<b>&"'\0\u001b[31m\ud800\uffff]]> # SKIP\n`;

function result(name: string, verdict: CaseVerdict): TimedResult {
  const found = conformanceCases.find(each => each.name === name);
  assert.ok(found, name);
  return { ...handshakeResult(found, verdict, `it says ${hostile}`, hostile), duration: 12.3 };
}

const report: Report = {
  subject: `ws://localhost/?a=${hostile}`,
  started: '2026-01-02T03:04:05.678Z',
  duration: 1234,
  results: [
    result('pings/empty', 'OK'),
    result('pings/text', 'FAILED'),
    result('utf8/empty', 'NON-STRICT'),
    result('deflate/one-block', 'UNIMPLEMENTED'),
    result('closing/code-5000', 'INFORMATIONAL'),
  ],
};

/** Reads XML strictly. @returns the names of the elements with their attributes */
function parseXml(text: string): [name: string, attributes: Record<string, string>][] {
  const program =
    'import json, sys, xml.etree.ElementTree as tree\n' +
    'print(json.dumps([[e.tag, e.attrib] for e in tree.fromstring(sys.stdin.buffer.read()).iter()]))';
  return JSON.parse(execFileSync('/usr/bin/python3', ['-c', program], { input: text, encoding: 'utf8' }));
}

test('JUnit: FAILED is a failure, NON-STRICT only in a strict run, and UNIMPLEMENTED is skipped', () => {
  const plain = parseXml(junitReport(report, false));
  assert.deepEqual(
    plain
      .filter(([name]) => name === 'testsuites')
      .map(([, { tests, failures, skipped }]) => [tests, failures, skipped]),
    [['5', '1', '1']],
  );
  assert.equal(plain.filter(([name]) => name === 'failure').length, 1);
  assert.deepEqual(
    plain.filter(([name]) => name === 'testcase').map(([, attributes]) => attributes['name']),
    [
      '2.1 pings/empty',
      '2.2 pings/text',
      '6.1.1 utf8/empty',
      'deflate/one-block',
      '7.13.1 closing/code-5000',
    ],
  );
  assert.equal(parseXml(junitReport(report, true)).filter(([name]) => name === 'failure').length, 2);
});

test('TAP has a line for each case, and a peer cannot add one or a directive', () => {
  const lines = tapReport(report, false).split('\n');
  assert.deepEqual(
    lines.filter(line => /^(?:not )?ok|^1\.\./.test(line)).map(line => line.slice(0, 40)),
    [
      '1..5',
      'ok 1 - 2.1 pings/empty',
      'not ok 2 - 2.2 pings/text',
      'ok 3 - 6.1.1 utf8/empty',
      `ok 4 - deflate/one-block # SKIP It says <b>&"'`.slice(0, 40),
      'ok 5 - 7.13.1 closing/code-5000',
    ],
  );
  assert.match(tapReport(report, true), /^not ok 3 - /m);
});

test('HTML has a row for each case, and no markup of a peer', () => {
  const html = htmlReport(report);
  assert.equal(html.match(/<tr><td/g)!.length, 5);
  assert.ok(!html.includes('<b>') && !html.includes('\0'));
  assert.match(html, /1 FAILED.*1 NON-STRICT.*1 UNIMPLEMENTED.*1 INFORMATIONAL.*1 OK/);
});

test('JSON has the counts, and each case with its name, number and verdict', () => {
  const { counts, cases } = JSON.parse(jsonReport(report));
  assert.deepEqual(counts, { FAILED: 1, 'NON-STRICT': 1, UNIMPLEMENTED: 1, INFORMATIONAL: 1, OK: 1 });
  const { name, number, verdict, seen, duration } = cases[1];
  assert.deepEqual([name, number, verdict, duration], ['pings/text', '2.2', 'FAILED', 12]);
  assert.equal(seen, `${hostile} (it says ${hostile})`);
});
