/** The model of channels, without a transport: publishing, retention, cursors, gaps, and slow subscribers. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { flushFanout } from '../../../src/core/fanout.ts';
import { flush, onWriteComplete } from '../../../src/core/flush.ts';
import { dropIfUnused, findOrCreate } from '../../../src/handlers/channels/channel.ts';
import { newChannels } from '../../../src/handlers/channels/channels.ts';
import { plainEventSource } from '../../../src/handlers/channels/encoders.ts';
import { channelNameFault, idOf, parseCursor } from '../../../src/handlers/channels/names.ts';
import {
  answerTo,
  commitPublications,
  forgetChannel,
  publish,
} from '../../../src/handlers/channels/publish.ts';
import type {
  ChannelEncoder,
  ChannelMessage,
  Channels,
  OnPublished,
  Publication,
  Published,
  Retention,
  Subscriber,
} from '../../../src/handlers/channels/records.ts';
import { readChannelRequest } from '../../../src/handlers/channels/request.ts';
import { dropExpired, setRetention } from '../../../src/handlers/channels/retention.ts';
import {
  endSubscriber,
  gapsOf,
  newSubscriber,
  type Start,
  subscribe,
  takeNext,
  unsubscribe,
  waitForMessage,
} from '../../../src/handlers/channels/subscribers.ts';
import { parseRequestHead } from '../../../src/protocol/http/head.ts';
import {
  connectionBudget,
  fileCost,
  maxForgottenChannels,
  maxLiveBacklog,
  maxPublication,
} from '../../../src/protocol/limits.ts';
import { workUnits } from '../../../src/protocol/workUnits.ts';
import { channelMemory, messageMemory } from '../../../src/storage/log/load.ts';
import type { LoadedLog, LogRecord } from '../../../src/storage/log/records.ts';
import { blockLoop } from '../../support/blockLoop.ts';
import { type FakeSocket, newFakeServer, openFakeConnection } from '../../support/fakeSocket.ts';

const generous: Retention = { messages: 100, bytes: 1e6, age: 0, memory: 1e7 };

/** Writes a message as `[channel:seq:data]`, and a gap as `[gap:names]`. */
const encoder: ChannelEncoder = {
  transport: 'eventsource',
  message: (_, { channel, seq, data }) => ({
    isText: true,
    bytes: Buffer.from(`[${channel}:${seq}:${data}]`),
  }),
  gap: names => ({ isText: true, bytes: Buffer.from(`[gap:${names}]`) }),
};

function open(retention: Partial<Retention> = {}, loaded?: LoadedLog): Channels {
  return newChannels(newFakeServer(), { ...generous, ...retention }, loaded);
}

interface Reader {
  readonly subscriber: Subscriber;
  readonly socket: FakeSocket;
  /** What it has received since the last call. */
  received(): string;
}

function newReader(
  channels: Channels,
  names: readonly string[] = [],
  start: Start = {},
  itsEncoder = encoder,
): Reader {
  const { connection, socket } = openFakeConnection(channels.server, undefined);
  // As an event stream: without frames.
  connection.endpoint = undefined;
  const subscriber = newSubscriber(channels, connection, itsEncoder);
  for (const name of names) subscribe(channels, subscriber, name, start);
  return {
    subscriber,
    socket,
    received() {
      settle(channels);
      const text = socket.written().toString();
      socket.writes.length = 0;
      return text;
    },
  };
}

/** Flushes until nothing is left to do. */
function settle({ server }: Channels): void {
  do flush(server);
  while (server.pendingWrites.length > 0);
}

function answerIn(channels: Channels, outcome: ChannelMessage | string): Published | string {
  return typeof outcome === 'string' ? outcome : answerTo(channels, outcome);
}

/** Publishes and ends the turn. */
function say(
  channels: Channels,
  channel: string,
  text: string,
  more: Partial<Publication> = {},
): Published | string {
  let outcome: Published | string | undefined;
  publish(channels, { channel, kind: 'text', data: Buffer.from(text), ...more }, result => {
    outcome = answerIn(channels, result);
  });
  commitPublications(channels);
  assert.ok(outcome !== undefined, 'the publisher is answered when the turn ends');
  return outcome;
}

function idSaid(...args: Parameters<typeof say>): string {
  return (say(...args) as Published).id;
}

test('messages of all channels get consecutive numbers, and reach the live subscribers of their channel', () => {
  const channels = open();
  const both = newReader(channels, ['a', 'b']);
  const one = newReader(channels, ['b']);
  assert.deepEqual(say(channels, 'a', 'x'), { id: `${channels.epoch}-1`, subscribers: 1 });
  assert.deepEqual(say(channels, 'b', 'y'), { id: `${channels.epoch}-2`, subscribers: 2 });
  assert.equal(both.received(), '[a:1:x][b:2:y]');
  assert.equal(one.received(), '[b:2:y]');
});

test('nothing is delivered before the turn ends', () => {
  const channels = open();
  const reader = newReader(channels, ['a']);
  publish(channels, { channel: 'a', kind: 'text', data: Buffer.from('x') }, () => {});
  assert.equal(reader.received(), '');
  commitPublications(channels);
  assert.equal(reader.received(), '[a:1:x]');
});

test('the end of a turn delivers all messages of the turn, so the queue does not outlive it', () => {
  const channels = open({ messages: 1000, bytes: 1e9, memory: 1e9 });
  let answered = 0;
  for (let i = 0; i < 100; i++) {
    const data = Buffer.alloc(100_000, 'x');
    publish(channels, { channel: 'a', kind: 'text', data }, () => answered++);
  }
  commitPublications(channels);
  assert.deepEqual([answered, channels.queue.length], [100, 0]);
});

test('a listener that answers in its own channel speaks once in a turn, and does not keep the turn from ending', () => {
  const channels = open();
  const reader = newReader(channels, ['a']);
  const again = () => publish(channels, { channel: 'a', kind: 'text', data: Buffer.from('again') }, () => {});
  channels.byName.get('a')!.listeners.add(again);
  say(channels, 'a', 'first');
  assert.equal(reader.received(), '[a:1:first]');
  assert.equal(forgetChannel(channels, 'a', false), 2);
  assert.equal(reader.received(), '[a:2:again]');
  assert.equal(channels.queue.length, 1);
});

test('a listener that ends its subscription with the first message does not take the message along', () => {
  const channels = open();
  const channel = findOrCreate(channels, 'a');
  const stop = () => {
    channel.listeners.delete(stop);
    dropIfUnused(channels, channel);
  };
  channel.listeners.add(stop);
  say(channels, 'a', 'x');
  assert.equal(newReader(channels, ['a'], { after: 0 }).received(), '[a:1:x]');
  setRetention(channels, { ...generous, messages: 0 }, Date.now());
  assert.equal(channels.kept, 0);
});

test('a listener that subscribes anew with each message is called once for each', () => {
  const channels = open();
  const { listeners } = findOrCreate(channels, 'a');
  const heard: string[] = [];
  const subscribeNext = () => {
    const listener = ({ data }: ChannelMessage) => {
      listeners.delete(listener);
      heard.push(`${data}`);
      if (heard.length < 1000) subscribeNext();
    };
    listeners.add(listener);
  };
  subscribeNext();
  say(channels, 'a', 'x');
  say(channels, 'a', 'y');
  assert.deepEqual(heard, ['x', 'y']);
});

test('a listener that another one has removed is not called', () => {
  const channels = open();
  const { listeners } = findOrCreate(channels, 'a');
  const second = () => assert.fail('it was removed');
  listeners.add(() => listeners.delete(second));
  listeners.add(second);
  say(channels, 'a', 'x');
});

test('a subscriber with a cursor gets what it missed in all its channels, in order and once', () => {
  const channels = open();
  const cursor = parseCursor(channels, idSaid(channels, 'a', '1'));
  say(channels, 'b', '2');
  say(channels, 'c', '3');
  say(channels, 'a', '4');
  const reader = newReader(channels, ['a', 'b'], { after: cursor as number });
  say(channels, 'a', '5');
  assert.equal(reader.received(), '[b:2:2][a:4:4][a:5:5]');
  say(channels, 'b', '6');
  assert.equal(reader.received(), '[b:6:6]');
});

test('a subscriber may start with the last messages, with all that are kept, or now', () => {
  const channels = open({ messages: 3 });
  for (const text of ['1', '2', '3', '4']) say(channels, 'a', text);
  assert.equal(newReader(channels, ['a'], { last: 2 }).received(), '[a:3:3][a:4:4]');
  assert.equal(
    newReader(channels, ['a'], { last: 9 }).received(),
    '[a:2:2][a:3:3][a:4:4]',
    'no gap: it asked for kept ones',
  );
  assert.equal(newReader(channels, ['a'], { last: 0 }).received(), '');
  assert.equal(newReader(channels, ['a']).received(), '');
});

test('a gap names the channels that no longer keep what is missing, once, before the rest', () => {
  const channels = open({ messages: 2 });
  for (const text of ['1', '2', '3', '4']) say(channels, 'a', text);
  say(channels, 'b', '5');
  const reader = newReader(channels, ['a', 'b'], { after: 1 });
  assert.equal(reader.received(), '[gap:a][a:3:3][a:4:4][b:5:5]');
  assert.equal(newReader(channels, ['a', 'b'], { after: 2 }).received(), '[a:3:3][a:4:4][b:5:5]');
  say(channels, 'a', '6');
  say(channels, 'a', '7');
  assert.equal(reader.received(), '[a:6:6][a:7:7]', 'what it received is no gap when it is dropped later');
});

test('a cursor of another epoch is older than everything: a gap, and then all that is kept', () => {
  const channels = open();
  say(channels, 'a', '1');
  const cursor = parseCursor(channels, 'other-9') as number;
  assert.equal(newReader(channels, ['a', 'new'], { after: cursor }).received(), '[gap:a,new][a:1:1]');
});

test('a cursor that no message has yet is a gap in all channels, once, and then only new messages follow', () => {
  const channels = open();
  say(channels, 'a', '1');
  const cursor = parseCursor(channels, idOf(channels, 2)) as number;
  const reader = newReader(channels, ['a', 'new'], { after: cursor });
  assert.equal(reader.received(), '[gap:a,new]');
  say(channels, 'a', '2');
  say(channels, 'new', '3');
  assert.equal(reader.received(), '[a:2:2][new:3:3]');
});

test('a cursor that is not an id is refused with a sentence', () => {
  const channels = open();
  assert.equal(parseCursor(channels, idOf(channels, 0)), 0);
  for (const id of ['', '1', 'a-', '-1', `${channels.epoch}-01`, `${channels.epoch}-1e3`, 'a b-1'])
    assert.match(String(parseCursor(channels, id)), /this is not the id of a message/, id);
});

test('names have 1 to 200 characters, no control characters, and no empty, "." or ".." segment', () => {
  for (const name of ['a', 'orders/17', '😀'.repeat(200), 'a b', '...', 'x/.y'])
    assert.equal(channelNameFault(name), undefined, name);
  for (const name of [
    '',
    'a'.repeat(201),
    '😀'.repeat(201),
    'a\n',
    '\x7f',
    '\ud800',
    '/a',
    'a/',
    'a//b',
    '.',
    'a/../b',
  ])
    assert.ok(channelNameFault(name) !== undefined, JSON.stringify(name));
});

test('retention by count, bytes and memory drops the oldest messages', () => {
  const byBytes = open({ bytes: 10 });
  for (const text of ['1234', '5678', '90ab']) say(byBytes, 'a', text);
  assert.equal(newReader(byBytes, ['a'], { last: 9 }).received(), '[a:2:5678][a:3:90ab]');
  const byMemory = open({ memory: 3 * (channelMemory + 1300) });
  for (const [at, name] of ['a', 'b', 'c', 'd'].entries()) say(byMemory, name, `${at}`.repeat(1000));
  assert.equal(byMemory.kept, 3);
  assert.equal(byMemory.byName.has('a'), false, 'an empty channel without subscribers is gone');
  assert.equal(newReader(byMemory, ['a'], { after: 0 }).received(), '[gap:a]', 'but not what it forgot');
  assert.ok(byMemory.server.memory.histories <= 3 * (channelMemory + 1300));
});

test('a kept message does not keep the shared pool of short buffers in memory', () => {
  const channels = open();
  say(channels, 'a', 'x');
  const [message] = channels.byName.get('a')!.messages;
  assert.deepEqual([`${message?.data}`, message?.data.buffer.byteLength], ['x', 1]);
});

test('the memory of a channel counts while it keeps messages', () => {
  const channels = open({ memory: 2 * (channelMemory + messageMemory + 1), messages: 3 });
  for (let at = 0; at < 100; at++) say(channels, `c${at}`, 'x');
  assert.deepEqual([...channels.byName.keys()], ['c98', 'c99']);
  for (let at = 0; at < 100; at++) say(channels, 'c99', 'x');
  assert.equal(channels.byName.get('c99')?.count, 3);
  for (const name of ['c98', 'c99']) forgetChannel(channels, name, false);
  assert.deepEqual([channels.byName.size, channels.keptMemory, channels.server.memory.histories], [0, 0, 0]);
});

test('messages expire by their time to live and by age, which is a gap', () => {
  const channels = open({ age: 60_000 });
  say(channels, 'a', 'short', { ttl: 1000 });
  say(channels, 'a', 'long');
  dropExpired(channels, Date.now() + 2000);
  assert.equal(newReader(channels, ['a'], { after: 0 }).received(), '[gap:a][a:2:long]');
  dropExpired(channels, Date.now() + 61_000);
  assert.equal(newReader(channels, ['a'], { after: 1 }).received(), '[gap:a]');
  assert.equal(channels.server.memory.histories, 0);
});

test('messages that are too old are dropped, even behind one from before the clock was set back', t => {
  const channels = open({ age: 60_000 });
  const now = Date.now();
  const clock = t.mock.method(Date, 'now', () => now + 3_600_000);
  say(channels, 'a', 'ahead');
  clock.mock.mockImplementation(() => now);
  say(channels, 'a', 'old');
  say(channels, 'b', 'old');
  dropExpired(channels, now + 61_000);
  assert.equal(newReader(channels, ['a', 'b'], { after: 0 }).received(), '[gap:a,b][a:1:ahead]');
});

test('dropped messages in the middle of the order free their memory', () => {
  const channels = open({ messages: 1 });
  say(channels, 'old', 'kept');
  for (let i = 0; i < 10_000; i++) say(channels, 'busy', `${i}`);
  assert.equal(channels.kept, 2);
  assert.ok(channels.order.length < 2000, `${channels.order.length} entries`);
  assert.ok(channels.byName.get('busy')!.messages.length < 100);
});

test('a reload applies a smaller history at once', () => {
  const channels = open();
  for (const text of ['1', '2', '3']) say(channels, 'a', text);
  setRetention(channels, { ...generous, messages: 1 }, Date.now());
  assert.equal(newReader(channels, ['a'], { after: 0 }).received(), '[gap:a][a:3:3]');
});

test('an idempotency key is published once, also within a turn; keys of other publishers and channels differ', () => {
  const channels = open();
  const reader = newReader(channels, ['a', 'b']);
  const outcomes: (Published | string)[] = [];
  const answered: OnPublished = outcome => outcomes.push(answerIn(channels, outcome));
  const once = { channel: 'a', kind: 'text', data: Buffer.from('x'), key: 'k', publisher: 'p' } as const;
  publish(channels, once, answered);
  publish(channels, once, answered);
  commitPublications(channels);
  publish(channels, once, answered);
  assert.deepEqual(outcomes, Array(3).fill({ id: idOf(channels, 1), subscribers: 1 }));
  say(channels, 'a', 'y', { key: 'k', publisher: 'q' });
  say(channels, 'b', 'z', { key: 'k', publisher: 'p' });
  assert.equal(reader.received(), '[a:1:x][a:2:y][b:3:z]');
  say(channels, 'a', 'gone', { key: 'short', ttl: 10 });
  dropExpired(channels, Date.now() + 1000);
  assert.equal(
    idSaid(channels, 'a', 'again', { key: 'short' }),
    idOf(channels, 5),
    'a key lasts as long as its message',
  );
});

test('a live subscriber with a full socket leaves the fan-out and catches up in order when it reads again', () => {
  const channels = open({ messages: 1000, bytes: 1e9, memory: 1e9 });
  const [slow, quick] = [newReader(channels, ['a', 'b']), newReader(channels, ['a'])];
  slow.socket.isStuck = true;
  const text = 'x'.repeat(maxLiveBacklog / 2);
  for (let i = 0; i < 8; i++) {
    say(channels, 'a', text);
    flush(channels.server);
  }
  say(channels, 'b', 'other');
  assert.equal(slow.subscriber.isLive, false);
  assert.ok(slow.subscriber.connection.queue.size < 4 * text.length, 'its queue has stopped growing');
  const { connection } = slow.subscriber;
  let all = '';
  for (let round = 0; round < 30; round++) {
    if (slow.socket.isBusy) {
      slow.socket.drain();
      onWriteComplete(connection, undefined);
    }
    flush(channels.server);
    all += slow.socket.written();
    slow.socket.writes.length = 0;
  }
  slow.socket.isStuck = false;
  say(channels, 'a', 'end');
  all += slow.received();
  const numbers = [...all.matchAll(/\[(\w):(\d+):/g)].map(([, , seq]) => Number(seq));
  assert.deepEqual(numbers, [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
  assert.doesNotMatch(all, /gap/);
  assert.equal(slow.subscriber.isLive, true);
  assert.equal([...quick.received().matchAll(/\[a:/g)].length, 9);
});

test('a subscriber that falls behind in the middle of a turn gets the messages of all its channels once, in order', () => {
  const channels = open({ messages: 1000, bytes: 1e9, memory: 1e9 });
  const slow = newReader(channels, ['a', 'b', 'c']);
  newReader(channels, ['a']);
  newReader(channels, ['b']);
  slow.socket.isStuck = true;
  const text = 'x'.repeat(maxLiveBacklog / 2);
  say(channels, 'a', text);
  flush(channels.server);
  for (const name of ['a', 'b', 'b', 'a', 'c', 'b', 'a'])
    publish(channels, { channel: name, kind: 'text', data: Buffer.from(text) }, () => {});
  commitPublications(channels);
  // The fan-out of the last message is pending, and the new subscription begins after it.
  subscribe(channels, slow.subscriber, 'd', {});
  assert.equal(slow.subscriber.isLive, false);
  say(channels, 'd', 'later');
  let all = '';
  for (let round = 0; round < 30; round++) {
    if (slow.socket.isBusy) {
      slow.socket.drain();
      onWriteComplete(slow.subscriber.connection, undefined);
    }
    all += slow.received();
  }
  const numbers = [...all.matchAll(/\[(\w):(\d+):/g)].map(([, , seq]) => Number(seq));
  assert.deepEqual(numbers, [1, 2, 3, 4, 5, 6, 7, 8, 9]);
});

test('the messages of a turn in one channel reach each kind of subscriber as one range of bytes', () => {
  const channels = open();
  const readers = [newReader(channels, ['a']), newReader(channels, ['a'], {}, { ...encoder })];
  for (const text of ['x', 'y', 'z'])
    publish(channels, { channel: 'a', kind: 'text', data: Buffer.from(text) }, () => {});
  commitPublications(channels);
  flushFanout(channels.server);
  for (const { subscriber, received } of readers) {
    assert.equal(subscriber.connection.queue.earlier, undefined);
    assert.equal(received(), '[a:1:x][a:2:y][a:3:z]');
  }
});

test('a subscriber that exchanges its only channel while it catches up gets each message once', () => {
  const channels = open();
  say(channels, 'a', 'old');
  const { subscriber, received } = newReader(channels, ['a'], { last: 1 });
  assert.equal(unsubscribe(channels, subscriber, 'a'), true);
  subscribe(channels, subscriber, 'b', {});
  say(channels, 'b', 'new');
  assert.equal(received(), '[b:2:new]');
  say(channels, 'b', 'newer');
  assert.equal(received(), '[b:3:newer]');
});

test('an event has its data line by line, whatever ends the lines, and however long it is', () => {
  const channels = open();
  for (const count of [1, 5000]) {
    const text = 'a\r\nb\rc\n\n🐸\r'.repeat(count);
    const message = {
      seq: 1,
      time: 0,
      channel: 'a',
      kind: 'text',
      data: Buffer.from(text),
      isKept: true,
    } as const;
    const lines = text.split(/\r\n|\r|\n/).map(line => `data: ${line}\n`);
    const { bytes } = plainEventSource.message(channels, message);
    assert.equal(bytes.toString(), `id: ${idOf(channels, 1)}\n${lines.join('')}\n`);
  }
});

test('a slow subscriber gets a gap for what is dropped before it reads', () => {
  const channels = open({ messages: 2, bytes: 1e9, memory: 1e9 });
  const slow = newReader(channels, ['a']);
  slow.socket.isStuck = true;
  for (let i = 0; i < 8; i++) {
    say(channels, 'a', 'x'.repeat(maxLiveBacklog));
    flush(channels.server);
  }
  slow.socket.isStuck = false;
  slow.socket.drain();
  onWriteComplete(slow.subscriber.connection, undefined);
  const shown = slow.received().replace(/:x+\]/g, ']');
  assert.match(shown, /^(\[a:\d\])+\[gap:a\]\[a:7\]\[a:8\]$/);
});

test('unsubscribing and ending leave nothing behind', () => {
  const channels = open();
  const reader = newReader(channels, ['a', 'b']);
  assert.equal(unsubscribe(channels, reader.subscriber, 'a'), true);
  assert.equal(unsubscribe(channels, reader.subscriber, 'a'), false);
  assert.equal((say(channels, 'a', 'x') as Published).subscribers, 0);
  assert.equal(reader.received(), '');
  endSubscriber(channels, reader.subscriber);
  assert.deepEqual([...channels.byName.keys()], ['a']);
  assert.equal(channels.subscribers.size, 0);
});

test('a channel added to a live subscription with a cursor is replayed before newer messages of the others', () => {
  const channels = open();
  const reader = newReader(channels, ['a']);
  say(channels, 'b', '1');
  say(channels, 'a', '2');
  subscribe(channels, reader.subscriber, 'b', { after: 0 });
  say(channels, 'a', '3');
  assert.equal(reader.received(), '[a:2:2][b:1:1][a:3:3]');
  assert.equal(reader.subscriber.isLive, true);
});

test('a waiter wakes once, after all messages of the turn are kept', () => {
  const channels = open();
  const reader = newReader(channels, ['a', 'b']);
  const positions = ['a', 'b'].map(name => ({ channel: channels.byName.get(name)!, cursor: 0, toldSeq: -1 }));
  const seen: string[] = [];
  waitForMessage(channels, {
    user: undefined,
    take() {},
    channels: positions.map(({ channel }) => channel),
    wake() {
      for (let next = takeNext(positions); next !== undefined; next = takeNext(positions))
        seen.push(`${next.data}`);
    },
  });
  publish(channels, { channel: 'a', kind: 'text', data: Buffer.from('x') }, () => {});
  publish(channels, { channel: 'b', kind: 'text', data: Buffer.from('y') }, () => {});
  commitPublications(channels);
  say(channels, 'a', 'z');
  assert.deepEqual(seen, ['x', 'y']);
  assert.deepEqual(gapsOf(positions), []);
  assert.equal(reader.received(), '[a:1:x][b:2:y][a:3:z]');
});

test('waking many waiters takes several turns, and each gets the messages of these turns once', () => {
  const channels = open();
  let scheduled = 0;
  channels.scheduleCommit = () => {
    scheduled++;
  };
  const channel = newReader(channels, ['a']).subscriber.subscriptions.get('a')!.channel;
  const answers: string[] = [];
  for (let i = 0; i < 200; i++) {
    const messages: string[] = [];
    const take = ({ data }: ChannelMessage) => messages.push(data.toString());
    const wake = () => {
      blockLoop(1);
      answers.push(messages.join());
    };
    waitForMessage(channels, { user: undefined, take, channels: [channel], wake });
  }
  say(channels, 'a', 'x');
  assert.ok(answers.length > 0 && answers.length < 100, `${answers.length}`);
  const first = answers.length;
  scheduled = 0;
  say(channels, 'a', 'y');
  while (channels.due.size > 0) commitPublications(channels);
  assert.ok(scheduled > 1, `${scheduled}`);
  assert.deepEqual(answers, [...Array(first).fill('x'), ...Array(200 - first).fill('x,y')]);
  assert.equal(channel.waiters.size, 0);
});

test('a publisher pays for the waiting polls that collect its message, also behind other messages of the channel', () => {
  const channels = open();
  const channel = findOrCreate(channels, 'a');
  for (let i = 0; i < 400; i++)
    waitForMessage(channels, { user: undefined, channels: [channel], take() {}, wake() {} });
  const costOf = (text: string) => {
    const before = workUnits.spent;
    publish(channels, { channel: 'a', kind: 'text', data: Buffer.from(text) }, () => {});
    return workUnits.spent - before;
  };
  assert.deepEqual([costOf('x'), costOf('y')], [401, 101]);
});

test('channels that are gone leave what they forgot in a bounded map; beyond it gaps are reported for all', () => {
  const channels = open({ messages: 0 });
  for (let i = 0; i <= maxForgottenChannels; i++) say(channels, `c${i}`, 'x');
  assert.equal(channels.byName.size, 0);
  assert.ok(channels.forgotten.size <= maxForgottenChannels);
  assert.equal(newReader(channels, ['c0'], { after: 0 }).received(), '[gap:c0]');
  assert.equal(newReader(channels, ['c9'], { after: 9 }).received(), '[gap:c9]');
  assert.equal(newReader(channels, ['c9'], { after: 10 }).received(), '');
  assert.equal(
    newReader(channels, ['never'], { after: 1 }).received(),
    '',
    'nothing is missing above the floor',
  );
});

/** A log that keeps its records in a list, or fails. */
class FakeLog {
  readonly epoch = 'e';
  readonly records: LogRecord[] = [];
  isFailing = false;

  append(records: readonly LogRecord[]): void {
    if (this.isFailing) throw new Error('no', { cause: Object.assign(new Error(), { code: 'ENOSPC' }) });
    this.records.push(...records);
  }
  sync(): void {}
  purge(): void {}
  close(): void {}
}

function openLogged(log: FakeLog, retention: Partial<Retention> = {}, unreadSeq = 0): Channels {
  const records = log.records.filter(({ seq }) => seq > unreadSeq);
  const lastSeq = log.records.at(-1)?.seq ?? 0;
  return open(retention, { log, records, lastSeq, unreadSeq } as unknown as LoadedLog);
}

test('--max-channels counts the channels that the messages of this turn create, unless they cannot be stored', () => {
  const log = new FakeLog();
  const channels = openLogged(log);
  channels.server.configuration = { ...channels.server.configuration, maxChannels: 2 };
  const outcomes: string[] = [];
  const publishEach = (...names: string[]) => {
    for (const channel of names)
      publish(channels, { channel, kind: 'text', data: Buffer.from('x') }, outcome =>
        outcomes.push(`${channel} ${typeof outcome === 'string' ? outcome.slice(0, 13) : 'is published'}`),
      );
    commitPublications(channels);
    return outcomes.splice(0);
  };
  log.isFailing = true;
  assert.deepEqual(publishEach('a', 'b'), ['a not published', 'b not published']);
  log.isFailing = false;
  const [refused, ...others] = publishEach('c', 'd', 'c', 'e');
  assert.deepEqual(others, ['c is published', 'd is published', 'c is published']);
  assert.equal(refused, 'e there are 2 c');
  assert.deepEqual([...channels.byName.keys()], ['c', 'd']);
});

test('a message whose JSON would be too long for a string is refused, and delays no other one', () => {
  const channels = open();
  const outcomes: (ChannelMessage | string)[] = [];
  const send = (size: number) =>
    publish(channels, { channel: 'a', kind: 'bytes', data: Buffer.alloc(size) }, one => outcomes.push(one));
  send(maxPublication + 1);
  send(1);
  commitPublications(channels);
  assert.match(String(outcomes[0]), /has at most 67108864 bytes/);
  assert.equal((outcomes[1] as ChannelMessage).seq, 1);
});

test('a message that cannot be stored is not delivered, its publisher gets the reason, and its number is free again', () => {
  const log = new FakeLog();
  const channels = openLogged(log);
  const reader = newReader(channels, ['a']);
  log.isFailing = true;
  assert.match(
    say(channels, 'a', 'x') as string,
    /not published, because it could not be stored: the disk is full/,
  );
  assert.match(String(forgetChannel(channels, 'a', false)), /^not forgotten, because it could not be stored/);
  log.isFailing = false;
  // A cursor must not be ahead of the log: after a restart, only the log is left.
  assert.equal(channels.lastSeq, 0);
  assert.equal(idSaid(channels, 'a', 'y'), 'e-1');
  assert.equal(reader.received(), '[a:1:y]');
  assert.deepEqual(
    log.records.map(({ seq }) => seq),
    [1],
  );
});

test('a write to the log is charged, and with its sync it takes the budget of a connection', () => {
  const channels = openLogged(new FakeLog());
  const costWith = (fsync: 'always' | 'everysec') => {
    channels.server.configuration = { ...channels.server.configuration, fsync };
    const before = workUnits.spent;
    say(channels, 'a', 'x');
    return workUnits.spent - before;
  };
  assert.ok(costWith('always') > connectionBudget);
  assert.ok(costWith('everysec') > fileCost);
});

test('a restart goes on with the numbers, cursors and keys of the log, and reports what it did not read as a gap', () => {
  const log = new FakeLog();
  const before = openLogged(log);
  for (const text of ['1', '2', '3']) say(before, 'a', text, { key: text });
  const after = openLogged(log);
  assert.equal(newReader(after, ['a'], { after: 1 }).received(), '[a:2:2][a:3:3]');
  assert.equal(idSaid(after, 'a', '3', { key: '3' }), 'e-3');
  assert.equal(idSaid(after, 'b', 'new'), 'e-4');
  const partly = openLogged(log, {}, 2);
  assert.equal(newReader(partly, ['a'], { after: 1 }).received(), '[gap:a][a:3:3]');
  assert.equal(newReader(partly, ['a'], { after: 2 }).received(), '[a:3:3]');
});

test('a message whose time to live is over at a restart is a gap, and its place is free', () => {
  const log = new FakeLog();
  const before = openLogged(log);
  for (const text of ['1', '2', '3']) say(before, 'a', text);
  const [first, , third] = log.records;
  const loaded = {
    log,
    records: [first, third],
    expired: new Map([
      ['a', 2],
      ['b', 3],
    ]),
    lastSeq: 3,
    unreadSeq: 0,
  };
  const channels = open({}, loaded as unknown as LoadedLog);
  assert.deepEqual([...channels.byName.keys()], ['a']);
  assert.equal(newReader(channels, ['a'], { after: 1 }).received(), '[gap:a][a:3:3]');
  assert.equal(newReader(channels, ['a'], { after: 2 }).received(), '[a:3:3]');
  assert.equal(newReader(channels, ['a'], { last: 9 }).received(), '[a:1:1][a:3:3]');
  assert.equal(newReader(channels, ['b'], { after: 2 }).received(), '[gap:b]');
});

test('what is forgotten stays forgotten after a restart, and is a gap', () => {
  const log = new FakeLog();
  const before = openLogged(log);
  for (const text of ['1', '2']) say(before, 'a', text);
  assert.equal(forgetChannel(before, 'a', false), 2);
  say(before, 'a', '4');
  for (const channels of [before, openLogged(log)]) {
    assert.equal(newReader(channels, ['a'], { after: 0 }).received(), '[gap:a][a:4:4]');
    assert.equal(newReader(channels, ['a'], { after: 3 }).received(), '[a:4:4]');
  }
});

test('a channel named in a query keeps only its name in memory, not the head of the request', () => {
  const channels = open();
  setFlagsFromString('--expose-gc');
  const collect = runInNewContext('gc') as () => void;
  collect();
  const before = process.memoryUsage().heapUsed;
  const requests = Array.from({ length: 500 }, (_, at) => {
    const line = `GET /channels?c=a-name-that-is-not-short-${at}&c=another HTTP/1.1`;
    const bytes = Buffer.from(`${line}\r\nHost: x\r\nCookie: ${'c'.repeat(14_000)}\r\n\r\n`);
    return readChannelRequest(channels, parseRequestHead(bytes, 0, bytes.length, 16_384)!.head);
  });
  collect();
  const grown = process.memoryUsage().heapUsed - before;
  assert.equal(requests.length, 500);
  assert.ok(grown < 500 * 7000, `${grown} bytes`);
});
