/** When the disk is waited for, and what happens where it fails. */
import assert from 'node:assert/strict';
import { readdirSync } from 'node:fs';
import { basename } from 'node:path';
import { test } from 'node:test';
import { realDisk } from '../../src/storage/disk.ts';
import { toLine } from '../../src/storage/message.ts';
import { appendMessages, closeRoom } from '../../src/storage/room.ts';
import { closeStore, openStore } from '../../src/storage/store.ts';
import { syncInBackground, syncStore } from '../../src/storage/sync.ts';
import { skipUnlessLinux } from '../support/linux.ts';
import {
  captureLog,
  content,
  diskWith,
  everything,
  message,
  messages,
  openRoom,
  scratchDirectory,
  scratchStore,
  systemError,
} from './scratch.ts';

/** A disk that notes what is synced, and fails while it is told to. */
function notingDisk() {
  const synced: string[] = [];
  const failing = { code: '' };
  const sync = (path: string) => {
    if (failing.code !== '' && path.endsWith('.jsonl')) throw systemError(failing.code);
    synced.push(basename(path));
  };
  return { synced, failing, disk: diskWith({ sync, syncInBackground: async path => sync(path) }) };
}

function newGate(): { opened: Promise<void>; open(): void } {
  let open = () => {};
  const opened = new Promise<void>(resolve => {
    open = resolve;
  });
  return { opened, open };
}

test('always: what was appended since the last call is synced, once, and the directory when it has a new name', t => {
  const { disk, synced } = notingDisk();
  const store = scratchStore(t, { disk, fsync: 'always', rotateAt: 1000 });
  const directory = basename(store.directory);
  const taken = () => synced.splice(0).sort();
  const [a, b] = ['a', 'b'].map(room => openRoom(store, room, everything).file);
  syncStore(store);
  assert.deepEqual(taken(), []);
  for (const file of [a!, b!, a!]) appendMessages(file, messages(1));
  syncStore(store);
  assert.deepEqual(taken(), ['a.jsonl', 'b.jsonl', directory].sort());
  syncStore(store);
  assert.deepEqual(taken(), []);
  appendMessages(b!, messages(1));
  syncStore(store);
  assert.deepEqual(taken(), ['b.jsonl']);
  appendMessages(b!, messages(20));
  closeRoom(b!);
  syncStore(store);
  assert.deepEqual(taken(), ['b.1.jsonl', 'b.jsonl', directory].sort());
});

test('always, on a real disk, with the file of a closed room and one that is gone', t => {
  if (skipUnlessLinux(t, '/proc')) return;
  const store = scratchStore(t, { fsync: 'always', rotateAt: 1, keep: 1 });
  const { file } = openRoom(store, 'lobby', everything);
  const before = readdirSync('/proc/self/fd').length;
  for (const one of messages(5)) appendMessages(file, [one]);
  closeRoom(file);
  syncStore(store);
  assert.equal(store.unsynced.size, 0);
  assert.equal(readdirSync('/proc/self/fd').length, before);
});

test('always: a disk that fails is told, for as long as it does, and the other files are synced', t => {
  const { disk, synced, failing } = notingDisk();
  const store = scratchStore(t, { disk, fsync: 'always' });
  const { file } = openRoom(store, 'lobby', everything);
  appendMessages(file, [message('x')]);
  failing.code = 'EIO';
  for (let turn = 0; turn < 2; turn++) {
    assert.throws(
      () => syncStore(store),
      /^Error: cannot sync \S+lobby.jsonl: the disk reports an I\/O error; check it/,
    );
  }
  assert.deepEqual(synced.splice(0), [basename(store.directory)]);
  assert.equal(content(store, 'lobby.jsonl'), toLine(message('x')));
  failing.code = '';
  syncStore(store);
  assert.deepEqual(synced, ['lobby.jsonl']);
});

test('no: the disk is not waited for, not even at the end', () => {
  const { disk, synced } = notingDisk();
  const store = openStore({ directory: scratchDirectory(), fsync: 'no', disk });
  appendMessages(openRoom(store, 'lobby', everything).file, messages(1));
  syncStore(store);
  closeStore(store);
  assert.deepEqual(synced, []);
});

test('everysec: nothing at the end of the turn, everything a second later', async t => {
  t.mock.timers.enable({ apis: ['setInterval'] });
  const passed = newGate();
  const synced: string[] = [];
  const waited: string[] = [];
  const disk = diskWith({
    sync: path => void waited.push(path),
    async syncInBackground(path) {
      synced.push(basename(path));
      if (synced.length === 2) passed.open();
    },
  });
  const store = openStore({ directory: scratchDirectory(), fsync: 'everysec', disk });
  appendMessages(openRoom(store, 'lobby', everything).file, messages(1));
  syncStore(store);
  t.mock.timers.tick(999);
  assert.deepEqual(waited, []);
  assert.deepEqual(synced, []);
  t.mock.timers.tick(1);
  await passed.opened;
  assert.deepEqual(synced.sort(), ['lobby.jsonl', basename(store.directory)].sort());
  closeStore(store);
});

test('everysec, on a real disk: one descriptor, one file after the other, rooms closed or not', async t => {
  if (skipUnlessLinux(t, '/proc')) return;
  const store = scratchStore(t, { fsync: 'everysec', rotateAt: 1, keep: 2 });
  const before = readdirSync('/proc/self/fd').length;
  for (let room = 0; room < 20; room++) {
    const { file } = openRoom(store, `room${room}`, everything);
    for (const one of messages(9)) appendMessages(file, [one]);
    closeRoom(file);
  }
  assert.equal(readdirSync('/proc/self/fd').length, before);
  await syncInBackground(store);
  assert.equal(store.unsynced.size, 0);
  assert.equal(store.beingSynced, undefined);
});

test('everysec: what is appended while its file is synced is synced again', async t => {
  const gate = newGate();
  const started = newGate();
  let syncs = 0;
  const disk = diskWith({
    async syncInBackground(path) {
      if (!path.endsWith('.jsonl')) return;
      syncs++;
      started.open();
      await gate.opened;
    },
  });
  const store = scratchStore(t, { fsync: 'everysec', disk });
  const { file } = openRoom(store, 'lobby', everything);
  appendMessages(file, messages(1));
  appendMessages(openRoom(store, 'other', everything).file, messages(1));
  const pass = syncInBackground(store);
  await started.opened;
  // Another tick while the first file is at it.
  await syncInBackground(store);
  assert.equal(syncs, 1);
  appendMessages(file, messages(1));
  gate.open();
  await pass;
  assert.deepEqual([...store.unsynced], [file.path]);
  await syncInBackground(store);
  assert.equal(syncs, 3);
  assert.equal(store.unsynced.size, 0);
});

test('everysec: an episode of failures is one error in the log, and its end one line', async t => {
  const logged = captureLog(t);
  const { disk, failing, synced } = notingDisk();
  const store = scratchStore(t, { disk, fsync: 'everysec' });
  for (const room of ['a', 'b']) appendMessages(openRoom(store, room, everything).file, messages(1));
  failing.code = 'EIO';
  for (let second = 0; second < 5; second++) await syncInBackground(store);
  assert.equal(logged.length, 1);
  assert.match(logged[0]!, / error sync failed error="cannot sync \S+ the disk reports an I\/O error/);
  failing.code = '';
  for (let second = 0; second < 5; second++) await syncInBackground(store);
  assert.equal(logged.length, 2);
  assert.match(logged[1]!, / info {2}sync works again\n$/);
  assert.ok(synced.includes('a.jsonl') && synced.includes('b.jsonl'));
  failing.code = 'EIO';
  appendMessages(store.rooms.get('a')!, messages(1));
  await syncInBackground(store);
  assert.equal(logged.length, 3);
  failing.code = '';
});

test('closing waits for all, what the background is at included, and closes even where the disk fails', async t => {
  if (skipUnlessLinux(t, '/proc')) return;
  const gate = newGate();
  const { disk, synced, failing } = notingDisk();
  const slow = { ...disk, syncInBackground: () => gate.opened };
  const before = readdirSync('/proc/self/fd').length;
  const store = openStore({ directory: scratchDirectory(), fsync: 'everysec', disk: slow });
  appendMessages(openRoom(store, 'a', everything).file, messages(1));
  appendMessages(openRoom(store, 'b', everything).file, messages(1));
  const pass = syncInBackground(store);
  failing.code = 'ENOSPC';
  assert.throws(() => closeStore(store), /cannot sync .*: the disk is full/);
  assert.equal(readdirSync('/proc/self/fd').length, before);
  failing.code = '';
  closeStore(store);
  assert.deepEqual([...new Set(synced)].sort(), ['a.jsonl', 'b.jsonl', basename(store.directory)].sort());
  gate.open();
  await pass;
});

test('a real disk that is given no such file says so', async () => {
  assert.throws(() => realDisk.sync('/nowhere/at/all'), { code: 'ENOENT' });
  await assert.rejects(realDisk.syncInBackground('/nowhere/at/all'), { code: 'ENOENT' });
});
