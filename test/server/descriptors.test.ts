/** A server that may open few files: some descriptors are reserved for commands. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { join } from 'node:path';
import { test } from 'node:test';
import { promisify } from 'node:util';
import { reservedDescriptors } from '../../src/protocol/limits.ts';
import { assertServes } from '../support/echoProbe.ts';
import { skipUnlessLinux } from '../support/linux.ts';
import { serverScript, startServerWith } from '../support/serverProcess.ts';
import { temporaryFolder } from '../support/temporaryFolder.ts';

const limitOf = { timeout: 60_000 };
const limit = 120;
/** The descriptors available to connections: two are used by the listener and the control socket. */
const welcome = limit - reservedDescriptors - 2;

test('commands work when connections have used up their descriptors, and the log reports it', {
  timeout: 60_000,
}, async t => {
  if (skipUnlessLinux(t, '/proc')) return;
  const folder = temporaryFolder();
  const control = join(folder, 'control.sock');
  const options = ['-p', '0', '--host', '127.0.0.1', '--log-format', 'json', '--max-per-address', '0'];
  const server = await startServerWith([...options, '--control', control], { test: t, openFiles: limit });
  const { port } = server;
  const clients: Socket[] = [];
  t.after(() => {
    for (const client of clients) client.destroy();
  });

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
  const { openFiles } = await server.untilLogged(({ event }) => event === 'out of descriptors');
  assert.equal(openFiles, limit);
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

test('both programs start with a limit of 64 open files', limitOf, async t => {
  if (skipUnlessLinux(t, '/proc')) return;
  for (const [script, ...words] of [
    [serverScript, '--version'],
    [serverScript, 'checkconfig'],
    [serverScript.replace('server.js', 'client.js'), '--version'],
  ] as const) {
    const command = 'ulimit -n 64; exec "$0" "$@"';
    const { stderr } = await promisify(execFile)('sh', ['-c', command, process.execPath, script, ...words]);
    assert.equal(stderr, '');
  }
});

test('a program that cannot be loaded because too many files are open says what to do', limitOf, async () => {
  const module = JSON.stringify(new URL('../../src/options/load.js', import.meta.url).href);
  for (const [code, sentence] of [
    ['EMFILE', 'the limit on open files is too low; raise it, for instance with ulimit -n 1024'],
    ['ENFILE', 'the system has too many files open; close some, or raise fs.file-max'],
  ]) {
    const failing = `() => Promise.reject(Object.assign(new Error('too many open files'), { code: '${code}' }))`;
    const script = `const { load } = await import(${module}); await load('pollywog', [async () => {}, ${failing}])`;
    const running = promisify(execFile)(process.execPath, ['--input-type=module', '-e', script]);
    const failure = { code: 1, stderr: `pollywog: cannot start: ${sentence}\n` };
    await assert.rejects(running, failure);
  }
});

test('an address gets connections although another one takes all descriptors that it can get', {
  timeout: 60_000,
}, async t => {
  if (skipUnlessLinux(t, '/proc')) return;
  const options = ['-p', '0', '--host', '127.0.0.1', '--control', 'none', '--config', 'none'];
  const { port } = await startServerWith([...options, '--log-format', 'json'], { test: t, openFiles: limit });
  const clients: Socket[] = [];
  t.after(() => {
    for (const client of clients) client.destroy();
  });
  const open = (localAddress: string) => {
    const client = connect({ host: '127.0.0.1', port, localAddress }).on('error', () => {});
    clients.push(client);
    return client;
  };
  for (let round = 0; round < 20; round++) {
    for (let i = 0; i < 20; i++) open('127.0.0.1');
    // This client connects after them and is served while they are accepted.
    const client = open('127.0.0.2');
    client.write('GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n');
    assert.match(String((await once(client, 'data'))[0]), /^HTTP\/1\.1 200 /);
    client.destroy();
  }
});
