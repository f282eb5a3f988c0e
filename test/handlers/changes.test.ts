/** Who enters and leaves a room in one turn is told at its end, all together. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Connection } from '../../src/core/connection.ts';
import { finishFanouts } from '../../src/core/send.ts';
import {
  addUser,
  enterRoom,
  findRoom,
  leaveRoom,
  newChat,
  settleArrival,
  settleChanges,
} from '../../src/handlers/chat/chat.ts';
import { lineVoice } from '../../src/handlers/chat/encoders.ts';
import { type Name, readName } from '../../src/handlers/chat/names.ts';
import { say } from '../../src/handlers/chat/post.ts';
import type { Room, User, Voice } from '../../src/handlers/chat/room.ts';
import { workUnits } from '../../src/protocol/workUnits.ts';
import { newFakeServer, openFakeConnection, queuedBytes } from '../support/fakeSocket.ts';

function openPond() {
  const server = newFakeServer();
  const chat = newChat(server, { messages: 10, bytes: 10_000 }, undefined);
  const name = (text: string) => readName(Buffer.from(text), 'nick') as Name;
  const read = new Map<Connection, number>();
  return {
    chat,
    enter(nick: string, voice: Voice = lineVoice): User {
      const { connection } = openFakeConnection(server, undefined);
      connection.endpoint = undefined;
      const user = addUser(chat, connection, voice, name(nick)) as User;
      enterRoom(chat, user, findRoom(chat, name('pond')) as Room);
      return user;
    },
    endTurn() {
      settleChanges(chat);
      finishFanouts(server);
    },
    /** What the user was told since the last time. */
    told({ connection }: User): string[] {
      finishFanouts(server);
      const all = queuedBytes(connection);
      const lines = all.toString('utf8', read.get(connection) ?? 0).split('\n');
      read.set(connection, all.length);
      return lines.slice(0, -1);
    },
    tell: (user: User, text: string) => assert.equal(say(chat, user, 0, Buffer.from(text)), undefined),
  };
}

const here = (...nicks: string[]) => nicks.map(nick => `* ${nick} is here`);

test('newcomers of one turn all get the whole roster and the history, and the others hear of each once', () => {
  const { enter, endTurn, told, tell } = openPond();
  const ada = enter('ada');
  endTurn();
  tell(ada, 'hello');
  told(ada);
  const [bob, cleo] = [enter('bob'), enter('cleo')];
  assert.deepEqual([told(ada), told(bob)], [[], []]);
  endTurn();
  assert.deepEqual(told(ada), here('bob', 'cleo'));
  for (const newcomer of [bob, cleo]) {
    assert.deepEqual(told(newcomer), [...here('ada', 'bob', 'cleo'), 'ada: hello']);
  }
  tell(bob, 'hi');
  assert.deepEqual([told(ada), told(bob), told(cleo)], [['bob: hi'], [], ['bob: hi']]);
});

test('what is said in between comes behind what it follows, and is history to those who come after it', () => {
  const { enter, endTurn, told, tell } = openPond();
  const ada = enter('ada');
  const bob = enter('bob');
  tell(bob, 'first');
  const cleo = enter('cleo');
  endTurn();
  assert.deepEqual(told(ada), [...here('ada', 'bob'), 'bob: first', ...here('cleo')]);
  assert.deepEqual(told(bob), [...here('ada', 'bob'), ...here('cleo')]);
  assert.deepEqual(told(cleo), [...here('ada', 'bob', 'cleo'), 'bob: first']);
});

test('who leaves is told before who comes; a newcomer hears of nobody who left', () => {
  const { chat, enter, endTurn, told } = openPond();
  const [ada, bob, cleo] = [enter('ada'), enter('bob'), enter('cleo')];
  endTurn();
  for (const user of [ada, bob, cleo]) told(user);
  leaveRoom(chat, bob);
  const dora = enter('dora');
  leaveRoom(chat, cleo);
  assert.deepEqual(told(ada), []);
  endTurn();
  assert.deepEqual(told(ada), ['* bob left', '* cleo left', ...here('dora')]);
  assert.deepEqual(told(dora), here('ada', 'dora'));
  assert.deepEqual([told(bob), told(cleo)], [[], []]);
});

test('who comes and leaves in one turn is told of, in this order', () => {
  const { chat, enter, endTurn, told } = openPond();
  const ada = enter('ada');
  endTurn();
  told(ada);
  const bob = enter('bob');
  leaveRoom(chat, bob);
  endTurn();
  assert.deepEqual(told(ada), [...here('bob'), '* bob left']);
  assert.deepEqual(told(bob), here('ada', 'bob'));
});

test('a room that is empty again tells nobody, and forgets who left', () => {
  const { chat, enter, endTurn, told } = openPond();
  const ada = enter('ada');
  endTurn();
  leaveRoom(chat, ada);
  const bob = enter('bob');
  endTurn();
  assert.deepEqual(told(bob), here('bob'));
});

test('what a newcomer is told first comes before the answer to what it does next', () => {
  const { enter, told } = openPond();
  const ada = enter('ada');
  settleArrival(ada);
  assert.deepEqual(told(ada), here('ada'));
  settleArrival(ada);
  assert.deepEqual(told(ada), []);
});

test('voices are told apart', () => {
  const shouting: Voice = { ...lineVoice, came: ({ nick }) => Buffer.from(`${nick.text.toUpperCase()}!\n`) };
  const { enter, endTurn, told } = openPond();
  const ada = enter('ada', shouting);
  endTurn();
  const [bob, cleo] = [enter('bob', shouting), enter('cleo')];
  endTurn();
  assert.deepEqual(told(ada), ['ADA!', 'BOB!', 'CLEO!']);
  assert.deepEqual(told(bob), ['ADA!', 'BOB!', 'CLEO!']);
  assert.deepEqual(told(cleo), here('ada', 'bob', 'cleo'));
});

test('many that enter or leave at once cost a delivery each, and one for each that is there', () => {
  const { chat, enter, endTurn } = openPond();
  for (let i = 0; i < 300; i++) enter(`old${i}`);
  endTurn();
  let before = workUnits.spent;
  const crowd = Array.from({ length: 100 }, (_, i) => enter(`new${i}`));
  endTurn();
  const entering = workUnits.spent - before;
  before = workUnits.spent;
  for (const user of crowd) leaveRoom(chat, user);
  endTurn();
  const leaving = workUnits.spent - before;
  // One by one they would be 30,000 deliveries.
  assert.ok(entering < 100 * 100, `entering: ${entering}`);
  assert.ok(leaving < 1000, `leaving: ${leaving}`);
});
