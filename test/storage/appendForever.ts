/** A child that appends until it is killed, and says each number it has appended: `node appendForever.js DIR`. */
import { writeSync } from 'node:fs';
import type { StoredMessage } from '../../src/storage/message.ts';
import { appendMessages } from '../../src/storage/room.ts';
import { openStore } from '../../src/storage/store.ts';
import { openRoom } from './scratch.ts';

const [, , directory = ''] = process.argv;
// Small files, so that kills hit rotations, too.
const store = openStore({ directory, fsync: 'no', rotateAt: 1000, keep: 0 });
const { file, messages } = openRoom(store, 'lobby', { messages: 1, bytes: 1000 });
const numbered = (uid: number): StoredMessage => ({
  time: '2030-01-02T03:04:05Z',
  uid,
  nick: 'n',
  text: 'said',
});

for (let next = (messages[0]?.uid ?? 0) + 1; ; next += 3) {
  appendMessages(file, [numbered(next), numbered(next + 1), numbered(next + 2)]);
  writeSync(1, `${next + 2}\n`);
}
