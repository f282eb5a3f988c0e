/** What is appended is there whole, or not at all. */
import assert from 'node:assert/strict';
import { readdirSync, renameSync, truncateSync, unlinkSync, writeSync } from 'node:fs';
import { test } from 'node:test';
import { realDisk } from '../../src/storage/disk.ts';
import { toLine } from '../../src/storage/message.ts';
import { appendMessages, closeRoom } from '../../src/storage/room.ts';
import { skipUnlessLinux } from '../support/linux.ts';
import {
  captureLog,
  content,
  diskWith,
  everything,
  message,
  messages,
  names,
  openRoom,
  scratchStore,
  systemError,
  texts,
} from './scratch.ts';

const reasons = {
  ENOSPC: /^Error: cannot append to \S+lobby.jsonl: the disk is full; free some space$/,
  EDQUOT: /the quota is used up; free some space, or raise it$/,
  EIO: /the disk reports an I\/O error; check it/,
  EROFS: /the file system is read-only; remount it/,
  EACCES: /permission denied; let this user/,
};

test('however many messages, it is one write', t => {
  let writes = 0;
  const disk = diskWith({
    write(descriptor, bytes) {
      writes++;
      return realDisk.write(descriptor, bytes);
    },
  });
  const { file } = openRoom(scratchStore(t, { disk }), 'lobby', everything);
  appendMessages(file, messages(100));
  assert.equal(writes, 1);
  appendMessages(file, []);
  assert.equal(writes, 1);
});

for (const [code, sentence] of Object.entries(reasons)) {
  test(`where the disk says ${code} in the middle of a write, nothing stays of it`, t => {
    let isBroken = false;
    const disk = diskWith({
      write(descriptor, bytes) {
        if (!isBroken) return realDisk.write(descriptor, bytes);
        writeSync(descriptor, bytes, 0, bytes.length - 3);
        throw systemError(code);
      },
    });
    const store = scratchStore(t, { disk });
    const { file } = openRoom(store, 'lobby', everything);
    appendMessages(file, messages(2));
    isBroken = true;
    assert.throws(() => appendMessages(file, messages(3, 2)), sentence);
    assert.equal(content(store, 'lobby.jsonl'), messages(2).map(toLine).join(''));
    isBroken = false;
    appendMessages(file, [message('again')]);
    closeRoom(file);
    assert.deepEqual(texts(openRoom(store, 'lobby', everything).messages), [
      'message 0',
      'message 1',
      'again',
    ]);
  });
}

test('a short write is a failed one', t => {
  const disk = diskWith({ write: (descriptor, bytes) => writeSync(descriptor, bytes, 0, 100) });
  const store = scratchStore(t, { disk });
  const { file } = openRoom(store, 'lobby', everything);
  assert.throws(
    () => appendMessages(file, messages(10)),
    /only 100 of \d+ bytes were written; is the disk full\?$/,
  );
  assert.equal(content(store, 'lobby.jsonl'), '');
});

test('what could not be cut back is cut back before the next append, or at the end', t => {
  let isBroken = true;
  const disk = diskWith({
    write(descriptor, bytes) {
      if (!isBroken) return realDisk.write(descriptor, bytes);
      writeSync(descriptor, bytes, 0, bytes.length - 3);
      throw systemError('EIO');
    },
    truncate(descriptor, size) {
      if (isBroken) throw systemError('EIO');
      realDisk.truncate(descriptor, size);
    },
  });
  const store = scratchStore(t, { disk });
  const { file } = openRoom(store, 'lobby', everything);
  for (let turn = 0; turn < 3; turn++) assert.throws(() => appendMessages(file, messages(3)), reasons.EIO);
  assert.notEqual(content(store, 'lobby.jsonl'), '');
  isBroken = false;
  appendMessages(file, [message('good')]);
  assert.equal(content(store, 'lobby.jsonl'), toLine(message('good')));
  isBroken = true;
  assert.throws(() => appendMessages(file, messages(3)), reasons.EIO);
  isBroken = false;
  closeRoom(file);
  assert.equal(content(store, 'lobby.jsonl'), toLine(message('good')));
});

test('a failed append that cannot be cut back even at the end is logged, and the room closes', t => {
  const logged = captureLog(t);
  const fail = () => {
    throw systemError('EIO');
  };
  const store = scratchStore(t, {
    disk: diskWith({ truncate: fail, write: (descriptor, bytes) => writeSync(descriptor, bytes, 0, 5) }),
  });
  const { file } = openRoom(store, 'lobby', everything);
  assert.throws(() => appendMessages(file, messages(3)), /only 5 of/);
  closeRoom(file);
  assert.equal(store.rooms.size, 0);
  assert.equal(logged.length, 1);
  assert.match(logged[0]!, /warn {2}messages of a failed append may remain file=/);
});

test('who empties the file by hand finds it short afterwards, even if the disk fails then', t => {
  let isBroken = false;
  const disk = diskWith({
    write: (descriptor, bytes) =>
      isBroken ? writeSync(descriptor, bytes, 0, 5) : realDisk.write(descriptor, bytes),
  });
  const store = scratchStore(t, { disk });
  const { file } = openRoom(store, 'lobby', everything);
  appendMessages(file, messages(100));
  truncateSync(file.path, 0);
  isBroken = true;
  assert.throws(() => appendMessages(file, messages(1)), /only 5 of/);
  assert.equal(content(store, 'lobby.jsonl'), '');
  isBroken = false;
  appendMessages(file, messages(1));
  assert.equal(content(store, 'lobby.jsonl'), messages(1).map(toLine).join(''));
});

test('cutting back does not lengthen a file that was emptied by hand', t => {
  let isBroken = true;
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
  isBroken = false;
  appendMessages(file, messages(9));
  isBroken = true;
  assert.throws(() => appendMessages(file, messages(1)), /only 5 of/);
  truncateSync(file.path, 0);
  isBroken = false;
  appendMessages(file, messages(1));
  assert.equal(content(store, 'lobby.jsonl'), messages(1).map(toLine).join(''));
});

test('who deletes the file by hand gets a new one', t => {
  const store = scratchStore(t);
  const { file } = openRoom(store, 'lobby', everything);
  appendMessages(file, messages(1));
  unlinkSync(file.path);
  appendMessages(file, messages(1, 1));
  assert.equal(content(store, 'lobby.jsonl'), messages(1, 1).map(toLine).join(''));
});

test('a directory that is gone is told, and it goes on where it comes back', t => {
  const store = scratchStore(t);
  const { file } = openRoom(store, 'lobby', everything);
  const away = `${store.directory}.away`;
  renameSync(store.directory, away);
  assert.throws(() => appendMessages(file, messages(1)), /the directory is gone; create it again/);
  renameSync(away, store.directory);
  appendMessages(file, messages(1));
  assert.equal(content(store, 'lobby.jsonl'), messages(1).map(toLine).join(''));
});

test('an open room holds one descriptor, one without messages or closed none', t => {
  if (skipUnlessLinux(t, '/proc')) return;
  const open = () => readdirSync('/proc/self/fd').length;
  const store = scratchStore(t, { rotateAt: 1000 });
  const before = open();
  const { file } = openRoom(store, 'lobby', everything);
  assert.equal(open(), before);
  for (let turn = 0; turn < 50; turn++) appendMessages(file, messages(3));
  assert.equal(open(), before + 1);
  assert.throws(() => openRoom(store, 'lobby', everything));
  closeRoom(file);
  assert.equal(open(), before);
  openRoom(store, 'lobby', everything);
  assert.equal(open(), before + 1);
  assert.ok(names(store).length > 2);
});
