import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Sample } from './jobs.ts';
import { cellKey, format, json, markdown, median, medianInterval, type Results } from './report.ts';
import { rows } from './rows.ts';
import { contenders } from './servers/contenders.ts';

const samplesOf = (...figures: number[]): Sample[] =>
  figures.map(figure => ({ figure, perSecond: 1000, cores: 1 }));

const results: Results = {
  date: '2000-01-02',
  rounds: 3,
  seconds: 2,
  rows: [rows[0]!],
  contenders,
  versions: new Map([
    ['net', '20'],
    ['ws', '8.0.0'],
    ['pollywog', '0.1.0'],
  ]),
  missing: new Map([['uws', 'no binary for this system']]),
  samples: new Map([
    [cellKey(rows[0]!, { key: 'net' }), samplesOf(5.21, 5.19, 5.2)],
    [cellKey(rows[0]!, { key: 'ws' }), samplesOf(9, 8, 11.4)],
    [cellKey(rows[0]!, { key: 'pollywog' }), samplesOf(0.3, 4.5, 0.9)],
  ]),
};

test('the table shows medians, their ratio, and an empty cell for a server that did not run', () => {
  const lines = markdown(results).split('\n');
  assert.equal(lines[0], '| work | raw net | ws | uWebSockets.js | pollywog | pollywog/ws |');
  assert.equal(lines[1], '|---|--:|--:|--:|--:|--:|');
  assert.equal(lines[2], `| ${rows[0]!.title} | 5.2 | 9.0 |  | 0.90 | 0.10 |`);
});

test('the versions of the servers and the spread follow below the table', () => {
  const text = markdown(results);
  assert.match(text, /3 interleaved rounds of 2 s\. ws 8\.0\.0, pollywog 0\.1\.0, Node [\d.]+, 2000-01-02\./);
  assert.ok(text.includes(`| ${rows[0]!.title} | 5.2 | 8.0..11 |  | 0.30..4.5 |\n`));
});

test('a server that cannot run is named with the reason, also beside an empty column', () => {
  assert.match(markdown(results), /^Without uWebSockets\.js: no binary for this system\.$/m);
  const nchan = { ...results, rows: rows.filter(({ service }) => service === 'channels') };
  const text = markdown({ ...nchan, missing: new Map([['nchan', 'not installed (apt-get)']]) });
  assert.equal(text.split('\n')[0], '| work | nchan | pollywog | pollywog/nchan |');
  assert.match(text, /^Without nchan: not installed \(apt-get\)\.$/m);
});

test('channels have a table of their own, with the servers that have channels', () => {
  const cpu = rows.find(({ key }) => key === 'channel-websocket')!;
  const samples = new Map([
    [cellKey(cpu, { key: 'nchan' }), samplesOf(5)],
    [cellKey(cpu, { key: 'pollywog' }), samplesOf(4)],
  ]);
  const lines = markdown({ ...results, rows: [rows[0]!, cpu], samples }).split('\n');
  assert.equal(lines[0], '| work | raw net | ws | uWebSockets.js | pollywog | pollywog/ws |');
  assert.equal(lines[4], '| work | nchan | pollywog | pollywog/nchan |');
  assert.equal(lines[6], `| ${cpu.title} | 5.0 | 4.0 | 0.80 |`);
});

test('the table has no ratio without both pollywog and ws, and no spread for a single round', () => {
  const alone = contenders.filter(({ key }) => key === 'ws');
  const text = markdown({ ...results, rounds: 1, contenders: alone });
  assert.ok(text.startsWith('| work | ws |\n|---|--:|\n'));
  assert.ok(!text.includes('Lowest'));
});

test('the JSON contains every sample', () => {
  const { rows: written, versions } = JSON.parse(json(results));
  assert.equal(written[0].servers.ws.median, 9);
  assert.deepEqual(written[0].servers.ws.samples, samplesOf(9, 8, 11.4));
  assert.equal(versions.node, process.versions.node);
});

test('the median of no values is undefined, and that of an even count is the mean of the middle two', () => {
  assert.equal(median([]), undefined);
  assert.equal(median([10, 2, 3]), 3);
  assert.equal(median([10, 2, 3, 4]), 3.5);
});

test('a figure is shown with two significant digits', () => {
  assert.deepEqual([0, 0.1712, 0.98, 5.24, 21.6, 188].map(format), ['0', '0.17', '0.98', '5.2', '22', '188']);
});

test('no two rows and no two servers have the same name', () => {
  for (const list of [rows, contenders]) assert.equal(new Set(list.map(item => item.key)).size, list.length);
});

test('the interval of a median omits as many values on either side as the sign test allows', () => {
  const upTo = (count: number) => Array.from({ length: count }, (_, i) => i + 1);
  // Tables of the sign test: for 11 values the 2nd and the 10th, for 20 the 6th and the 15th.
  assert.deepEqual(medianInterval(upTo(11)), [2, 10]);
  assert.deepEqual(medianInterval(upTo(20)), [6, 15]);
  assert.deepEqual(medianInterval(upTo(6)), [1, 6]);
  assert.deepEqual(medianInterval(upTo(3)), [1, 3]);
});
