/** A page whose connection breaks at any point loses no typed line and shows no line twice. */
import assert from 'node:assert/strict';
import { beforeEach, test } from 'node:test';
import fc from 'fast-check';
import {
  addLine,
  addServerLine,
  type HistoryLine,
  linesToSend,
  markUnsent,
  mergeHistory,
  newRoom,
  type Room,
  rejectLine,
  saveRoom,
  writeLine,
} from '../../src/web/page/room.ts';

const nick = 'Ada';

/** Stands in for the tab's session storage. */
const kept = new Map<string, string>();
Object.assign(globalThis, {
  sessionStorage: {
    getItem: (name: string) => kept.get(name) ?? null,
    setItem: (name: string, value: string) => kept.set(name, value),
  },
});
beforeEach(() => kept.clear());

/** All lines that the history has or will have. */
const shownIn = (room: Room): string[] =>
  [...room.lines.filter(line => line.isInHistory), ...room.unconfirmed].map(
    line => `${line.nick}: ${line.text}`,
  );

const logged = (conversation: readonly string[]): HistoryLine[] =>
  conversation.map((entry, time) => ({ entry, time: time + 1 }));

/** A server that keeps everything, and the connection to it. */
interface Wire {
  readonly conversation: string[];
  /** Messages in flight to the server, and to the page. */
  sent: string[];
  told: { entry: string; by: 'person' | 'publish' | 'broadcast' }[];
}

function send(room: Room, wire: Wire): void {
  for (const line of linesToSend(room)) {
    line.uid = ++uid;
    line.tries++;
    wire.sent.push(line.text);
  }
}
let uid = 0;

function serve(wire: Wire): void {
  const text = wire.sent.shift();
  if (text !== undefined) say(wire, `${nick}: ${text}`);
}

function say(wire: Wire, entry: string): void {
  wire.conversation.push(entry);
  wire.told.push({ entry, by: entry.startsWith('server: ') ? 'publish' : 'person' });
}

function listen(room: Room, wire: Wire): void {
  const { entry, by } = wire.told.shift() ?? { entry: '', by: undefined };
  if (by === undefined) return;
  if (by !== 'person') {
    addServerLine(room, { entry, time: by === 'publish' ? 1 : undefined });
    return;
  }
  const colon = entry.indexOf(': ');
  addLine(room, entry.slice(0, colon), entry.slice(colon + 2));
}

/** @param isRead whether the server still reads what was sent before the break */
function breakAndReturn(room: Room, wire: Wire, isRead: boolean): void {
  while (isRead && wire.sent.length > 0) serve(wire);
  wire.sent = [];
  markUnsent(room);
  wire.told = [];
  // This connection breaks more often than `maxTries` allows for.
  for (const line of room.unconfirmed) line.tries = Math.min(line.tries, 1);
  mergeHistory(room, logged(wire.conversation));
  send(room, wire);
}

// Few texts, so that many lines are equal.
const text = fc.constantFrom('ok', 'yes', 'no: really');
const step = fc.record({
  does: fc.constantFrom(
    'write',
    'other',
    'serve',
    'listen',
    'listen',
    'publish',
    'broadcast',
    'break',
    'break late',
  ),
  text,
});
type Step = typeof step extends fc.Arbitrary<infer Value> ? Value : never;

/** @param reload replaces the room, as a reload does; the page finds its place only if lines differ */
function play(before: readonly string[], steps: readonly Step[], reload?: () => Room): void {
  kept.clear();
  const wire: Wire = { conversation: before.map(one => `Bo: ${one}`), sent: [], told: [] };
  let room = reload?.() ?? newRoom('pond', nick);
  mergeHistory(room, logged(wire.conversation));
  const typed: string[] = [];
  for (const [index, one] of steps.entries()) {
    const words = `${one.text}${reload === undefined ? '' : ` ${index}`}`;
    if (one.does === 'write') {
      typed.push(words);
      writeLine(room, words);
      send(room, wire);
    } else if (one.does === 'other') say(wire, `Bo: ${words}`);
    else if (one.does === 'publish') say(wire, `server: ${words}`);
    else if (one.does === 'broadcast') wire.told.push({ entry: `server: ${words}`, by: 'broadcast' });
    else if (one.does === 'serve') serve(wire);
    else if (one.does === 'listen') listen(room, wire);
    else {
      room = reload?.() ?? room;
      breakAndReturn(room, wire, one.does === 'break late');
    }
    // The page saves whenever its own lines change.
    if (one.does !== 'other') saveRoom(room);
  }
  while (wire.sent.length > 0) serve(wire);
  while (wire.told.length > 0) listen(room, wire);
  assert.deepEqual(shownIn(room), wire.conversation);
  assert.equal(room.unconfirmed.length, 0);
  const own = wire.conversation.filter(entry => entry.startsWith(nick)).map(entry => entry.slice(5));
  assert.deepEqual(own, typed);
}

test('the page finally shows the whole conversation, with every typed line once', () => {
  const parts = [fc.array(text, { maxLength: 5 }), fc.array(step, { maxLength: 60 })] as const;
  fc.assert(
    fc.property(...parts, (before, steps) => play(before, steps)),
    { seed: 6455, numRuns: 500 },
  );
});

test('the same holds if the page is reloaded each time', () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), steps => {
      play(['first', 'second'], steps, () => newRoom('pond', nick));
    }),
    { seed: 6455, numRuns: 500 },
  );
});

test('after a reload an old message does not confirm a line just typed', () => {
  const history = ['Ada: hi', 'Bo: hi'];
  const room = newRoom('pond', nick);
  mergeHistory(room, logged(history));
  const lost = writeLine(room, 'hi');
  lost.tries = 1;
  saveRoom(room);
  const again = newRoom('pond', nick);
  mergeHistory(again, logged(history));
  assert.deepEqual([shownIn(again), linesToSend(again).length], [[...history, 'Ada: hi'], 1]);
});

test('a refused line stays with its reason and is not sent again automatically', () => {
  const room = newRoom('pond', nick);
  mergeHistory(room, []);
  const line = writeLine(room, 'too loud');
  line.uid = 7;
  rejectLine(room, 7, 'hush');
  assert.deepEqual([line.state, line.reason, linesToSend(room).length], ['refused', 'hush', 0]);
  mergeHistory(room, []);
  assert.deepEqual([room.unconfirmed, linesToSend(room)], [[line], []]);
  line.state = 'waiting';
  assert.deepEqual(linesToSend(room), [line], 'but it is sent again once its state is back to waiting');
});

test('a line that fails three times is marked as refused and kept', () => {
  const room = newRoom('pond', nick);
  mergeHistory(room, []);
  const line = writeLine(room, 'poison');
  for (let tries = 0; tries < 3; tries++) {
    assert.deepEqual(linesToSend(room), [line]);
    line.tries++;
    line.uid = tries;
    markUnsent(room);
    mergeHistory(room, []);
  }
  assert.deepEqual(linesToSend(room), []);
  assert.equal(line.state, 'refused');
});

test('history lines have times, and a live message of the server is a line of its own', () => {
  const room = newRoom('pond', nick);
  mergeHistory(room, [{ entry: 'server: closed: on Sunday', time: 1_700_000_000_000 }]);
  const [earlier] = room.lines;
  assert.deepEqual(
    [earlier?.nick, earlier?.text, earlier?.time, earlier?.state],
    ['server', 'closed: on Sunday', 1_700_000_000_000, 'earlier'],
  );
  const line = addServerLine(room, { entry: 'server: back in five minutes', time: undefined });
  assert.deepEqual([line.nick, line.text, line.state], ['server', 'back in five minutes', 'live']);
  assert.ok(Date.now() - line.time < 60_000);
  assert.equal(room.lines.length, 2);
});

test('the page keeps a bounded number of lines', () => {
  const room = newRoom('pond', nick);
  mergeHistory(room, []);
  for (let line = 0; line < 3000; line++) addLine(room, 'Bo', `${line}`);
  assert.equal(room.lines.length, 1000);
  assert.equal(room.lines.at(-1)?.text, '2999');
});
