/** Any state of the directory opens, and what is whole is read. */
import assert from 'node:assert/strict';
import { readFileSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import fc from 'fast-check';
import { type StoredMessage, toLine } from '../../src/storage/message.ts';
import { appendMessages, closeRoom } from '../../src/storage/room.ts';
import {
  captureLog,
  content,
  countReads,
  everything,
  message,
  messages,
  names,
  openRoom,
  scratchDirectory,
  scratchStore,
  texts,
} from './scratch.ts';

const lines = (stored: readonly StoredMessage[]) => stored.map(toLine).join('');

test('a directory that is missing is made, for this user alone', t => {
  const directory = join(scratchDirectory(), 'new', 'data');
  scratchStore(t, { directory });
  assert.equal(statSync(directory).mode & 0o777, 0o700);
});

test('a room nobody spoke in has no file', t => {
  const store = scratchStore(t);
  const { file, messages: found } = openRoom(store, 'lobby', everything);
  assert.deepEqual(found, []);
  closeRoom(file);
  assert.deepEqual(names(store), []);
});

test('what was said is there again, and goes on', t => {
  const store = scratchStore(t);
  const said = [
    '',
    'plain',
    'line\nend\r\n',
    'zoë 🐸',
    '\x00\x1b[2J\x9b2J\u2028',
    '\ud800',
    '"\\{}',
    '__proto__',
  ].map(text => message(text));
  const { file } = openRoom(store, 'lobby', everything);
  appendMessages(file, said);
  assert.equal(statSync(file.path).mode & 0o777, 0o600);
  closeRoom(file);
  const again = openRoom(store, 'lobby', everything);
  assert.deepEqual(again.messages, said);
  appendMessages(again.file, [message('more')]);
  closeRoom(again.file);
  assert.deepEqual(openRoom(store, 'lobby', everything).messages, [...said, message('more')]);
  const text = content(store, 'lobby.jsonl');
  assert.equal(text, lines([...said, message('more')]));
  assert.doesNotMatch(text, /[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028]/);
  assert.deepEqual(Object.keys(JSON.parse(text.split('\n')[0]!)), ['time', 'uid', 'nick', 'text']);
});

test('of the past only as much is read back as is wanted', t => {
  const store = scratchStore(t);
  const { file } = openRoom(store, 'lobby', everything);
  appendMessages(
    file,
    ['ää', 'bb', 'cc', 'dd'].map(text => message(text)),
  );
  closeRoom(file);
  const recalled = (messages: number, bytes: number) => {
    const room = openRoom(store, 'lobby', { messages, bytes });
    closeRoom(room.file);
    return texts(room.messages).join();
  };
  assert.equal(recalled(0, 100), '');
  assert.equal(recalled(1, 100), 'dd');
  assert.equal(recalled(3, 100), 'bb,cc,dd');
  assert.equal(recalled(9, 100), 'ää,bb,cc,dd');
  assert.equal(recalled(9, 1), '');
  assert.equal(recalled(9, 9), 'bb,cc,dd');
  assert.equal(recalled(9, 10), 'ää,bb,cc,dd');
});

test('property: whatever lengths the messages have, the last ones come back', t => {
  const store = scratchStore(t);
  const text = fc.oneof(
    fc.string({ unit: 'binary' }),
    fc.nat(90_000).map(length => 'x'.repeat(length)),
  );
  const wanted = fc.record({ messages: fc.nat(12), bytes: fc.nat(200_000) });
  let room = 0;
  fc.assert(
    fc.property(fc.array(text, { maxLength: 10 }), wanted, (said, remember) => {
      const name = `room${room++}`;
      const { file } = openRoom(store, name, remember);
      appendMessages(
        file,
        said.map(one => message(one)),
      );
      closeRoom(file);
      const expected: string[] = [];
      let bytes = 0;
      for (const one of [...said].reverse()) {
        bytes += Buffer.byteLength(one);
        if (expected.length === remember.messages || bytes > remember.bytes) break;
        expected.unshift(one);
      }
      const again = openRoom(store, name, remember);
      closeRoom(again.file);
      assert.deepEqual(texts(again.messages), expected);
    }),
    { seed: 6455, numRuns: 150 },
  );
});

test('property: torn at any byte, all whole lines come back and the file goes on', t => {
  captureLog(t);
  const store = scratchStore(t);
  const said = ['one', 'zwei ö', '🐸\n"', 'last one'].map(text => message(text));
  const whole = Buffer.from(lines(said));
  const path = join(store.directory, 'lobby.jsonl');
  for (const tail of ['', '\0\0\0\0', '\xff']) {
    for (let cut = 0; cut <= whole.length; cut++) {
      writeFileSync(path, Buffer.concat([whole.subarray(0, cut), Buffer.from(tail)]));
      const isWithoutNewline = tail === '' && whole[cut] === 0x0a;
      const count =
        whole.subarray(0, cut).toString('latin1').split('\n').length - 1 + Number(isWithoutNewline);
      const room = openRoom(store, 'lobby', everything);
      assert.deepEqual(room.messages, said.slice(0, count), `cut at ${cut}`);
      appendMessages(room.file, [message('next')]);
      closeRoom(room.file);
      assert.equal(readFileSync(path, 'utf8'), lines([...said.slice(0, count), message('next')]));
    }
  }
});

test('a last line that another program left without a newline is a message, and the next one goes on a line of its own', t => {
  const logged = captureLog(t);
  const store = scratchStore(t);
  const path = join(store.directory, 'lobby.jsonl');
  for (const end of ['', '\r', ' ']) {
    const before = `${lines([message('one')])}${lines([message('two')]).trimEnd()}${end}`;
    writeFileSync(path, before);
    const room = openRoom(store, 'lobby', everything);
    assert.deepEqual(room.messages, [message('one'), message('two')]);
    assert.equal(readFileSync(path, 'utf8'), before, 'reading leaves it as it is');
    appendMessages(room.file, [message('three')]);
    appendMessages(room.file, [message('four')]);
    closeRoom(room.file);
    const after = lines([message('three'), message('four')]);
    assert.equal(readFileSync(path, 'utf8'), `${before}\n${after}`);
    const again = openRoom(store, 'lobby', everything);
    assert.deepEqual(texts(again.messages), ['one', 'two', 'three', 'four']);
    closeRoom(again.file);
  }
  writeFileSync(path, lines([message('alone')]).trimEnd());
  const alone = openRoom(store, 'lobby', everything);
  assert.deepEqual(texts(alone.messages), ['alone'], 'without any newline');
  closeRoom(alone.file);
  writeFileSync(path, `${lines([message('one')])}{"note":"by hand"}`);
  const noted = openRoom(store, 'lobby', everything);
  assert.deepEqual(texts(noted.messages), ['one']);
  assert.match(readFileSync(path, 'utf8'), /by hand/, 'valid JSON is not torn, even if it is no message');
  assert.equal(logged.filter(line => line.includes('torn')).length, 0);
});

test('a whole last line is not cut off, however little of it is wanted, and however long it is', t => {
  const store = scratchStore(t);
  const path = join(store.directory, 'lobby.jsonl');
  for (const length of [20_000, 60_000, 1_000_000]) {
    const before = `${lines([message('first')])}${lines([message('x'.repeat(length))]).trimEnd()}`;
    for (const remember of [{ messages: 0, bytes: 100 }, { messages: 9, bytes: 1024 }, everything]) {
      writeFileSync(path, before);
      const room = openRoom(store, 'lobby', remember);
      appendMessages(room.file, [message('next')]);
      closeRoom(room.file);
      assert.equal(readFileSync(path, 'utf8'), `${before}\n${lines([message('next')])}`);
    }
  }
});

test('a program that adds a line without a newline while the room is open does not spoil the next message', t => {
  const store = scratchStore(t);
  const { file } = openRoom(store, 'lobby', everything);
  appendMessages(file, [message('one')]);
  writeFileSync(file.path, lines([message('by hand')]).trimEnd(), { flag: 'a' });
  appendMessages(file, [message('two')]);
  closeRoom(file);
  assert.deepEqual(texts(openRoom(store, 'lobby', everything).messages), ['one', 'by hand', 'two']);
});

test('a rotated file whose last line lacks its newline is read to its end', t => {
  const store = scratchStore(t);
  writeFileSync(join(store.directory, 'lobby.1.jsonl'), lines(messages(2)).trimEnd());
  const again = scratchStore(t, { directory: store.directory });
  assert.deepEqual(openRoom(again, 'lobby', everything).messages, messages(2));
});

test('a byte order mark at the beginning of a file, and of its only line, is passed over', t => {
  const logged = captureLog(t);
  const store = scratchStore(t);
  for (const text of [lines(messages(2)), lines(messages(1)).trimEnd()]) {
    writeFileSync(join(store.directory, 'lobby.jsonl'), `\ufeff${text}`);
    const room = openRoom(store, 'lobby', everything);
    assert.deepEqual(room.messages, messages(text.split('"time"').length - 1));
    closeRoom(room.file);
  }
  assert.deepEqual(logged, []);
});

test('a torn last line leaves one line in the log, which says how much went', t => {
  const logged = captureLog(t);
  const store = scratchStore(t);
  writeFileSync(join(store.directory, 'lobby.jsonl'), `${lines([message('whole')])}{"time":`);
  assert.deepEqual(texts(openRoom(store, 'lobby', everything).messages), ['whole']);
  assert.equal(logged.length, 1);
  assert.match(logged[0]!, / warn {2}torn line cut off file=\S+lobby.jsonl bytes=8\n$/);
});

test('a file of nothing but NULs is emptied', t => {
  captureLog(t);
  const store = scratchStore(t);
  writeFileSync(join(store.directory, 'lobby.jsonl'), Buffer.alloc(200_000));
  const { file, messages: found } = openRoom(store, 'lobby', everything);
  assert.deepEqual(found, []);
  assert.equal(statSync(file.path).size, 0);
});

test('an empty file is a room without a past', t => {
  const store = scratchStore(t);
  writeFileSync(join(store.directory, 'lobby.jsonl'), '');
  const { file, messages: found } = openRoom(store, 'lobby', everything);
  assert.deepEqual(found, []);
  appendMessages(file, [message('first')]);
  assert.equal(content(store, 'lobby.jsonl'), lines([message('first')]));
});

test('lines that are no messages are skipped with one warning, and stay', t => {
  const logged = captureLog(t);
  const store = scratchStore(t);
  const { time, nick, text, uid } = message('x');
  const broken = [
    ...['', 'nonsense', '{', 'null', '[]', '7', '"text"', '{}', '\0\0\0', '['.repeat(5000)],
    ...[
      { uid, nick, text },
      { time: 'yesterday', uid, nick, text },
      { time, uid: 1.5, nick, text },
    ].map(one => JSON.stringify(one)),
    ...[
      { time, uid: '1', nick, text },
      { time, uid, nick: null, text },
      { time, uid, nick, text: {} },
    ].map(one => JSON.stringify(one)),
  ];
  const file = broken.map(line => `${line}\n${lines([message('good')])}`).join('');
  writeFileSync(join(store.directory, 'lobby.jsonl'), file);
  const found = openRoom(store, 'lobby', everything).messages;
  assert.deepEqual(
    found,
    broken.map(() => message('good')),
  );
  assert.equal(content(store, 'lobby.jsonl'), file);
  assert.equal(logged.length, 1);
  assert.match(logged[0]!, new RegExp(` warn {2}lines skipped file=\\S+ lines=${broken.length}\n$`));
});

test('a message of more than the four fields is read without the others', t => {
  const store = scratchStore(t);
  writeFileSync(join(store.directory, 'lobby.jsonl'), `${JSON.stringify({ ...message('x'), level: 9 })}\n`);
  assert.deepEqual(openRoom(store, 'lobby', everything).messages, [message('x')]);
});

test('a file with CRLF is read', t => {
  const logged = captureLog(t);
  const store = scratchStore(t);
  writeFileSync(join(store.directory, 'lobby.jsonl'), lines(messages(3)).replaceAll('\n', '\r\n'));
  assert.deepEqual(openRoom(store, 'lobby', everything).messages, messages(3));
  assert.deepEqual(logged, []);
});

test('a line of a gigabyte takes no memory, and what follows it is read', t => {
  const logged = captureLog(t);
  const store = scratchStore(t);
  const path = join(store.directory, 'lobby.jsonl');
  writeFileSync(path, lines([message('before')]));
  truncateSync(path, 2 ** 30);
  writeFileSync(path, `\n${lines([message('after')])}`, { flag: 'a' });
  const reads = countReads(t);
  const { messages: found } = openRoom(store, 'lobby', { messages: 100, bytes: 65_536 });
  assert.deepEqual(texts(found), ['after']);
  assert.ok(reads.total < 2 ** 20, `${reads.total} bytes were read`);
  assert.deepEqual(logged, []);
});

test('a torn line of many megabytes is cut off', t => {
  captureLog(t);
  const store = scratchStore(t);
  const path = join(store.directory, 'lobby.jsonl');
  writeFileSync(path, lines([message('before')]));
  truncateSync(path, 64 * 2 ** 20);
  const reads = countReads(t);
  assert.deepEqual(texts(openRoom(store, 'lobby', everything).messages), ['before']);
  assert.ok(reads.longest <= 2 ** 16, `${reads.longest} bytes were read at once`);
  assert.equal(content(store, 'lobby.jsonl'), lines([message('before')]));
});

test('a room is opened once, and again after it is closed', t => {
  const store = scratchStore(t);
  const { file } = openRoom(store, 'lobby', everything);
  assert.throws(() => openRoom(store, 'lobby', everything), /is already open/);
  closeRoom(file);
  openRoom(store, 'lobby', everything);
});
