/** Presence: who is subscribed to a channel, over real wires, with an app that knows users by their cookie. */
import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { setOption } from '../../../src/commands/reload.ts';
import { visitPresence } from '../../../src/handlers/channels/presence.ts';
import { neededBy } from '../../../src/handlers/channels/subscribers.ts';
import { allowRule } from '../../../src/options/rules.ts';
import { maxLeavingUsers } from '../../../src/protocol/limits.ts';
import { workUnits } from '../../../src/protocol/workUnits.ts';
import { answerByCookie, startApp } from '../../support/appServer.ts';
import { openEvents, openSocket, type SocketSubscriber } from '../../support/channelClients.ts';
import { type ChannelServer, startChannels, until } from '../../support/channelServer.ts';
import { ask } from '../../support/pollClient.ts';

const limit = { timeout: 60_000 };

const ofUser = (user: string) => ({ Cookie: `sid=${user}` });

/** Users see names in all channels except `quiet-*`; only `open-*` admits clients without a user. */
async function open(t: TestContext, ...options: string[]): Promise<ChannelServer> {
  const app = await startApp(t, answerByCookie);
  const server = await startChannels(t, '--auth-url', app.url, ...options);
  const rules = [
    '/channels/quiet-*: subscribe=user presence=nobody',
    '/channels/open-*: subscribe=anyone presence=anyone',
    '/channels/**: subscribe=user presence=user',
  ];
  server.access.rules = rules.map(rule => allowRule.parse(rule)!);
  return server;
}

/** A subscriber whose first message, its cursor, is taken. */
async function join(server: ChannelServer, channel: string, user: string): Promise<SocketSubscriber> {
  const path = `/channels/${channel}?format=json&presence=1`;
  const subscriber = await openSocket(server.port, path, [], ofUser(user));
  await subscriber.nextJson();
  return subscriber;
}

async function leave({ socket }: SocketSubscriber, { channels }: ChannelServer): Promise<void> {
  const { size } = channels.subscribers;
  socket.terminate();
  await until(() => channels.subscribers.size < size);
}

const users = (channel: string, ...names: string[]) => ({
  channel,
  presence: { count: names.length, users: names },
});

test('a subscriber receives the users first, and then each user who joins or leaves', limit, async t => {
  const server = await open(t, '--presence-grace', '0');
  const ada = await join(server, 'pond', 'ada');
  assert.deepEqual(await ada.nextJson(), users('pond', 'ada'));
  const bob = await join(server, 'pond', 'bob');
  assert.deepEqual(await bob.nextJson(), users('pond', 'ada', 'bob'));
  assert.deepEqual(await ada.nextJson(), { id: server.id(0), channel: 'pond', joined: 'bob' });
  await server.publish('pond', 'hello');
  assert.equal((await ada.nextJson())['data'], 'hello');
  await leave(bob, server);
  assert.deepEqual(await ada.nextJson(), { id: server.id(1), channel: 'pond', left: 'bob' });
});

test(
  'a user with two tabs and an event stream is one user, who leaves with the last of them',
  limit,
  async t => {
    const server = await open(t, '--presence-grace', '0');
    const eve = await join(server, 'pond', 'eve');
    await eve.nextJson();
    const tabs = [await join(server, 'pond', 'ada'), await join(server, 'pond', 'ada')];
    const events = await openEvents(server.port, '/channels/pond?format=json&presence=1', ofUser('ada'));
    await events.next();
    const first = await events.next();
    assert.equal(first?.event, 'presence');
    assert.deepEqual(JSON.parse(first?.data ?? ''), users('pond', 'eve', 'ada'));
    for (const tab of tabs) await leave(tab, server);
    const bob = await join(server, 'pond', 'bob');
    assert.deepEqual(await bob.nextJson(), users('pond', 'eve', 'ada', 'bob'));
    assert.deepEqual(await eve.nextJson(), { id: server.id(0), channel: 'pond', joined: 'ada' });
    assert.deepEqual(await eve.nextJson(), { id: server.id(0), channel: 'pond', joined: 'bob' });
    events.socket.destroy();
    assert.deepEqual(await eve.nextJson(), { id: server.id(0), channel: 'pond', left: 'ada' });
  },
);

test('a user who comes back within the grace time has not left', limit, async t => {
  const server = await open(t, '--presence-grace', '1h');
  const eve = await join(server, 'pond', 'eve');
  await eve.nextJson();
  for (let visit = 0; visit < 3; visit++) await leave(await join(server, 'pond', 'ada'), server);
  await join(server, 'pond', 'bob');
  assert.deepEqual(await eve.nextJson(), { id: server.id(0), channel: 'pond', joined: 'ada' });
  assert.deepEqual(await eve.nextJson(), { id: server.id(0), channel: 'pond', joined: 'bob' });
});

test('without the right to see names a subscriber gets the count, and each change of it', limit, async t => {
  const server = await open(t, '--presence-grace', '0');
  const ada = await join(server, 'quiet-pond', 'ada');
  assert.deepEqual(await ada.nextJson(), { channel: 'quiet-pond', presence: { count: 1 } });
  const bob = await join(server, 'quiet-pond', 'bob');
  assert.deepEqual(await ada.nextJson(), { channel: 'quiet-pond', presence: { count: 2 } });
  await leave(bob, server);
  assert.deepEqual(await ada.nextJson(), { channel: 'quiet-pond', presence: { count: 1 } });
});

test('subscribers without a user are counted and not named', limit, async t => {
  const server = await open(t);
  const first = await openSocket(server.port, '/channels/open-pond?format=json&presence=1');
  await first.nextJson();
  assert.deepEqual(await first.nextJson(), {
    channel: 'open-pond',
    presence: { count: 1, users: [] },
  });
  const second = await openSocket(server.port, '/channels/open-pond');
  assert.deepEqual(await first.nextJson(), { channel: 'open-pond', presence: { count: 2 } });
  await leave(second, server);
  assert.deepEqual(await first.nextJson(), { channel: 'open-pond', presence: { count: 1 } });
});

test(
  'GET with presence=only answers at once with the users, or with the count if the client may not see them',
  limit,
  async t => {
    const server = await open(t);
    await join(server, 'pond', 'ada');
    await join(server, 'quiet-pond', 'ada');
    const get = async (channel: string) => {
      const { status, body } = await ask(server.port, 'GET', `/channels/${channel}?presence=only`, {
        headers: ofUser('bob'),
      });
      return [status, JSON.parse(body)];
    };
    assert.deepEqual(await get('pond'), [200, { count: 1, users: ['ada'] }]);
    assert.deepEqual(await get('quiet-pond'), [200, { count: 1 }]);
    assert.deepEqual(await get('empty'), [200, { count: 0, users: [] }]);
    const stranger = await ask(server.port, 'GET', '/channels/pond?presence=only');
    assert.equal(stranger.status, 401);
  },
);

test('a user who polls stays present between two polls', limit, async t => {
  const server = await open(t);
  const eve = await join(server, 'pond', 'eve');
  await eve.nextJson();
  await server.publish('pond', 'hello');
  await eve.nextJson();
  const { status } = await ask(server.port, 'GET', '/channels/pond?last=1', { headers: ofUser('ada') });
  assert.equal(status, 200);
  assert.deepEqual(await eve.nextJson(), { id: server.id(1), channel: 'pond', joined: 'ada' });
  const bob = await join(server, 'pond', 'bob');
  assert.deepEqual(await bob.nextJson(), users('pond', 'eve', 'ada', 'bob'));
});

test('a command subscribes with presence, and the id of a change resumes without a loss', limit, async t => {
  const server = await open(t, '--presence-grace', '0');
  const ada = await openSocket(server.port, '/channels?format=json', [], ofUser('ada'));
  await ada.nextJson();
  ada.send({ subscribe: 'pond', presence: 'yes' });
  assert.match(String((await ada.nextJson())['error']), /"presence" must be true or false/);
  ada.send({ subscribe: 'pond', presence: true });
  await ada.nextJson();
  assert.deepEqual(await ada.nextJson(), users('pond', 'ada'));
  await server.publish('pond', 'one');
  await ada.nextJson();
  await join(server, 'pond', 'bob');
  const { id } = await ada.nextJson();
  await leave(ada, server);
  await server.publish('pond', 'two');
  const again = await openSocket(server.port, `/channels/pond?format=json&after=${id}`, [], ofUser('ada'));
  await again.nextJson();
  assert.equal((await again.nextJson())['data'], 'two');
});

test('a subscriber that catches up gets the users again when it is live', limit, async t => {
  const server = await open(t);
  await server.publish('pond', 'one');
  const path = '/channels/pond?format=json&presence=1&last=1';
  const ada = await openSocket(server.port, path, [], ofUser('ada'));
  await ada.nextJson();
  assert.deepEqual(await ada.nextJson(), users('pond', 'ada'));
  assert.equal((await ada.nextJson())['data'], 'one');
  assert.deepEqual(await ada.nextJson(), users('pond', 'ada'));
  await join(server, 'pond', 'bob');
  assert.equal((await ada.nextJson())['joined'], 'bob');
});

test('a channel whose users have all left is gone', limit, async t => {
  const server = await open(t, '--presence-grace', '0');
  await leave(await join(server, 'pond', 'ada'), server);
  await until(() => !server.channels.byName.has('pond'));
  assert.equal(server.channels.presences.leaving.size, 0);
});

test('the first change of a turn is charged with the fan-out to all watchers', limit, async t => {
  const server = await open(t);
  const { channels } = server;
  for (const user of ['ada', 'bob', 'eve']) {
    const watcher = await join(server, 'pond', user);
    await watcher.nextJson();
  }
  const pond = channels.byName.get('pond')!;
  const costOf = (user: string) => {
    const before = workUnits.spent;
    visitPresence(channels, pond, user);
    return workUnits.spent - before;
  };
  assert.deepEqual([costOf('a newcomer'), costOf('another newcomer')], [3, 0]);
});

test('a user who comes and goes often is in the list of leaving users once', limit, async t => {
  const server = await open(t, '--presence-grace', '1h');
  for (let visit = 0; visit < 3; visit++) await leave(await join(server, 'pond', 'ada'), server);
  assert.equal(server.channels.presences.leaving.size, 1);
});

test('a reload that shortens the grace time applies to users who are leaving', limit, async t => {
  const server = await open(t, '--presence-grace', '1h');
  const eve = await join(server, 'pond', 'eve');
  await eve.nextJson();
  await leave(await join(server, 'pond', 'ada'), server);
  assert.equal((await eve.nextJson())['joined'], 'ada');
  await setOption(server.server, 'presence-grace', '0');
  assert.equal((await eve.nextJson())['left'], 'ada');
});

test('with too many users in their grace time, the first ones leave early', limit, async t => {
  const server = await open(t, '--presence-grace', '1h');
  const { channels } = server;
  const eve = await join(server, 'pond', 'eve');
  await eve.nextJson();
  const pond = channels.byName.get('pond')!;
  for (let visit = 0; visit < maxLeavingUsers; visit++) visitPresence(channels, pond, `user ${visit}`);
  assert.equal((await eve.nextJson())['joined'], 'user 0');
  for (const user of ['user 0', 'a new one']) visitPresence(channels, pond, user);
  for (;;) {
    const { left } = await eve.nextJson();
    if (left === undefined) continue;
    assert.equal(left, 'user 1', 'the second one: the first one has come back');
    break;
  }
  assert.equal(channels.presences.leaving.size, maxLeavingUsers);
});

test(
  'a client that sees names needs the right to see them, besides the right to subscribe',
  limit,
  async t => {
    const server = await open(t);
    for (const [channel, needed] of [
      ['pond', ['connect', 'subscribe', 'presence']],
      ['quiet-pond', ['connect', 'subscribe']],
    ] as const) {
      await join(server, channel, 'ada');
      const [connection] = [...server.channels.subscribers.keys()].slice(-1);
      const needs = neededBy(server.channels, connection!);
      assert.deepEqual(
        needs.map(({ right }) => right),
        needed,
      );
    }
  },
);

test('presence is refused where it cannot be sent', limit, async t => {
  const { port } = await startChannels(t);
  for (const [path, why] of [
    ['/channels/pond?presence=1', 'presence=1 needs the JSON form'],
    ['/channels/pond?presence=1&format=json', 'presence=1 is for WebSocket and EventSource'],
    ['/channels/pond?presence=yes', '"presence" must be 1 or "only"'],
    ['/channels?c=a&c=b&presence=only', 'presence=only is for one channel'],
  ] as const) {
    const { status, body } = await ask(port, 'GET', path);
    assert.equal(status, 400);
    assert.ok(body.includes(why), body);
  }
});
