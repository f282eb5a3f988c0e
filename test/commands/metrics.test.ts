/** The metrics: their format, their counts, the tokens that allow them, and the dashboard. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { commands } from '../../src/commands/commands.ts';
import { metrics } from '../../src/commands/metrics.ts';
import { openServer, run, secret } from '../support/commandWays.ts';
import { root } from '../support/documents.ts';
import { connectRaw, exchange } from '../support/rawClient.ts';
import { frame, opcode } from '../support/rawFrame.ts';
import { type Hooks, startServerFor } from '../support/serverProcess.ts';
import { temporaryFolder } from '../support/temporaryFolder.ts';

const metricsSecret = 'this-one-only-scrapes';
const readSecret = 'this-one-only-looks';

function tokenFile(token: string): string {
  const path = join(temporaryFolder(), 'token');
  writeFileSync(path, token, { mode: 0o600 });
  return path;
}

function startMeasured(t: Hooks, ...options: string[]) {
  return startServerFor(t, '--metrics-token', tokenFile(metricsSecret), ...options);
}

async function scrape(port: number, token = metricsSecret): Promise<string> {
  const headers = { Authorization: `Bearer ${token}`, Connection: 'close' };
  const response = await fetch(`http://127.0.0.1:${port}/metrics`, { headers });
  assert.equal(response.status, 200);
  assert.equal(response.headers.get('content-type'), 'text/plain; version=0.0.4; charset=utf-8');
  return response.text();
}

/** @param series as in the text: `pollywog_connections{wire="websocket",handler="echo"}` */
function sampleOf(text: string, series: string): number {
  const line = text.split('\n').find(one => one.startsWith(`${series} `));
  assert.ok(line !== undefined, `${series} in\n${text}`);
  return Number(line.slice(series.length + 1));
}

/** Scrapes until the series has this value. */
async function untilValue(port: number, series: string, value: number): Promise<string> {
  for (;;) {
    const text = await scrape(port);
    if (sampleOf(text, series) === value) return text;
  }
}

describe('the metrics', () => {
  test('have the text format of Prometheus, and promtool accepts their names and types', async t => {
    const server = await startMeasured(t, '--data', temporaryFolder(), '--exec', 'cat=/bin/cat');
    const client = await connectRaw(server.port, { path: '/echo' });
    client.send(frame(opcode.text, 'hello'));
    await client.nextFrame();
    const checked = spawnSync('promtool', ['check', 'metrics'], {
      input: await scrape(server.port),
      encoding: 'utf8',
    });
    assert.equal(checked.error, undefined, 'promtool is in the package prometheus of Debian');
    assert.deepEqual([checked.status, checked.stdout, checked.stderr], [0, '', '']);
    client.destroy();
  });

  test('count the messages of clients that are connected or have left', async t => {
    const server = await startMeasured(t);
    const echo = 'pollywog_connections{wire="websocket",handler="echo"}';
    assert.equal(sampleOf(await scrape(server.port), echo), 0);
    const client = await connectRaw(server.port, { path: '/echo' });
    client.send(frame(opcode.text, 'hello'), frame(opcode.text, 'again'));
    await client.nextFrame();
    await client.nextFrame();
    const during = await scrape(server.port);
    assert.equal(sampleOf(during, echo), 1);
    assert.equal(sampleOf(during, 'pollywog_messages_received_total'), 2);
    assert.equal(sampleOf(during, 'pollywog_messages_sent_total'), 2);
    client.send(frame(opcode.close, Buffer.from([3, 232])));
    await client.remainingFrames();
    client.destroy();
    const closed = 'pollywog_connections_closed_total{reason="client_closed"}';
    const afterwards = await untilValue(server.port, closed, 1);
    assert.equal(sampleOf(afterwards, echo), 0);
    assert.equal(sampleOf(afterwards, 'pollywog_messages_received_total'), 2);
    assert.equal(sampleOf(afterwards, 'pollywog_messages_sent_total'), 2);
    const bytes = 'pollywog_received_bytes_total';
    assert.ok(sampleOf(afterwards, bytes) > sampleOf(during, bytes));
  });

  test('count refusals and closes by reason', async t => {
    const server = await startMeasured(t, '--max-message', '10');
    const tooLong = await connectRaw(server.port, { path: '/echo' });
    tooLong.send(frame(opcode.text, 'more than ten bytes'));
    await tooLong.remainingFrames();
    tooLong.destroy();
    const invalid = await connectRaw(server.port, { path: '/echo' });
    invalid.send(Buffer.from([0xf1, 0x80, 0, 0, 0, 0]));
    await invalid.remainingFrames();
    invalid.destroy();
    await exchange(server.port, 'GET /nothing HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n');
    const closed = (reason: string) => `pollywog_connections_closed_total{reason="${reason}"}`;
    await untilValue(server.port, closed('max_message'), 1);
    await untilValue(server.port, closed('protocol_error'), 1);
    await untilValue(server.port, closed('refused'), 1);
    assert.equal(sampleOf(await scrape(server.port), 'pollywog_refused_total{reason="status_404"}'), 1);
  });

  test('count every turn in the histogram, and have no label that a client chose', async t => {
    const server = await startMeasured(t);
    const chosen = 'EvilLabel';
    const request = `GET /${chosen} HTTP/1.1\r\nHost: ${chosen}\r\nUser-Agent: ${chosen}\r\nConnection: close\r\n\r\n`;
    await exchange(server.port, request);
    const client = await connectRaw(server.port, { path: `/channels/${chosen}` });
    const reason = Buffer.from(`\u000f\u00a0${chosen}`, 'latin1');
    client.send(frame(opcode.close, reason));
    await client.remainingFrames();
    client.destroy();
    const text = await scrape(server.port);
    assert.doesNotMatch(text, /evillabel/i);
    const turns = sampleOf(text, 'pollywog_turn_duration_seconds_count');
    assert.ok(turns > 3);
    assert.equal(sampleOf(text, 'pollywog_turn_duration_seconds_bucket{le="+Inf"}'), turns);
  });

  test('are the output of the command metrics, also in JSON', async t => {
    const server = await openServer(t);
    const told = await run(['--control', server.control, 'metrics']);
    assert.match(told.stdout, /^# HELP pollywog_build_info .*\n# TYPE pollywog_build_info gauge\n/);
    const json = JSON.parse((await run(['--control', server.control, 'metrics', '--json'])).stdout);
    assert.deepEqual(
      json.map(({ name }: { name: string }) => name),
      metrics.map(({ name }) => name),
    );
  });
});

describe('GET /metrics', () => {
  test('does not exist without a token that allows it, and refuses a wrong token and another method', async t => {
    const without = await startServerFor(t);
    assert.equal((await fetch(`http://127.0.0.1:${without.port}/metrics`)).status, 404);
    const reading = await startServerFor(t, '--read-token', tokenFile(readSecret));
    assert.match(await scrape(reading.port, readSecret), /pollywog_build_info/);
    const server = await startMeasured(t);
    const ask = async (headers: Record<string, string>, method = 'GET') =>
      (await fetch(`http://127.0.0.1:${server.port}/metrics`, { method, headers })).status;
    const right = { Authorization: `Bearer ${metricsSecret}` };
    assert.equal(await ask({}), 401);
    assert.equal(await ask({ Authorization: 'Bearer wrong-wrong-wrong' }), 401);
    assert.equal(await ask(right, 'POST'), 405);
    assert.equal(await ask(right, 'HEAD'), 200);
  });

  test('is the only path on a listener of --metrics-listen', async t => {
    const server = await startServerFor(t, '--metrics-listen', 'tcp://127.0.0.1:0');
    const listening = server.logged().filter(({ event }) => event === 'listening');
    const port = Number(new URL(String(listening.at(-1)?.['url'])).port);
    assert.notEqual(port, server.port);
    const response = await fetch(`http://127.0.0.1:${port}/metrics`);
    assert.match(await response.text(), /^pollywog_connections_accepted_total \d+$/m);
    for (const path of ['/', '/api/list', '/channels/a', '/echo'])
      assert.equal((await fetch(`http://127.0.0.1:${port}${path}`)).status, 404, path);
    const upgrade = 'Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n';
    const key = 'Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n';
    const answer = await exchange(port, `GET /echo HTTP/1.1\r\nHost: a\r\n${upgrade}${key}\r\n`);
    assert.match(answer.toString(), /^HTTP\/1\.1 404 /);
  });
});

describe('--read-token', () => {
  test('allows every read-only command, the metrics, and no other command', async t => {
    const server = await startMeasured(t, '--read-token', tokenFile(readSecret));
    const call = async (name: string) => {
      const response = await fetch(`http://127.0.0.1:${server.port}/api/${name}`, {
        method: 'POST',
        headers: { Authorization: `Bearer ${readSecret}`, Accept: 'text/plain' },
      });
      return { status: response.status, text: await response.text() };
    };
    for (const { name, isReadOnly, streams } of commands.values()) {
      if (streams) continue;
      const { status, text } = await call(name);
      if (isReadOnly) assert.ok(status === 200 || status === 400, `${name}: ${status} ${text}`);
      else assert.match(`${status} ${text}`, new RegExp(`^403 --read-token does not allow ${name}; `));
    }
    assert.match(await scrape(server.port, readSecret), /pollywog_build_info/);
    const nothing = await fetch(`http://127.0.0.1:${server.port}/channels/a`, {
      method: 'POST',
      body: 'x',
      headers: { Authorization: `Bearer ${readSecret}` },
    });
    assert.equal(nothing.status, 403);
  });

  test('cannot have the token of another option', async () => {
    const file = tokenFile(secret);
    const none = ['--control', 'none', '--config', 'none', '--log-file', 'none', '--host', '127.0.0.1'];
    const told = await run(['-p', '0', ...none, '--read-token', file, '--metrics-token', file]);
    assert.equal(told.exit, 2);
    assert.match(told.stderr, /--metrics-token and --read-token have the same token/);
  });
});

test('a command is read-only exactly if it has no log policy', () => {
  for (const { name, isReadOnly, logs } of commands.values())
    assert.equal(isReadOnly === true, logs === undefined, name);
});

test('every metric of the dashboard exists, and the dashboard shows every kind of trouble', () => {
  const dashboard = readFileSync(new URL('src/manual/grafana.json', root), 'utf8');
  const known = new Set<string>(metrics.map(({ name }) => name));
  const shown = new Set(
    [...dashboard.matchAll(/\b((?:pollywog|process)_[a-z_]+)\b/g)].map(([, name = '']) =>
      name.replace(/_(?:bucket|sum|count)$/, ''),
    ),
  );
  assert.ok(shown.size > 15);
  for (const name of shown) assert.ok(known.has(name), `${name} is a metric`);
  for (const name of ['pollywog_refused_total', 'pollywog_slow_consumers_total', 'pollywog_evictions_total'])
    assert.ok(shown.has(name), name);
});
