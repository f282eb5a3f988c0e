/** Unsafe folders and unexpected files in the spool, by mistake or by malice. */
import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import {
  chmodSync,
  chownSync,
  linkSync,
  lstatSync,
  mkdirSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { skipUnlessLinux } from '../../support/linux.ts';
import { messagesIn } from '../../support/roomFiles.ts';
import { newSpoolFolder, startSpooling, untilThrough } from '../../support/spool.ts';

test('a missing folder is created, accessible to its owner only', async t => {
  const spool = newSpoolFolder(t);
  await startSpooling(spool);
  for (const folder of ['', 'running', 'failed']) {
    assert.equal(statSync(join(spool.path, folder)).mode & 0o7777, 0o700);
  }
});

test('a server does not start with a spool that others can write to', async t => {
  const cases: readonly [(path: string) => void, RegExp][] = [
    [
      path => {
        mkdirSync(path);
        chmodSync(path, 0o1777);
      },
      /everyone can write to \S+, and so control the server; run chmod o-w on it/,
    ],
    [
      path => {
        mkdirSync(join(path, 'failed'), { recursive: true });
        chmodSync(join(path, 'failed'), 0o777);
      },
      /everyone can write to \S+failed, and so control the server/,
    ],
    [
      path => {
        mkdirSync(path);
        symlinkSync('/tmp', join(path, 'running'));
      },
      /running is not a folder; move it away/,
    ],
    [path => writeFileSync(path, ''), /spool: it is a file, not a folder; choose another with --spool$/m],
    [
      path => symlinkSync('nowhere', path),
      /the folder \S+spool does not exist \(or a link to it is broken\); create it/,
    ],
    [path => symlinkSync(path, path), /spool: its symbolic links form a loop; choose another with --spool$/m],
    [
      path => mkdirSync(`${path}.other`),
      /cannot use the spool \S+: the folder \S+spool does not exist; create it/,
    ],
  ];
  for (const [index, [prepare, sentence]] of cases.entries()) {
    const spool = newSpoolFolder(t);
    prepare(spool.path);
    const path = index === cases.length - 1 ? join(spool.path, 'deep') : spool.path;
    await assert.rejects(startSpooling({ ...spool, path }), sentence);
  }
});

test('a folder that belongs to another user is refused', {
  skip: process.getuid?.() !== 0 && 'only root gives files away',
}, async t => {
  const spool = newSpoolFolder(t);
  mkdirSync(spool.path);
  chownSync(spool.path, 65_534, 65_534);
  await assert.rejects(startSpooling(spool), /belongs to another user \(uid 65534\)/);
});

test('links, pipes, folders and invalid names are ignored, and do not block others', async t => {
  const spool = newSpoolFolder(t);
  mkdirSync(spool.path, { mode: 0o700 });
  const at = (file: string) => join(spool.path, file);
  writeFileSync(at('commands'), 'stop\n');
  symlinkSync(at('commands'), at('0link.cmd'));
  symlinkSync('/dev/zero', at('0device.cmd'));
  symlinkSync(at('nowhere'), at('0broken.cmd'));
  execFileSync('mkfifo', [at('0pipe.cmd')]);
  mkdirSync(at('0folder.cmd'));
  const odd = ['.hidden', '-dash', 'a b', 'a\nb', 'ü', 'x'.repeat(201), ''].map(name => `${name}.cmd`);
  for (const file of odd) writeFileSync(at(file), 'stop\n');
  // What is not renamed yet, or has another name altogether.
  for (const file of ['a.tmp', 'a.cmd.tmp', 'a.CMD', 'acmd']) writeFileSync(at(file), 'stop\n');
  linkSync(at('commands'), at('1hard.cmd'));
  spool.put('2', 'rooms\n');
  const server = await startSpooling(spool);
  assert.equal((await untilThrough(server, spool, '2')).failed, false);
  assert.deepEqual(await untilThrough(server, spool, '1hard'), {
    failed: true,
    said: 'it has other names, too (hard links); write a copy\n',
  });
  for (const file of [
    ...odd,
    '0link.cmd',
    '0device.cmd',
    '0broken.cmd',
    '0pipe.cmd',
    '0folder.cmd',
    'a.tmp',
  ]) {
    assert.ok(lstatSync(at(file)), file);
  }
  const ignored = server.logged().filter(({ event }) => event === 'spool file ignored');
  assert.deepEqual(
    ignored.map(({ file }) => file).sort(),
    [...odd, '0link.cmd', '0device.cmd', '0broken.cmd', '0pipe.cmd', '0folder.cmd'].sort(),
  );
  // A pipe as bytes to send, too.
  execFileSync('mkfifo', [at('pipe')]);
  symlinkSync('/etc/passwd', at('link'));
  spool.put('3', 'broadcast --binary pipe\n');
  spool.put('4', 'broadcast --binary link\n');
  assert.match((await untilThrough(server, spool, '3')).said, /cannot read pipe: it is not a regular file/);
  assert.match((await untilThrough(server, spool, '4')).said, /cannot read link: it is a symbolic link/);
});

test('an answer is never written through a link', async t => {
  const spool = newSpoolFolder(t);
  const server = await startSpooling(spool);
  const at = (file: string) => join(spool.path, file);
  writeFileSync(at('precious'), 'as it was');
  for (const file of ['1.out', 'running/1.out', 'failed/2.out', 'running/2.out']) {
    symlinkSync(at('precious'), at(file));
  }
  spool.put('1', 'rooms\n');
  spool.put('2', 'nonsense\n');
  assert.match((await untilThrough(server, spool, '1')).said, /^room /);
  assert.match((await untilThrough(server, spool, '2')).said, /unknown command/);
  assert.equal(spool.read('precious'), 'as it was');
  for (const file of ['1.out', 'failed/2.out']) assert.ok(lstatSync(at(file)).isFile(), file);
});

test('a file whose answer cannot be written fails with that reason', async t => {
  const spool = newSpoolFolder(t);
  const server = await startSpooling(spool);
  mkdirSync(join(spool.path, '1.out'));
  spool.put('1', 'rooms\n');
  assert.match((await untilThrough(server, spool, '1')).said, /^room .*\nEISDIR: /);
});

test('a folder that becomes unsafe is ignored until it is safe again', async t => {
  const spool = newSpoolFolder(t);
  const server = await startSpooling(spool);
  chmodSync(spool.path, 0o777);
  spool.put('1', 'rooms\n');
  const { reason } = await server.untilLogged(({ event }) => event === 'spool error');
  assert.match(String(reason), /everyone can write to/);
  assert.ok(spool.has('1.cmd'));
  chmodSync(spool.path, 0o700);
  assert.equal((await untilThrough(server, spool, '1')).failed, false);
});

test('a folder that replaces the first one is found', async t => {
  const spool = newSpoolFolder(t);
  const server = await startSpooling(spool);
  renameSync(spool.path, `${spool.path}.old`);
  mkdirSync(spool.path, { mode: 0o700 });
  for (const folder of ['running', 'failed']) mkdirSync(join(spool.path, folder), { mode: 0o700 });
  spool.put('1', 'rooms\n');
  assert.equal((await untilThrough(server, spool, '1')).failed, false);
});

test('on a full disk a file that ran moves to failed/ with a log entry, and does not run again', async t => {
  if (skipUnlessLinux(t, 'tmpfs')) return;
  // Before the folder goes: what is registered first is done first.
  t.after(() => void spawnSync('umount', ['--lazy', spool.path]));
  const spool = newSpoolFolder(t);
  mkdirSync(spool.path, { mode: 0o700 });
  const mounting = spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=64k,mode=700', 'tmpfs', spool.path]);
  if (mounting.status !== 0) return t.skip('mounting is not permitted, so there is no disk that is full');
  const data = `${spool.path}.data`;
  const server = await startSpooling(spool, '--data', data);
  writeFileSync(join(spool.path, '1.tmp'), 'publish lobby once\ninfo\n');
  assert.throws(() => writeFileSync(join(spool.path, 'filler'), Buffer.alloc(1024 * 1024)), /ENOSPC/);
  renameSync(join(spool.path, '1.tmp'), join(spool.path, '1.cmd'));
  const { reason } = await server.untilLogged(({ event }) => event === 'spool file failed');
  assert.match(String(reason), /^ENOSPC: no space left on device/);
  assert.ok(server.logged().some(({ event, name }) => event === 'spool answer lost' && name === '1'));
  assert.ok(spool.has('failed/1.cmd'));
  assert.deepEqual(spool.names('', 'running'), []);
  await server.stop();
  rmSync(join(spool.path, 'filler'));
  const next = await startSpooling(spool, '--data', data);
  spool.put('2', 'rooms\n');
  await untilThrough(next, spool, '2');
  assert.equal(messagesIn(data, 'lobby').filter(({ text }) => text === 'once').length, 1);
});
