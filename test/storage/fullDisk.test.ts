/** A disk that is really full, and one that is really read-only: a small file system, where this user may mount one. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { readFileSync, rmSync, statfsSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { realDisk } from '../../src/storage/disk.ts';
import { toLine } from '../../src/storage/message.ts';
import type { RoomFile, Store } from '../../src/storage/records.ts';
import { appendMessages, closeRoom } from '../../src/storage/room.ts';
import { openStore } from '../../src/storage/store.ts';
import { skipUnlessLinux } from '../support/linux.ts';
import { temporaryFolder } from '../support/temporaryFolder.ts';
import { diskWith, everything, message, messages, openRoom, scratchStore, systemError } from './scratch.ts';

const mount = (...options: string[]) => spawnSync('mount', options).status === 0;

/** @returns undefined where this user may not mount anything */
function smallFileSystem(t: TestContext): string | undefined {
  const directory = temporaryFolder();
  t.after(() => spawnSync('umount', ['--lazy', directory]));
  return mount('-t', 'tmpfs', '-o', 'size=64k', 'tmpfs', directory) ? directory : undefined;
}

/** A disk that takes 64 KiB, and half a write when there is no room for all of it. */
function fillingDisk() {
  const taken = (descriptor: number) => statSync(`/proc/self/fd/${descriptor}`).size;
  const left = { bytes: 64 * 1024 };
  return diskWith({
    write(descriptor, bytes) {
      const free = left.bytes - taken(descriptor);
      if (free <= 0) throw systemError('ENOSPC');
      return realDisk.write(descriptor, bytes.subarray(0, free));
    },
  });
}

/** Appends until the disk is full, comes again, and leaves the room open. */
function fill(store: Store): { count: number; file: RoomFile } {
  const { file } = openRoom(store, 'lobby', everything);
  let count = 0;
  const appendAll = () => {
    for (; count < 100_000; count += 7) appendMessages(file, messages(7, count));
  };
  assert.throws(appendAll, /the disk is full; free some space/);
  assert.throws(appendAll, /the disk is full; free some space/);
  assert.equal(readFileSync(file.path, 'utf8'), messages(count).map(toLine).join(''));
  closeRoom(file);
  const again = openRoom(store, 'lobby', { messages: 2, bytes: 1000 });
  assert.deepEqual(again.messages, messages(2, count - 2));
  return { count, file: again.file };
}

test('a disk that is full keeps what it took, and tells so: a stub of a disk', t => {
  if (skipUnlessLinux(t, '/proc')) return;
  const store = scratchStore(t, { disk: fillingDisk() });
  fill(store);
});

test('a disk that is full keeps what it took, tells so, and goes on when there is room: a mounted tmpfs', t => {
  if (skipUnlessLinux(t, 'tmpfs')) return;
  const directory = smallFileSystem(t);
  if (directory === undefined) return t.skip('mounting is not permitted, so only the stub was tested');
  t.diagnostic('a tmpfs of 64 KiB is mounted');
  const store = openStore({ directory, fsync: 'no' });
  const ballast = join(store.directory, 'ballast');
  writeFileSync(ballast, Buffer.alloc(16 * 1024));
  const { count, file } = fill(store);
  assert.throws(() => appendMessages(file, messages(7)));
  assert.equal(statfsSync(directory).bfree, 0);
  rmSync(ballast);
  appendMessages(file, messages(7, count));
  assert.equal(
    readFileSync(file.path, 'utf8'),
    messages(count + 7)
      .map(toLine)
      .join(''),
  );
  closeRoom(file);
});

test('a full disk that has no room for another file either: a rotation fails, and nothing is lost', t => {
  if (skipUnlessLinux(t, 'tmpfs')) return;
  const directory = smallFileSystem(t);
  if (directory === undefined) return t.skip('mounting is not permitted');
  const store = openStore({ directory, fsync: 'always', rotateAt: 8 * 1024, keep: 0 });
  const { file } = openRoom(store, 'lobby', everything);
  let count = 0;
  assert.throws(() => {
    for (; count < 100_000; count++) appendMessages(file, messages(1, count));
  }, /the disk is full/);
  for (let turn = 0; turn < 3; turn++)
    assert.throws(() => appendMessages(file, messages(1)), /the disk is full/);
  closeRoom(file);
  const again = openRoom(store, 'lobby', everything);
  assert.deepEqual(again.messages, messages(count));
  closeRoom(again.file);
});

test('a read-only file system is refused with a sentence, for the directory and for a room', t => {
  if (skipUnlessLinux(t, 'tmpfs')) return;
  const directory = smallFileSystem(t);
  if (directory === undefined) return t.skip('mounting is not permitted');
  const store = openStore({ directory, fsync: 'no' });
  const { file } = openRoom(store, 'lobby', everything);
  appendMessages(file, [message('before')]);
  closeRoom(file);
  assert.ok(mount('-o', 'remount,ro', directory));
  assert.throws(
    () => openRoom(store, 'lobby', everything),
    /cannot open .*: the file system is read-only; remount it/,
  );
  const { file: other } = openRoom(store, 'other', everything);
  assert.throws(
    () => appendMessages(other, messages(1)),
    /cannot append to .*: the file system is read-only/,
  );
  assert.throws(
    () => openStore({ directory, fsync: 'no' }),
    /cannot keep rooms in .*: the file system is read-only/,
  );
  assert.ok(mount('-o', 'remount,rw', directory));
  appendMessages(other, messages(1));
  closeRoom(other);
  assert.deepEqual(openRoom(store, 'lobby', everything).messages, [message('before')]);
  closeRoom(store.rooms.get('lobby')!);
});
