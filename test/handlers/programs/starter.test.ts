/** A large server has another process start its programs: what they and their clients see is the same. */
import assert from 'node:assert/strict';
import { rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { starterThreshold } from '../../../src/protocol/limits.ts';
import { skipUnlessLinux } from '../../support/linux.ts';
import { connectRaw, type RawClient } from '../../support/rawClient.ts';
import { closeFrame, frame, opcode } from '../../support/rawFrame.ts';
import { type ServerProcess, startServerFor } from '../../support/serverProcess.ts';
import { temporaryFolder } from '../../support/temporaryFolder.ts';
import { isAlive, nextShown, processes, untilSo, writeProgram } from './programs.ts';

const parentOf = (pid: number) => processes().find(one => one.pid === pid)?.parent;

/** Prints its process ID and copies its input. */
const copier = '#!/bin/sh\necho $$\nexec cat\n';

async function openProgram(server: ServerProcess): Promise<{ client: RawClient; pid: number }> {
  const client = await connectRaw(server.port, { path: '/copier' });
  return { client, pid: Number(await nextShown(client)) };
}

/** Opens programs until the server does not start them itself. */
async function openByStarter(server: ServerProcess) {
  for (;;) {
    const { client, pid } = await openProgram(server);
    const starter = parentOf(pid)!;
    if (starter !== server.pid) return { client, pid, starter };
    client.destroy();
  }
}

test('programs of a large server are started by another process, and work as those of a small one', async t => {
  if (skipUnlessLinux(t, '/proc')) return;
  const folder = temporaryFolder();
  const large = `const memory = Buffer.alloc(${starterThreshold}, 1);\nexport const message = () => memory.length;\n`;
  writeFileSync(join(folder, 'large.mjs'), large);
  const vanishing = writeProgram(folder, 'vanishing', '#!/bin/sh\nexit 0\n');
  const server = await startServerFor(
    t,
    ...[
      '--handlers',
      folder,
      '--log-level',
      'debug',
      '--exec-grace',
      '1s',
      '--exec',
      `vanishing=${vanishing}`,
    ],
    ...[
      '--exec',
      `copier=${writeProgram(folder, 'copier', copier)}`,
      '--exec',
      'three=sh -c "read x; exit 3"',
    ],
  );
  const { client, pid, starter } = await openByStarter(server);
  client.send(frame(opcode.text, 'hello'));
  assert.equal(await nextShown(client), 'hello');
  assert.equal(processes().find(one => one.pid === pid)?.group, pid, 'it leads a process group');

  const three = await connectRaw(server.port, { path: '/three' });
  three.send(frame(opcode.text, 'x'));
  assert.equal(await nextShown(three), 'close 1011 the program failed');
  await server.untilLogged(({ event, with: exit }) => event === 'program ended' && exit === 3);

  rmSync(vanishing);
  const vanished = await connectRaw(server.port, { path: '/vanishing' });
  assert.equal(await nextShown(vanished), 'close 1011 the program could not be started');
  const { why } = await server.untilLogged(({ event }) => event === 'program not started');
  assert.match(String(why), /no longer exists/);

  // A client that leaves at once leaves no process behind.
  const hasty = await connectRaw(server.port, { path: '/copier' });
  hasty.destroy();
  await untilSo(() => processes().filter(({ parent }) => parent === starter).length === 1);

  process.kill(starter, 'SIGKILL');
  await server.untilLogged(({ event }) => event === 'starter not used');
  assert.equal(await nextShown(client), 'close 1011 the program failed');
  await untilSo(() => !isAlive(pid));
  const own = await openProgram(server);
  assert.equal(parentOf(own.pid), server.pid);
  own.client.send(closeFrame(1000));
  for (const one of [client, three, vanished, own.client]) one.destroy();
});

test('the process that starts programs ends with the server, as do its programs', async t => {
  if (skipUnlessLinux(t, '/proc')) return;
  for (const signal of ['SIGTERM', 'SIGKILL'] as const) {
    const folder = temporaryFolder();
    const large = `const memory = Buffer.alloc(${starterThreshold}, 1);\nexport const message = () => memory.length;\n`;
    writeFileSync(join(folder, 'large.mjs'), large);
    const options = ['--handlers', folder, '--exec-grace', '1s', '--drain-timeout', '1s'];
    const program = writeProgram(folder, 'copier', copier);
    const server = await startServerFor(t, ...options, '--exec', `copier=${program}`);
    const { client, pid, starter } = await openByStarter(server);
    for (const ignored of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const) process.kill(starter, ignored);
    client.send(frame(opcode.text, 'hello'));
    assert.equal(await nextShown(client), 'hello');
    server.child.kill(signal);
    if (signal === 'SIGTERM') client.destroy();
    await server.exited;
    if (signal === 'SIGTERM')
      assert.ok(!isAlive(starter) && !isAlive(pid), 'both have ended before the server');
    else await untilSo(() => !isAlive(starter) && !isAlive(pid));
    client.destroy();
  }
});
