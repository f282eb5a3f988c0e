/** All arrivals and departures of a turn are sent together at its end. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { finishFanouts, wholeMessage } from '../../../src/core/fanout.ts';
import { newChannels } from '../../../src/handlers/channels/channels.ts';
import { commitPublications } from '../../../src/handlers/channels/publish.ts';
import {
  addUser,
  enterRoom,
  flushArrival,
  flushRosterChanges,
  leaveRoom,
  newChat,
} from '../../../src/handlers/chat/chat.ts';
import { lineEncoder, newPacketEncoders } from '../../../src/handlers/chat/encoders.ts';
import { type Name, readName } from '../../../src/handlers/chat/names.ts';
import { postMessage } from '../../../src/handlers/chat/post.ts';
import type { ChatEncoder, User } from '../../../src/handlers/chat/room.ts';
import { workUnits } from '../../../src/protocol/workUnits.ts';
import type { Connection } from '../../../src/records/records.ts';
import { newFakeServer, openFakeConnection, queuedBytes } from '../../support/fakeSocket.ts';

const retention = { messages: 10, bytes: 10_000, age: 0, memory: 100_000 };

function openPond() {
  const server = newFakeServer();
  const channels = newChannels(server, retention, undefined);
  const chat = newChat(server, channels, ['*']);
  const name = (text: string) => readName(Buffer.from(text), 'nick') as Name;
  const read = new Map<Connection, number>();
  return {
    chat,
    enter(nick: string, encoder: ChatEncoder = lineEncoder): User {
      const { connection } = openFakeConnection(server, undefined);
      connection.endpoint = undefined;
      const user = addUser(chat, connection, encoder, name(nick)) as User;
      enterRoom(chat, user, name('pond'));
      return user;
    },
    notifyTurnEnd() {
      flushRosterChanges(chat);
      commitPublications(channels);
      finishFanouts(server);
    },
    /** What the user was sent since the last call. */
    told({ connection }: User): string[] {
      commitPublications(channels);
      finishFanouts(server);
      const all = queuedBytes(connection);
      const lines = all.toString('utf8', read.get(connection) ?? 0).split('\n');
      read.set(connection, all.length);
      return lines.slice(0, -1);
    },
    tell: (user: User, text: string) =>
      assert.equal(postMessage(chat, user, 0, wholeMessage(false, Buffer.from(text))), undefined),
  };
}

const here = (...nicks: string[]) => nicks.map(nick => `* ${nick} is here`);

test('newcomers of one turn all get the roster and the history, and the others one notice of each', () => {
  const { enter, notifyTurnEnd, told, tell } = openPond();
  const ada = enter('ada');
  notifyTurnEnd();
  tell(ada, 'hello');
  told(ada);
  const [bob, cleo] = [enter('bob'), enter('cleo')];
  assert.deepEqual([told(ada), told(bob)], [[], []]);
  notifyTurnEnd();
  assert.deepEqual(told(ada), here('bob', 'cleo'));
  for (const newcomer of [bob, cleo]) {
    assert.deepEqual(told(newcomer), [...here('ada', 'bob', 'cleo'), 'ada: hello']);
  }
  tell(bob, 'hi');
  assert.deepEqual([told(ada), told(bob), told(cleo)], [['bob: hi'], [], ['bob: hi']]);
});

test('a message between arrivals follows earlier notices and is history for later newcomers', () => {
  const { enter, notifyTurnEnd, told, tell } = openPond();
  const ada = enter('ada');
  const bob = enter('bob');
  tell(bob, 'first');
  const cleo = enter('cleo');
  notifyTurnEnd();
  assert.deepEqual(told(ada), [...here('ada', 'bob'), 'bob: first', ...here('cleo')]);
  assert.deepEqual(told(bob), [...here('ada', 'bob'), ...here('cleo')]);
  assert.deepEqual(told(cleo), [...here('ada', 'bob', 'cleo'), 'bob: first']);
});

test('departures are sent before arrivals, and newcomers hear of no departures', () => {
  const { chat, enter, notifyTurnEnd, told } = openPond();
  const [ada, bob, cleo] = [enter('ada'), enter('bob'), enter('cleo')];
  notifyTurnEnd();
  for (const user of [ada, bob, cleo]) told(user);
  leaveRoom(chat, bob);
  const dora = enter('dora');
  leaveRoom(chat, cleo);
  assert.deepEqual(told(ada), []);
  notifyTurnEnd();
  assert.deepEqual(told(ada), ['* bob left', '* cleo left', ...here('dora')]);
  assert.deepEqual(told(dora), here('ada', 'dora'));
  assert.deepEqual([told(bob), told(cleo)], [[], []]);
});

test('a user who enters and leaves in one turn causes both notices, in this order', () => {
  const { chat, enter, notifyTurnEnd, told } = openPond();
  const ada = enter('ada');
  notifyTurnEnd();
  told(ada);
  const bob = enter('bob');
  leaveRoom(chat, bob);
  notifyTurnEnd();
  assert.deepEqual(told(ada), [...here('bob'), '* bob left']);
  assert.deepEqual(told(bob), here('ada', 'bob'));
});

test('an empty room drops its pending departures', () => {
  const { chat, enter, notifyTurnEnd, told } = openPond();
  const ada = enter('ada');
  notifyTurnEnd();
  leaveRoom(chat, ada);
  const bob = enter('bob');
  notifyTurnEnd();
  assert.deepEqual(told(bob), here('bob'));
});

test('a newcomer’s roster precedes the answer to its next request', () => {
  const { enter, told } = openPond();
  const ada = enter('ada');
  flushArrival(ada);
  assert.deepEqual(told(ada), here('ada'));
  flushArrival(ada);
  assert.deepEqual(told(ada), []);
});

test('each user gets notices from its own encoder', () => {
  const shouting: ChatEncoder = {
    ...lineEncoder,
    joined: ({ nick }) => wholeMessage(false, Buffer.from(`${nick.text.toUpperCase()}!\n`)),
  };
  const { enter, notifyTurnEnd, told } = openPond();
  const ada = enter('ada', shouting);
  notifyTurnEnd();
  const [bob, cleo] = [enter('bob', shouting), enter('cleo')];
  notifyTurnEnd();
  assert.deepEqual(told(ada), ['ADA!', 'BOB!', 'CLEO!']);
  assert.deepEqual(told(bob), ['ADA!', 'BOB!', 'CLEO!']);
  assert.deepEqual(told(cleo), here('ada', 'bob', 'cleo'));
});

test('many arrivals or departures at once cost one delivery per user and per member', () => {
  const { chat, enter, notifyTurnEnd } = openPond();
  for (let i = 0; i < 300; i++) enter(`old${i}`);
  notifyTurnEnd();
  let before = workUnits.spent;
  const crowd = Array.from({ length: 100 }, (_, i) => enter(`new${i}`));
  notifyTurnEnd();
  const entering = workUnits.spent - before;
  before = workUnits.spent;
  for (const user of crowd) leaveRoom(chat, user);
  notifyTurnEnd();
  const leaving = workUnits.spent - before;
  // One by one it would be 30,000 deliveries.
  assert.ok(entering < 100 * 100, `entering: ${entering}`);
  assert.ok(leaving < 1000, `leaving: ${leaving}`);
});

test('the posts of a turn cost one delivery per member, also if terminals and other clients share the room', () => {
  const { enter, notifyTurnEnd, told, tell } = openPond();
  const packets = newPacketEncoders().plain;
  const [author] = Array.from({ length: 100 }, (_, i) => enter(`user${i}`, packets));
  const terminal = enter('ada');
  notifyTurnEnd();
  told(terminal);
  for (let i = 0; i < 50; i++) tell(author!, `${i}`);
  const before = workUnits.spent;
  notifyTurnEnd();
  const delivering = workUnits.spent - before;
  // One by one it would be 5,050 deliveries.
  assert.ok(delivering < 200, `delivering: ${delivering}`);
  assert.deepEqual(
    told(terminal),
    Array.from({ length: 50 }, (_, i) => `user0: ${i}`),
  );
});

test('a terminal pays for the deliveries of its posts, which share none with those of other terminals', () => {
  const { enter, notifyTurnEnd, tell } = openPond();
  const terminals = Array.from({ length: 50 }, (_, i) => enter(`user${i}`));
  notifyTurnEnd();
  let before = workUnits.spent;
  const sinceBefore = () => {
    const spent = workUnits.spent - before;
    before = workUnits.spent;
    return spent;
  };
  for (const terminal of terminals) tell(terminal, 'hi');
  const posting = sinceBefore();
  notifyTurnEnd();
  const delivering = sinceBefore();
  assert.ok(posting >= delivering, `posting: ${posting}, delivering: ${delivering}`);
  for (let i = 0; i < 50; i++) tell(terminals[0]!, 'hi');
  assert.ok(sinceBefore() < 300);
});
