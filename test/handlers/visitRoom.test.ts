import assert from 'node:assert/strict';
import { test } from 'node:test';
import { newChat, visitRoom } from '../../src/handlers/chat/chat.ts';
import { type Name, readName } from '../../src/handlers/chat/names.ts';
import { closeStore, openStore } from '../../src/storage/store.ts';
import { newFakeServer } from '../support/fakeSocket.ts';
import { temporaryFolder } from '../support/temporaryFolder.ts';

test('a room that was only looked at is closed again, whatever came of the look', () => {
  const directory = temporaryFolder();
  const store = openStore({ directory, fsync: 'no', rotateAt: 1e6, keep: 1 });
  const chat = newChat(newFakeServer(), { messages: 10, bytes: 1000 }, store);
  const pond = readName(Buffer.from('pond'), 'room') as Name;
  assert.equal(
    visitRoom(chat, pond, room => room.name.text),
    'pond',
  );
  assert.equal(store.rooms.size, 0);
  const fails = () => {
    throw new Error('it would not');
  };
  for (let i = 0; i < 2; i++) assert.throws(() => visitRoom(chat, pond, fails), /it would not/);
  assert.deepEqual([store.rooms.size, chat.rooms.size], [0, 0]);
  closeStore(store);
});
