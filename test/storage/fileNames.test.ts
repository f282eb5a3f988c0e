import assert from 'node:assert/strict';
import { dirname, join, normalize } from 'node:path';
import { test } from 'node:test';
import fc from 'fast-check';
import { currentName, parseRotatedName, rotatedName, stemOf } from '../../src/storage/fileNames.ts';
import { appendMessages } from '../../src/storage/room.ts';
import { everything, message, names, openRoom, scratchStore, texts } from './scratch.ts';

const longestNumber = Number.MAX_SAFE_INTEGER;

test('plain names stay readable', () => {
  assert.equal(currentName(stemOf('lobby')), 'lobby.jsonl');
  assert.equal(rotatedName(stemOf('big_room-2'), 12), 'big_room-2.12.jsonl');
  assert.equal(currentName(stemOf('zoë')), 'zo%C3%AB.jsonl');
});

const escapes = [
  '../../etc/passwd',
  '..',
  '.',
  '/',
  'a/b',
  'a\\b',
  'CON',
  '\0',
  'a\0b',
  '~',
  '-rf',
  '*',
  'a b',
  '\n',
  '%2e',
  'lobby.1',
];

for (const name of escapes) {
  test(`the room ${JSON.stringify(name)} is a file in the directory`, t => {
    const store = scratchStore(t);
    const { file } = openRoom(store, name, everything);
    appendMessages(file, [message('here')]);
    assert.equal(dirname(file.path), store.directory);
    assert.deepEqual(names(store), [currentName(stemOf(name))]);
    assert.match(names(store)[0]!, /^[a-z0-9_%A-F][a-z0-9_%A-F-]*\.jsonl$/);
  });
}

test('names longer than a file name may be are cut, and stay different', t => {
  const store = scratchStore(t);
  const rooms = ['\u{1F438}', '\u{1F43A}'].map(last => '\u{1F3F4}'.repeat(31) + last);
  for (const room of rooms) {
    assert.ok(Buffer.byteLength(rotatedName(stemOf(room), longestNumber)) <= 255);
    appendMessages(openRoom(store, room, everything).file, [message(room)]);
  }
  assert.equal(names(store).length, 2);
});

test('no two rooms share a file, whatever they are called, and none has the name of a rotated file', () => {
  const character = fc.oneof(
    fc.string({ unit: 'binary', minLength: 1, maxLength: 1 }),
    fc.constantFrom(...'./\\%~-_aA1\0'),
    fc.constantFrom('\u{1F438}'),
  );
  const room = fc.array(character, { minLength: 1, maxLength: 32 }).map(characters => characters.join(''));
  fc.assert(
    fc.property(room, room, fc.integer({ min: 1, max: longestNumber }), (one, other, number) => {
      const name = currentName(stemOf(one));
      assert.equal(name === currentName(stemOf(other)), one === other);
      assert.notEqual(name, rotatedName(stemOf(other), number));
      assert.ok(Buffer.byteLength(rotatedName(stemOf(one), number)) <= 255);
      assert.equal(normalize(join('/data', name)), `/data/${name}`);
      assert.equal(dirname(join('/data', name)), '/data');
    }),
    { seed: 6455, numRuns: 2000 },
  );
});

test('a shortened name is never the whole one of another room', () => {
  const long = stemOf('\u{1F438}'.repeat(32));
  assert.match(long, /~[0-9a-f]{64}$/);
  assert.notEqual(stemOf(long), long);
  assert.doesNotMatch(stemOf('~'.repeat(32)), /~/);
});

test('what has no UTF-8, and the empty name, are refused', () => {
  for (const name of ['', '\ud800', 'a\udc00']) assert.throws(() => stemOf(name), /cannot be a file name/);
});

test('rotated files are told from all others', () => {
  assert.deepEqual(parseRotatedName('lobby.7.jsonl'), { stem: 'lobby', number: 7 });
  for (const name of [
    'lobby.jsonl',
    'lobby.0.jsonl',
    'lobby.01.jsonl',
    'lobby.1.jsonl.gz',
    'a.b.1.jsonl',
    '.1.jsonl',
  ]) {
    assert.equal(parseRotatedName(name), undefined, name);
  }
});

test('what was said in one room is not heard in another', t => {
  const store = scratchStore(t);
  for (const room of ['a', 'a.1', 'a/1', 'á'])
    appendMessages(openRoom(store, room, everything).file, [message(room)]);
  for (const { path } of [...store.rooms.values()]) assert.ok(path);
  const again = scratchStore(t, { directory: store.directory });
  for (const room of ['a', 'a.1', 'a/1', 'á']) {
    assert.deepEqual(texts(openRoom(again, room, everything).messages), [room]);
  }
});
