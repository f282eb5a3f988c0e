/** Programs get pipes, which they can open as files, and which count as descriptors. */
import assert from 'node:assert/strict';
import { fstatSync, mkdirSync, openSync, readdirSync, utimesSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { spawnOn } from '../../../src/handlers/programs/pipes.ts';
import { reservedDescriptors } from '../../../src/protocol/limits.ts';
import { roundTrip } from '../../support/echoProbe.ts';
import { skipUnlessLinux } from '../../support/linux.ts';
import { connectRaw, type RawClient } from '../../support/rawClient.ts';
import { frame, opcode } from '../../support/rawFrame.ts';
import { startServerFor, startServerWith } from '../../support/serverProcess.ts';
import { temporaryFolder } from '../../support/temporaryFolder.ts';
import { nextShown, quoteWords, untilSo, writeProgram } from './programs.ts';

const folder = temporaryFolder();
/** Opens all three by name, each in another process. */
const byName = `#!/bin/sh
read line </dev/stdin
echo "got $line" >/dev/stdout
echo "says $line" >/dev/stderr
exec tee /dev/stderr </dev/stdin
`;
const opener = writeProgram(folder, 'opener', byName);
const options = ['-p', '0', '--host', '127.0.0.1', '--control', 'none', '--log-format', 'json'];

async function assertOpens(client: RawClient): Promise<void> {
  client.send(frame(opcode.text, 'first'), frame(opcode.text, 'second'));
  assert.deepEqual([await nextShown(client), await nextShown(client)], ['got first', 'second']);
}

for (const how of ['--exec', '--exec-shared']) {
  test(`a program can open /dev/stdin, /dev/stdout and /dev/stderr (${how})`, async t => {
    const path = how === '--exec' ? opener : writeProgram(folder, 'all', byName.replace('"got', '"* got'));
    const server = await startServerFor(t, how, `x=${quoteWords(path)}`);
    const client = await connectRaw(server.port, { path: '/x' });
    if (how === '--exec') await assertOpens(client);
    else {
      client.send(frame(opcode.text, 'first'));
      assert.equal(await nextShown(client), 'got 1 first');
    }
    const first = how === '--exec' ? 'says first' : 'says 1 first';
    await server.untilLogged(({ event, line }) => event === 'program stderr' && line === first);
    client.destroy();
  });
}

test('the pipes leave no file, not even while programs run', async t => {
  const temporary = join(folder, 'tmp');
  mkdirSync(temporary);
  // A folder of a server that was killed while it made pipes.
  const stale = join(temporary, 'pollywog-pipes-stale');
  mkdirSync(stale);
  utimesSync(stale, 0, 0);
  const server = await startServerWith([...options, '--exec', 'x=cat'], {
    test: t,
    environment: { ...process.env, TMPDIR: temporary },
  });
  const clients = await Promise.all(
    Array.from({ length: 30 }, () => connectRaw(server.port, { path: '/x' })),
  );
  for (const client of clients) await roundTrip(client);
  await untilSo(() => readdirSync(temporary).length === 0);
  for (const client of clients) client.destroy();
});

test('without pipes programs get sockets, and the log says what that means', async t => {
  const environment = { ...process.env, TMPDIR: join(folder, 'nowhere') };
  const server = await startServerWith([...options, '--exec', 'x=cat'], { test: t, environment });
  for (let i = 0; i < 3; i++) {
    const client = await connectRaw(server.port, { path: '/x' });
    await roundTrip(client);
    client.destroy();
  }
  const told = server.logged().filter(({ event }) => event === 'pipes unavailable');
  assert.equal(told.length, 1);
  assert.match(String(told[0]?.['means']), /cannot open \/dev\/stdin/);
});

test('programs may use a third of the descriptors; beyond that clients get 1013, and others are served', async t => {
  if (skipUnlessLinux(t, '/proc')) return;
  const limit = 150;
  const commandLine = [...options, '--exec', 'x=cat', '--exec-max', '0'];
  const server = await startServerWith(commandLine, { test: t, openFiles: limit });
  const { port } = server;
  const clients: RawClient[] = [];
  t.after(() => {
    for (const client of clients) client.destroy();
  });
  const most = Math.floor((limit - reservedDescriptors) / 3 / 3);
  let running = 0;
  for (let i = 0; i < most + 5; i++) {
    const client = await connectRaw(port, { path: '/x' });
    clients.push(client);
    client.send(frame(opcode.text, 'here'));
    const answer = await nextShown(client);
    if (answer === 'here') running++;
    else assert.match(answer, /^close 1013 too many programs are running; try again later/);
  }
  assert.ok(running >= most - 1 && running <= most, `${running} of ${most}`);
  const { raise, openFiles } = await server.untilLogged(({ event }) => event === 'too many programs');
  assert.deepEqual([raise, openFiles], ['ulimit -Hn', limit]);
  const echo = await connectRaw(port, { path: '/echo' });
  await roundTrip(echo);
  clients.push(echo);
  // Their places are free again after they have exited.
  for (const client of clients.splice(0, most + 5)) client.destroy();
  for (;;) {
    const client = await connectRaw(port, { path: '/x' });
    clients.push(client);
    client.send(frame(opcode.text, 'again'));
    if ((await nextShown(client)) === 'again') break;
  }
});

test('a program does not start if one of its pipes cannot be opened, and all of them are closed', t => {
  if (skipUnlessLinux(t, '/proc')) return;
  // A directory cannot be opened for writing: it stands in for a lack of descriptors.
  const pipes = [openSync('/dev/null', 'r+'), openSync(folder, 'r'), openSync('/dev/null', 'r+')];
  const before = readdirSync('/proc/self/fd').length;
  assert.throws(() => spawnOn(pipes, ['cat'], {}), /EISDIR/);
  assert.equal(readdirSync('/proc/self/fd').length, before - pipes.length);
  for (const descriptor of pipes) assert.throws(() => fstatSync(descriptor), /EBADF/);
});
