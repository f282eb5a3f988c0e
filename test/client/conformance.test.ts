/** `--conformance`: the client as a tester of servers. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, type TestContext, test } from 'node:test';
import { conformanceCases } from '../../src/conformance/table.ts';
import type { ReportedCase } from '../conformance/runReport.ts';
import { manualPage } from '../support/documents.ts';
import { connectRaw } from '../support/rawClient.ts';
import { type ServerProcess, startServer, startServerFor } from '../support/serverProcess.ts';
import { temporaryFolder } from '../support/temporaryFolder.ts';
import { runClient, startWs } from './clientProcess.ts';

const folder = temporaryFolder();

async function run(t: TestContext, url: string, ...options: string[]) {
  const { status, stdout, stderr } = await runClient(t, ['--conformance', url, ...options]);
  return { status, lines: stdout.toString('utf8').trimEnd().split('\n'), stderr };
}

/** An echo server with npm's ws. */
const startEcho = (t: TestContext, change: (data: Buffer) => Buffer = data => data) =>
  startWs(t, socket => {
    socket.on('error', () => {});
    socket.on('message', (data: Buffer, isBinary) => socket.send(change(data), { binary: isBinary }));
  });

describe('this server', () => {
  let server: ServerProcess;
  before(async () => {
    server = await startServer();
  });
  after(() => server.stop());

  test('passes all quick cases except compression, and each report has every case', async t => {
    const files = ['junit', 'json', 'tap', 'html'].map(format => join(folder, `report.${format}`));
    const reports = files.flatMap(file => ['--report', `${file.slice(file.lastIndexOf('.') + 1)}:${file}`]);
    const url = `ws://127.0.0.1:${server.port}/echo`;
    // `make conformance` runs the compression cases, which send thousands of messages.
    const words = new Set(conformanceCases.map(({ name }) => name.split('/')[0]!));
    const groups = [...words].filter(word => word !== 'compression').flatMap(word => ['--cases', word]);
    const { status, lines, stderr } = await run(t, url, '--quick', '--strict', ...groups, ...reports);
    assert.equal(stderr, '');
    const informational = lines.slice(0, -1).map(line => line.split(/[ :]+/).slice(0, 2).join(' '));
    assert.deepEqual(informational.toSorted(), [
      'INFORMATIONAL 7.1.6',
      'INFORMATIONAL 7.13.1',
      'INFORMATIONAL 7.13.2',
      'INFORMATIONAL deflate/truncated',
    ]);
    const shown = manualPage('conformance')
      .split('\n')
      .filter(line => line.startsWith('INFORMATIONAL '));
    assert.ok(lines.includes(shown[0]!), 'the manual shows one of these lines');
    assert.match(lines.at(-1)!, /^\d+ cases in \S+ s: 4 INFORMATIONAL, \d+ OK$/);
    assert.equal(status, 0);
    const [junit, json, tap, html] = files.map(file => readFileSync(file, 'utf8'));
    const { cases } = JSON.parse(json!) as { cases: ReportedCase[] };
    assert.ok(cases.length > 600);
    assert.equal(junit!.match(/<testcase /g)!.length, cases.length);
    assert.equal(tap!.match(/^ok /gm)!.length, cases.length);
    assert.equal(html!.match(/<tr><td/g)!.length, cases.length);
    assert.deepEqual(
      cases.filter(({ number }) => number === '6.4.1').map(({ name, verdict }) => [name, verdict]),
      [['utf8/fail-fast-frames', 'OK']],
    );
    // The server still accepts clients.
    const client = await connectRaw(server.port, { path: '/echo' });
    client.destroy();
  });

  test('--cases chooses by name and by number', async t => {
    const url = `ws://127.0.0.1:${server.port}/echo`;
    const chosen = async (...patterns: string[]) => {
      const options = patterns.flatMap(pattern => ['--cases', pattern]);
      const { lines } = await run(t, url, ...options, '--report', 'json:-');
      const { cases } = JSON.parse(lines.join('\n')) as { cases: ReportedCase[] };
      return cases.map(({ name, number }) => number ?? name);
    };
    assert.deepEqual(await chosen('2.1'), ['2.1']);
    assert.deepEqual(await chosen('6.1.*', 'pings/ten*'), ['2.10', '2.11', '6.1.1', '6.1.2', '6.1.3']);
    assert.equal((await chosen('5')).length, 20);
    const { status, stderr } = await run(t, url, '--cases', 'none');
    assert.deepEqual([status, stderr], [2, 'pollywog-client: no case matches none\n']);
  });

  test('a report that cannot be written is an error before the first case', async t => {
    const url = `ws://127.0.0.1:${server.port}/echo`;
    const { status, lines, stderr } = await run(t, url, '--report', `tap:${join(folder, 'none/report')}`);
    assert.deepEqual([status, lines], [2, ['']]);
    assert.match(stderr, /^pollywog-client: the report cannot be written: ENOENT/);
  });

  test('if the server refuses an ordinary handshake, no case runs, and the exit code is 4', async t => {
    const strict = await startServerFor(t, '--origin', 'https://own.example');
    const url = `ws://127.0.0.1:${strict.port}/echo`;
    const { status, stderr } = await run(t, url, '--origin', 'https://other.example');
    assert.equal(status, 4);
    assert.match(stderr, /^pollywog-client: refused: 4/);
  });
});

test('npm’s ws fails invalid text only at its end: NON-STRICT, so only a --strict run fails', async t => {
  const url = await startEcho(t);
  const plain = await run(t, url, '--cases', '6.4.*');
  assert.equal(plain.status, 0);
  assert.deepEqual(
    plain.lines
      .slice(0, -1)
      .map(line => line.split(/[ :]+/).slice(0, 2).join(' '))
      .toSorted(),
    ['NON-STRICT 6.4.1', 'NON-STRICT 6.4.2', 'NON-STRICT 6.4.3', 'NON-STRICT 6.4.4'],
  );
  assert.ok(manualPage('conformance').includes(`\n${plain.lines.find(line => line.includes(' 6.4.1 '))}\n`));
  assert.match(plain.lines.at(-1)!, /: 4 NON-STRICT$/);
  const strict = await run(t, url, '--cases', '6.4.1', '--strict');
  assert.equal(strict.status, 1);
});

test('a server that changes its echoes has FAILED, and each line has the expected and the actual answers', async t => {
  const url = await startEcho(t, data => Buffer.concat([data, Buffer.from('!')]));
  const { status, lines } = await run(t, url, '--cases', '6.2.1', '--cases', '2.2');
  assert.equal(status, 1);
  assert.equal(
    lines[0],
    'FAILED        6.2.1 utf8/umlauts: expected text of 29 bytes, then a close with 1000; saw text of 30 bytes, then a close with 1000',
  );
  assert.match(lines[1]!, /^2 cases in \S+ s: 1 FAILED, 1 OK$/);
});

test('without a server the exit code is 3', async t => {
  const { status, stderr } = await run(t, `ws+unix:${join(folder, 'none.sock')}:/echo`);
  assert.equal(status, 3);
  assert.match(stderr, /is the server running\?/);
});
