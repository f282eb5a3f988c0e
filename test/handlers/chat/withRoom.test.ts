import assert from 'node:assert/strict';
import { test } from 'node:test';
import { newChat, withRoom } from '../../../src/handlers/chat/chat.ts';
import { type Name, readName } from '../../../src/handlers/chat/names.ts';
import { closeStore, openStore } from '../../../src/storage/store.ts';
import { newFakeServer } from '../../support/fakeSocket.ts';
import { temporaryFolder } from '../../support/temporaryFolder.ts';

test('withRoom closes an empty room afterwards, even if the callback throws', () => {
  const directory = temporaryFolder();
  const store = openStore({ directory, fsync: 'no', rotateAt: 1e6, keep: 1 });
  const chat = newChat(newFakeServer(), { messages: 10, bytes: 1000 }, store);
  const pond = readName(Buffer.from('pond'), 'room') as Name;
  assert.equal(
    withRoom(chat, pond, room => room.name.text),
    'pond',
  );
  assert.equal(store.rooms.size, 0);
  const fails = () => {
    throw new Error('it would not');
  };
  for (let i = 0; i < 2; i++) assert.throws(() => withRoom(chat, pond, fails), /it would not/);
  assert.deepEqual([store.rooms.size, chat.rooms.size], [0, 0]);
  closeStore(store);
});
