import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { metrics } from '../../src/commands/metrics.ts';
import { manual } from '../support/documents.ts';
import { connectRaw } from '../support/rawClient.ts';
import { frame, opcode } from '../support/rawFrame.ts';
import { newWorkshop, runShell, testExamples } from './examples.ts';

testExamples('monitoring', {
  'sh metrics-token': async (t, code) => {
    const printed = await runShell(t, newWorkshop(), code);
    assert.match(printed, /^pollywog_connections\{wire="websocket",handler="echo"\} 0$/m);
  },

  'yaml scrape_configs': (_, code) => {
    const { folder } = newWorkshop();
    writeFileSync(join(folder, 'metrics-token'), 'secret');
    const file = join(folder, 'prometheus.yml');
    writeFileSync(file, code.replace('/etc/prometheus/', `${folder}/`));
    const { status, stdout, stderr, error } = spawnSync('promtool', ['check', 'config', file], {
      encoding: 'utf8',
    });
    assert.equal(error, undefined, 'promtool is in the package prometheus of Debian');
    assert.equal(status, 0, stdout + stderr);
  },

  'sh --metrics-listen': async (t, code) => {
    const workshop = newWorkshop();
    await runShell(t, workshop, code, { ':9464': ':0' });
    const listening = workshop.server!.logged().filter(({ event }) => event === 'listening');
    const ports = listening.map(({ url }) => new URL(String(url)).port).filter(port => port !== '');
    const answers = await Promise.all(ports.map(port => fetch(`http://127.0.0.1:${port}/metrics`)));
    assert.deepEqual(answers.map(({ status }) => status).sort(), [200, 404]);
  },

  'output GET /echo': async (t, code) => {
    const workshop = newWorkshop();
    await runShell(t, workshop, 'pollywog --access-log access.log');
    const { server, folder } = workshop;
    const client = await connectRaw(server!.port, {
      path: '/echo',
      headers: { 'User-Agent': 'curl/8.5.0' },
    });
    client.send(frame(opcode.text, 'hello'), frame(opcode.close, Buffer.from([3, 232])));
    await client.remainingFrames();
    client.destroy();
    await server!.stop();
    const withoutTime = (line: string) => line.replace(/\[.*?\]/, '');
    assert.equal(withoutTime(readFileSync(join(folder, 'access.log'), 'utf8')), withoutTime(code));
  },

  'sh read-token': async (t, code) => {
    assert.match(await runShell(t, newWorkshop(), code), /^ +id +serial +wire +handler/);
  },
});

test('monitoring: every metric that the page names exists', () => {
  const known = new Set(metrics.map(({ name }) => name));
  const named = [...manual.get('monitoring')!.text.matchAll(/\bpollywog_[a-z_]+/g)];
  assert.ok(named.length > 5);
  for (const [name] of named) assert.ok(known.has(name.replace(/_bucket$/, '')), name);
});
