/** The interface of Autobahn's suite for clients: its paths, its answers, and the reports. */
import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import WebSocket from 'ws';
import { classicCases } from '../../../src/conformance/table.ts';
import { maxAgents } from '../../../src/protocol/conformanceLimits.ts';
import { tryRaw } from '../../support/rawClient.ts';
import { type Hooks, runToEnd, type ServerProcess, startServerWith } from '../../support/serverProcess.ts';
import { temporaryFolder } from '../../support/temporaryFolder.ts';
import { suiteOptions } from './drivers.ts';

interface Started {
  readonly server: ServerProcess;
  readonly url: string;
  readonly reports: string;
}

/** @param t the test whose end stops the server; undefined: the caller stops it */
async function start(t: Hooks | undefined, ...options: string[]): Promise<Started> {
  const folder = temporaryFolder();
  const server = await startServerWith([...suiteOptions, ...options], { folder, ...(t && { test: t }) });
  return { server, url: `ws://127.0.0.1:${server.port}`, reports: join(folder, 'reports/clients') };
}

/** Connects, and waits for the end. @param echoes whether to echo messages @returns the text received, and the close code */
async function visit(url: string, echoes = false): Promise<{ text: string; code: number }> {
  const client = new WebSocket(url);
  let text = '';
  client.on('message', (data, isBinary) => {
    text = String(data);
    if (echoes) client.send(data, { binary: isBinary });
  });
  client.on('error', () => {});
  const code = await new Promise<number>(resolve => client.once('close', resolve));
  return { text, code };
}

const run = (url: string, index: number, agent: string) =>
  visit(`${url}/runCase?case=${index}&agent=${encodeURIComponent(agent)}`, true);

const read = (path: string) => JSON.parse(readFileSync(path, 'utf8'));

test('the classic cases are the 517 of the classic suite, in its order', () => {
  const sizes: Record<string, number> = {
    ...{ '1.1': 8, '1.2': 8, 2: 11, 3: 7, '4.1': 5, '4.2': 5, 5: 20 },
    ...{ '6.1': 3, '6.2': 4, '6.3': 2, '6.4': 4, '6.5': 5, '6.6': 11, '6.7': 4, '6.8': 2, '6.9': 4 },
    ...{ '6.10': 3, '6.11': 5, '6.12': 8, '6.13': 5, '6.14': 10, '6.15': 1, '6.16': 3, '6.17': 5 },
    ...{ '6.18': 5, '6.19': 5, '6.20': 7, '6.21': 8, '6.22': 34, '6.23': 7 },
    ...{ '7.1': 6, '7.3': 6, '7.5': 1, '7.7': 13, '7.9': 9, '7.13': 2 },
    ...{ '9.1': 6, '9.2': 6, '9.3': 9, '9.4': 9, '9.5': 6, '9.6': 6, '9.7': 6, '9.8': 6, '10.1': 1 },
    ...Object.fromEntries(Array.from({ length: 5 }, (_, at) => [`12.${at + 1}`, 18])),
    ...Object.fromEntries(Array.from({ length: 7 }, (_, at) => [`13.${at + 1}`, 18])),
  };
  const key = (group: string) => group.split('.').reduce((sum, part) => sum * 100 + Number(part), 0);
  const inOrder = Object.entries(sizes).toSorted(
    ([a], [b]) => key(a.includes('.') ? a : `${a}.0`) - key(b.includes('.') ? b : `${b}.0`),
  );
  const numbers = inOrder.flatMap(([group, size]) =>
    Array.from({ length: size }, (_, at) => `${group}.${at + 1}`),
  );
  assert.equal(numbers.length, 517);
  assert.deepEqual(
    classicCases.map(({ number }) => number),
    numbers,
  );
});

describe('the paths', () => {
  let started: Started;
  before(async () => {
    started = await start(undefined);
  });
  after(() => started.server.kill());

  test('are on the loopback interface by default', () => {
    assert.match(started.server.url, /^ws:\/\/127\.0\.0\.1:/);
  });

  test('getCaseCount answers with the number of cases, and closes without a code', async () => {
    const { url } = started;
    assert.deepEqual(await visit(`${url}/getCaseCount`), { text: '517', code: 1005 });
    assert.deepEqual(await visit(`${url}/getCaseCount?agent=a`), { text: '517', code: 1005 });
  });

  test('getCaseInfo answers with the number and the description of a case', async () => {
    const { url } = started;
    for (const [index, number] of [
      [1, '1.1.1'],
      [301, '10.1.1'],
      [517, '13.7.18'],
    ]) {
      const { text, code } = await visit(`${url}/getCaseInfo?case=${index}`);
      assert.deepEqual([code, Object.keys(JSON.parse(text))], [1005, ['id', 'description']]);
      assert.equal(JSON.parse(text).id, number);
    }
    assert.equal(JSON.parse((await visit(`${url}/getCaseInfo?casetuple=2.10`)).text).id, '2.10');
  });

  test('getCaseStatus answers with the behavior, and waits until the case is over', async () => {
    const { url } = started;
    const early = visit(`${url}/getCaseStatus?case=2&agent=a+b`);
    assert.equal((await run(url, 1, 'a b')).code, 1000);
    assert.equal((await run(url, 2, 'a b')).code, 1000);
    assert.deepEqual(await early, { text: '{"behavior":"OK"}', code: 1005 });
    assert.deepEqual(await visit(`${url}/getCaseStatus?case=1&agent=a%20b`), {
      text: '{"behavior":"OK"}',
      code: 1005,
    });
  });

  test('several clients may wait for one status, even if one of them leaves', async () => {
    const { url } = started;
    const early = [1, 2, 3].map(() => visit(`${url}/getCaseStatus?case=3&agent=several`));
    const left = new WebSocket(`${url}/getCaseStatus?case=3&agent=several`);
    await new Promise(resolve => left.once('open', resolve));
    left.terminate();
    await run(url, 3, 'several');
    for (const { text } of await Promise.all(early)) assert.equal(text, '{"behavior":"OK"}');
  });

  test('a case without the right echo is FAILED', async () => {
    const { url } = started;
    const client = new WebSocket(`${url}/runCase?case=2&agent=wrong`);
    client.on('message', () => client.send('something else'));
    await new Promise(resolve => client.once('close', resolve));
    assert.equal((await visit(`${url}/getCaseStatus?case=2&agent=wrong`)).text, '{"behavior":"FAILED"}');
  });

  test('the server refuses an invalid request with 400', async () => {
    const { url, server } = started;
    for (const path of [
      '/getCaseInfo',
      '/getCaseInfo?case=0',
      '/getCaseInfo?case=518',
      '/getCaseInfo?case=1&case=2',
      '/getCaseStatus?case=1',
      '/getCaseStatus?case=1&agent=%ff',
      '/runCase?case=1',
      '/runCase?agent=a',
      '/runCase?case=one&agent=a',
      `/runCase?case=1&agent=${'a'.repeat(201)}`,
      '/updateReports',
    ]) {
      const { status, socket } = await tryRaw(server.port, { path });
      assert.equal(status, 400, path);
      socket.destroy();
    }
    assert.equal((await visit(`${url}/getCaseCount`)).text, '517');
  });

  test('the others move up if cases are excluded', async t => {
    const { url } = await start(
      t,
      ...['--conformance-exclude', '1*', '--conformance-exclude', 'limits/*', '--conformance-exclude', '2.1'],
    );
    const left = 517 - 16 - 54 - 1 - 216 - 1;
    assert.equal((await visit(`${url}/getCaseCount`)).text, String(left));
    assert.equal(JSON.parse((await visit(`${url}/getCaseInfo?case=1`)).text).id, '2.2');
  });

  test('an exclusion that matches no case, or all cases, is a usage error', () => {
    for (const [pattern, sentence] of [
      ['14.*', 'no case has the number or name 14.*'],
      ['*', 'leaves no case to run'],
    ] as const) {
      const { status, stderr } = runToEnd(...suiteOptions, '--conformance-exclude', pattern);
      assert.deepEqual([status, stderr.includes(sentence)], [2, true], stderr);
    }
  });
});

describe('the reports', () => {
  test('index.json lists the results by agent and number, with a file for each case, and a page shows them', async t => {
    const { url, reports } = await start(t);
    for (const agent of ['ws/8 <b>', 'ws-8 <b>', '__proto__'])
      for (const index of [1, 2]) await run(url, index, agent);
    assert.equal(existsSync(join(reports, 'index.json')), false);
    assert.equal((await visit(`${url}/updateReports?agent=x`)).code, 1005);

    const index = read(join(reports, 'index.json'));
    assert.deepEqual(Object.keys(index), ['__proto__', 'ws-8 <b>', 'ws/8 <b>']);
    for (const results of Object.values<Record<string, Record<string, unknown>>>(index)) {
      assert.deepEqual(Object.keys(results), ['1.1.1', '1.1.2']);
      const { duration, reportfile, ...rest } = results['1.1.2']!;
      assert.deepEqual(rest, { behavior: 'OK', behaviorClose: 'OK', remoteCloseCode: 1000 });
      assert.equal(typeof duration, 'number');
      assert.match(String(reportfile), /^\w+_case_1_1_2\.json$/);
    }
    const files = Object.values<Record<string, { reportfile: string }>>(index).map(
      results => results['1.1.1']!.reportfile,
    );
    assert.equal(new Set(files).size, 3);

    const report = read(join(reports, index['ws/8 <b>']['1.1.2'].reportfile));
    assert.equal(report.agent, 'ws/8 <b>');
    assert.deepEqual(
      [report.id, report.case, report.behavior, report.behaviorClose],
      ['1.1.2', 2, 'OK', 'OK'],
    );
    assert.deepEqual(report.received, [['message', `${'*'.repeat(64)} ...`, false]]);
    assert.deepEqual(report.expected, { OK: report.received });

    const page = readFileSync(join(reports, 'index.html'), 'utf8');
    assert.ok(page.includes('ws/8 &lt;b&gt;') && !page.includes('<b>'));
  });

  test('reports leave out the credentials of clients', async t => {
    const { url, reports } = await start(t);
    const client = new WebSocket(`${url}/runCase?case=1&agent=a`, {
      headers: { Authorization: 'Basic secret' },
    });
    client.on('message', data => client.send(data, { binary: false }));
    await new Promise(resolve => client.once('close', resolve));
    const text = readFileSync(join(reports, 'a_case_1_1_1.json'), 'utf8');
    assert.ok(text.includes('sec-websocket-key') && !text.includes('secret'));
  });

  test('the server tests at most 20 agents', async t => {
    const { url, server } = await start(t);
    for (let i = 0; i < maxAgents; i++) await run(url, 1, `agent ${i}`);
    const { status, socket } = await tryRaw(server.port, { path: '/runCase?case=1&agent=another' });
    assert.equal(status, 503);
    socket.destroy();
    assert.equal((await run(url, 2, 'agent 3')).code, 1000);
  });

  test('a folder that cannot be written closes updateReports with 1011', async t => {
    const { url } = await start(t, '--report-dir', '/dev/null/reports');
    await run(url, 1, 'a');
    assert.equal((await visit(`${url}/updateReports?agent=a`)).code, 1011);
    assert.equal((await visit(`${url}/getCaseStatus?case=1&agent=a`)).text, '{"behavior":"OK"}');
  });
});
