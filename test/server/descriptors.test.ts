/** A server that may open few files: connections leave some for commands. */
import assert from 'node:assert/strict';
import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { test } from 'node:test';
import { promisify } from 'node:util';
import { spareDescriptors } from '../../src/protocol/bounds.ts';
import { assertServes } from '../support/echoProbe.ts';
import { serverScript } from '../support/serverProcess.ts';

const limit = 120;
/** What connections get: two listeners, one of them for commands, are counted as well. */
const welcome = limit - spareDescriptors - 2;

test('the last descriptors are for commands, and the log says so', { timeout: 60_000 }, async t => {
  const folder = mkdtempSync(join(tmpdir(), 'pollywog-descriptors-'));
  const control = join(folder, 'control.sock');
  const options = [
    '-p',
    '0',
    '--host',
    '127.0.0.1',
    '--control',
    control,
    '--log-format',
    'json',
    '--max-per-address',
    '0',
  ];
  const command = `ulimit -n ${limit}; exec "$0" "$@"`;
  const server = spawn('sh', ['-c', command, process.execPath, serverScript, ...options], { stdio: 'pipe' });
  const clients: Socket[] = [];
  t.after(async () => {
    for (const client of clients) client.destroy();
    server.kill('SIGKILL');
    await once(server, 'close');
    rmSync(folder, { recursive: true });
  });
  const [ready] = (await once(createInterface(server.stdout), 'line')) as [string];
  const { port } = JSON.parse(ready) as { port: number };

  let left = 0;
  const allLeft = new Promise<void>(resolve => {
    for (let i = 0; i < 2 * limit; i++) {
      const client = connect(port, '127.0.0.1').on('error', () => {});
      client.on('close', () => {
        if (++left === 2 * limit - welcome) resolve();
      });
      clients.push(client.resume());
    }
  });
  for await (const line of createInterface(server.stderr)) {
    const { event, openFiles } = JSON.parse(line) as Record<string, unknown>;
    if (event !== 'out of descriptors') continue;
    assert.equal(openFiles, limit);
    break;
  }
  await allLeft;
  const info = async () => {
    const words = [serverScript, 'info', '--json', '--control', control];
    const { stdout } = await promisify(execFile)(process.execPath, words);
    return JSON.parse(stdout) as { connections: number; limits: { openFiles: number } };
  };
  const { connections, limits } = await info();
  assert.deepEqual([connections, limits.openFiles], [welcome, limit]);

  for (const client of clients) client.destroy();
  while ((await info()).connections > 0);
  await assertServes(port);
});
