/** Making folders comes to an end everywhere. */
import assert from 'node:assert/strict';
import { statSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { makeFolder } from '../../src/storage/disk.ts';
import { skipUnlessLinux } from '../support/linux.ts';
import { startServer } from '../support/serverProcess.ts';
import { scratchDirectory } from './scratch.ts';

test('missing parents are made, for this user alone, and what is there is left as it is', () => {
  const directory = scratchDirectory();
  const deep = join(directory, 'a/b/c');
  for (const path of [deep, deep, `${deep}/`, join(directory, 'a/./b/../b/d'), '/']) makeFolder(path);
  for (const path of ['a', 'a/b', 'a/b/c', 'a/b/d'])
    assert.equal(statSync(join(directory, path)).mode & 0o7777, 0o700);
});

test('a link on the way is followed', () => {
  const directory = scratchDirectory();
  makeFolder(join(directory, 'real'));
  symlinkSync('real', join(directory, 'link'));
  makeFolder(join(directory, 'link/a'));
  makeFolder(join(directory, 'link'));
  assert.ok(statSync(join(directory, 'real/a')).isDirectory());
});

test('where no folder can be made, an error says so', { timeout: 60_000 }, t => {
  if (skipUnlessLinux(t, '/proc')) return;
  const directory = scratchDirectory();
  writeFileSync(join(directory, 'file'), '');
  symlinkSync('nowhere', join(directory, 'dangling'));
  symlinkSync('circle', join(directory, 'circle'));
  const cases: readonly [string, RegExp][] = [
    ['/proc/x', /^folders cannot be created in \/proc; choose another place$/],
    ['/proc/x/y/z', /^folders cannot be created in \/proc;/],
    ['/proc/self/fd/x', /^folders cannot be created in \/proc\/self\/fd;/],
    [join(directory, 'file'), /EEXIST/],
    [join(directory, 'file/a/b'), /ENOTDIR/],
    [join(directory, 'dangling'), /dangling is a dangling symbolic link; remove it$/],
    [join(directory, 'dangling/a/b'), /dangling is a dangling symbolic link; remove it$/],
    [join(directory, 'circle/a'), /ELOOP|leads nowhere/],
    [join(directory, 'x/'.repeat(3000)), /ENAMETOOLONG/],
  ];
  for (const [path, sentence] of cases)
    assert.throws(() => makeFolder(path), { message: sentence }, path.slice(0, 100));
});

test('a server whose folders cannot be made ends with the reason', { timeout: 60_000 }, async t => {
  if (skipUnlessLinux(t, '/proc')) return;
  await assert.rejects(
    startServer('--data', '/proc/x/y'),
    /cannot keep messages in \/proc\/x\/y: folders cannot be created/,
  );
  await assert.rejects(
    startServer('--spool', '/proc/x'),
    /cannot use the spool \/proc\/x: the system creates no folders in \/proc/,
  );
});
