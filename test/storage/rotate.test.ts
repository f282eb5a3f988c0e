/** Full files are set aside; the past is read across them. */
import assert from 'node:assert/strict';
import { mkdirSync, renameSync, statSync, unlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { toLine } from '../../src/storage/message.ts';
import { appendMessages, closeRoom } from '../../src/storage/room.ts';
import {
  captureLog,
  content,
  everything,
  message,
  messages,
  names,
  openRoom,
  scratchStore,
  texts,
  wholeContent,
} from './scratch.ts';

const lineSize = Buffer.byteLength(toLine(message('message 0')));

test('a file is set aside before it grows beyond its size; the numbers count up', t => {
  const store = scratchStore(t, { rotateAt: 2 * lineSize });
  const { file } = openRoom(store, 'lobby', everything);
  for (const one of messages(7)) appendMessages(file, [one]);
  assert.deepEqual(names(store), ['lobby.1.jsonl', 'lobby.2.jsonl', 'lobby.3.jsonl', 'lobby.jsonl']);
  assert.equal(wholeContent(store, 'lobby'), messages(7).map(toLine).join(''));
  for (const name of names(store)) assert.ok(statSync(join(store.directory, name)).size <= 2 * lineSize);
});

test('what is appended in one call stays in one file', t => {
  const store = scratchStore(t, { rotateAt: 2 * lineSize });
  const { file } = openRoom(store, 'lobby', everything);
  appendMessages(file, messages(1));
  appendMessages(file, messages(9));
  assert.deepEqual(names(store), ['lobby.1.jsonl', 'lobby.jsonl']);
  assert.equal(content(store, 'lobby.jsonl'), messages(9).map(toLine).join(''));
});

test('an empty file is not set aside', t => {
  const store = scratchStore(t, { rotateAt: 1 });
  writeFileSync(join(store.directory, 'lobby.jsonl'), '');
  appendMessages(openRoom(store, 'lobby', everything).file, messages(1));
  assert.deepEqual(names(store), ['lobby.jsonl']);
});

test('who moves the full file away by hand gets a new one', t => {
  const store = scratchStore(t, { rotateAt: lineSize });
  const { file } = openRoom(store, 'lobby', everything);
  appendMessages(file, messages(1));
  renameSync(file.path, join(store.directory, 'mine'));
  appendMessages(file, messages(1, 1));
  assert.deepEqual(names(store), ['lobby.jsonl', 'mine']);
  assert.equal(content(store, 'lobby.jsonl'), toLine(message('message 1')));
});

test('so many are kept, and the oldest go', t => {
  const store = scratchStore(t, { rotateAt: lineSize, keep: 2 });
  const { file } = openRoom(store, 'lobby', everything);
  const other = openRoom(store, 'other', everything).file;
  for (const one of messages(12).slice(0, 9)) appendMessages(file, [one]);
  for (const one of messages(2)) appendMessages(other, [one]);
  assert.deepEqual(names(store), [
    'lobby.7.jsonl',
    'lobby.8.jsonl',
    'lobby.jsonl',
    'other.1.jsonl',
    'other.jsonl',
  ]);
});

test('with 0 no file is rotated, or none removed', t => {
  const whole = scratchStore(t, { rotateAt: 0 });
  const { file } = openRoom(whole, 'lobby', everything);
  for (const one of messages(9)) appendMessages(file, [one]);
  assert.deepEqual(names(whole), ['lobby.jsonl']);
  const all = scratchStore(t, { rotateAt: 1, keep: 0 });
  const room = openRoom(all, 'lobby', everything).file;
  for (const one of messages(9)) appendMessages(room, [one]);
  assert.equal(names(all).length, 9);
});

test('a store opened again goes on counting, and reads the past from as many files as it takes', t => {
  const first = scratchStore(t, { rotateAt: lineSize, keep: 20 });
  const { file } = openRoom(first, 'lobby', everything);
  for (const one of messages(10)) appendMessages(file, [one]);
  appendMessages(openRoom(first, 'lobby2', everything).file, [message('elsewhere')]);
  for (const fewer of [1, 2, 3, 10]) {
    const store = scratchStore(t, { directory: first.directory });
    const recalled = openRoom(store, 'lobby', { messages: fewer, bytes: 1000 }).messages;
    assert.deepEqual(recalled, messages(10).slice(-fewer));
  }
  const store = scratchStore(t, { directory: first.directory, rotateAt: lineSize, keep: 20 });
  appendMessages(openRoom(store, 'lobby', everything).file, messages(1, 10));
  assert.equal(content(store, 'lobby.10.jsonl'), toLine(message('message 9')));
  assert.equal(content(store, 'lobby.jsonl'), toLine(message('message 10')));
});

test('killed between the two steps of a rotation: the past is there, and the room goes on', t => {
  const store = scratchStore(t);
  const { file } = openRoom(store, 'lobby', everything);
  appendMessages(file, messages(3));
  renameSync(file.path, join(store.directory, 'lobby.1.jsonl'));
  const again = scratchStore(t, { directory: store.directory });
  const room = openRoom(again, 'lobby', everything);
  assert.deepEqual(room.messages, messages(3));
  appendMessages(room.file, messages(1, 3));
  assert.equal(wholeContent(again, 'lobby'), messages(4).map(toLine).join(''));
});

test('a rotation that fails appends nothing, and is made good when it can be', t => {
  const store = scratchStore(t, { rotateAt: lineSize });
  const { file } = openRoom(store, 'lobby', everything);
  appendMessages(file, messages(1));
  const away = `${store.directory}.away`;
  renameSync(store.directory, away);
  assert.throws(() => appendMessages(file, messages(1, 1)), /the directory is gone/);
  renameSync(away, store.directory);
  appendMessages(file, messages(1, 2));
  assert.equal(wholeContent(store, 'lobby'), [...messages(1), ...messages(1, 2)].map(toLine).join(''));
});

test('a file of that number that we do not know of is not replaced', t => {
  const store = scratchStore(t, { rotateAt: lineSize });
  const { file } = openRoom(store, 'lobby', everything);
  writeFileSync(join(store.directory, 'lobby.1.jsonl'), 'copy');
  for (const one of messages(2)) appendMessages(file, [one]);
  assert.deepEqual(names(store), ['lobby.1.jsonl', 'lobby.2.jsonl', 'lobby.jsonl']);
  assert.equal(content(store, 'lobby.1.jsonl'), 'copy');
});

test('a rotated file that is torn, or gone, or none, keeps nobody out of the room', t => {
  const logged = captureLog(t);
  const store = scratchStore(t, { rotateAt: lineSize, keep: 9 });
  const { file } = openRoom(store, 'lobby', everything);
  for (const one of messages(5)) appendMessages(file, [one]);
  closeRoom(file);
  const rotated = (number: number) => join(store.directory, `lobby.${number}.jsonl`);
  writeFileSync(rotated(4), '{"torn', { flag: 'a' });
  unlinkSync(rotated(3));
  const recalled = () => {
    const room = openRoom(store, 'lobby', everything);
    closeRoom(room.file);
    return texts(room.messages)
      .map(text => text.at(-1))
      .join('');
  };
  assert.equal(recalled(), '0134');
  assert.match(content(store, 'lobby.4.jsonl'), /torn$/);
  assert.deepEqual(logged, []);
  unlinkSync(rotated(2));
  mkdirSync(rotated(2));
  assert.equal(recalled(), '34');
  assert.equal(logged.length, 1);
  assert.match(
    logged[0]!,
    /older messages are not read error="cannot read .*lobby.2.jsonl: it is not a regular file/,
  );
});

test('an old file that cannot be removed is logged', t => {
  const logged = captureLog(t);
  const store = scratchStore(t, { rotateAt: lineSize, keep: 1 });
  const { file } = openRoom(store, 'lobby', everything);
  for (const one of messages(2)) appendMessages(file, [one]);
  unlinkSync(join(store.directory, 'lobby.1.jsonl'));
  mkdirSync(join(store.directory, 'lobby.1.jsonl'));
  for (const one of messages(2, 2)) appendMessages(file, [one]);
  assert.equal(logged.length, 1);
  assert.match(logged[0]!, /old messages remain error="cannot remove .*lobby.1.jsonl/);
  assert.deepEqual(names(store), ['lobby.1.jsonl', 'lobby.3.jsonl', 'lobby.jsonl']);
});
