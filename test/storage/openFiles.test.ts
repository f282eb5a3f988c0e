/** However many rooms are open, their files take a bounded number of descriptors, and no message goes astray. */
import assert from 'node:assert/strict';
import fs, { readdirSync, renameSync, writeFileSync, writeSync } from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';
import { test } from 'node:test';
import { maxOpenRoomFiles } from '../../src/protocol/limits.ts';
import { realDisk } from '../../src/storage/disk.ts';
import { toLine } from '../../src/storage/message.ts';
import { appendMessages, closeRoom } from '../../src/storage/room.ts';
import { closeStore, openStore } from '../../src/storage/store.ts';
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

const descriptors = () => readdirSync('/proc/self/fd').length;
const roomNames = (count: number) => Array.from({ length: count }, (_, i) => `room${i}`);

test('hundreds of open rooms share some descriptors, and each gets its messages', t => {
  if (skipUnlessLinux(t, '/proc')) return;
  const store = scratchStore(t);
  const before = descriptors();
  const names = roomNames(300);
  const files = names.map(name => openRoom(store, name, everything).file);
  for (let round = 0; round < 3; round++) {
    for (const file of files) {
      appendMessages(file, messages(1, round));
      assert.ok(descriptors() <= before + maxOpenRoomFiles);
    }
  }
  for (const name of names) assert.equal(content(store, `${name}.jsonl`), messages(3).map(toLine).join(''));
  for (const file of files) closeRoom(file);
  assert.equal(descriptors(), before);
});

test('the files are counted, and where the process may open no more there is one at a time', () => {
  const count = { files: 0 };
  let isShort = false;
  const allowance = { count, mayOpen: () => !isShort };
  const store = openStore({ directory: scratchDirectory(), fsync: 'no', allowance });
  const files = roomNames(10).map(name => openRoom(store, name, everything).file);
  for (const file of files) appendMessages(file, messages(1));
  assert.equal(count.files, 10);
  isShort = true;
  closeRoom(files.pop()!);
  assert.equal(count.files, 9);
  const late = openRoom(store, 'late', everything).file;
  for (let round = 1; round < 3; round++) {
    for (const file of [...files, late]) appendMessages(file, messages(1, round));
    assert.equal(count.files, 1);
  }
  assert.equal(content(store, 'room3.jsonl'), messages(3).map(toLine).join(''));
  closeStore(store);
  assert.equal(count.files, 0);
});

test('if the system refuses another file, one of ours is closed for it', t => {
  const store = scratchStore(t);
  const [a, b] = roomNames(2).map(name => openRoom(store, name, everything).file);
  appendMessages(a!, messages(1));
  const { openSync } = fs;
  let refusals = 0;
  t.mock.method(fs, 'openSync', (path: string, flags: number, mode: number) => {
    if (store.open.files.size === 0) return openSync(path, flags, mode);
    refusals++;
    throw systemError('EMFILE');
  });
  syncBuiltinESMExports();
  t.after(() => {
    t.mock.restoreAll();
    syncBuiltinESMExports();
  });
  appendMessages(b!, messages(1));
  appendMessages(a!, messages(1, 1));
  assert.ok(refusals >= 2);
  assert.equal(content(store, 'room0.jsonl'), messages(2).map(toLine).join(''));
  assert.equal(content(store, 'room1.jsonl'), messages(1).map(toLine).join(''));
});

test('a failed append is cut back even if its file had to be closed and opened again', t => {
  let isBroken = false;
  const disk = diskWith({
    write: (descriptor, bytes) => {
      if (!isBroken) return realDisk.write(descriptor, bytes);
      writeSync(descriptor, bytes, 0, 5);
      throw systemError('EIO');
    },
    truncate(descriptor, size) {
      if (isBroken) throw systemError('EIO');
      realDisk.truncate(descriptor, size);
    },
  });
  const store = scratchStore(t, { disk });
  const { file } = openRoom(store, 'lobby', everything);
  appendMessages(file, [message('one')]);
  isBroken = true;
  assert.throws(() => appendMessages(file, [message('lost')]), /the disk reports an I\/O error/);
  isBroken = false;
  for (const name of roomNames(maxOpenRoomFiles))
    appendMessages(openRoom(store, name, everything).file, messages(1));
  assert.equal(file.descriptor, undefined);
  appendMessages(file, [message('two')]);
  assert.equal(content(store, 'lobby.jsonl'), [message('one'), message('two')].map(toLine).join(''));
});

test('a file that was replaced while it was closed is not cut, and a torn line in it spoils no message', t => {
  captureLog(t);
  let isBroken = false;
  const disk = diskWith({
    write: (descriptor, bytes) =>
      isBroken ? writeSync(descriptor, bytes, 0, 5) : realDisk.write(descriptor, bytes),
    truncate(descriptor, size) {
      if (isBroken) throw systemError('EIO');
      realDisk.truncate(descriptor, size);
    },
  });
  const store = scratchStore(t, { disk });
  const { file } = openRoom(store, 'lobby', everything);
  appendMessages(file, [message('old')]);
  isBroken = true;
  assert.throws(() => appendMessages(file, [message('lost')]));
  isBroken = false;
  for (const name of roomNames(maxOpenRoomFiles))
    appendMessages(openRoom(store, name, everything).file, messages(1));
  const theirs = `${messages(9).map(toLine).join('')}torn`;
  renameSync(file.path, `${file.path}.away`);
  writeFileSync(file.path, theirs);
  appendMessages(file, [message('new')]);
  assert.equal(content(store, 'lobby.jsonl'), `${theirs}\n${toLine(message('new'))}`);
});
