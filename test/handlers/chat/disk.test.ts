/** The chat with `--data`: delivered messages are on disk, messages that cannot be written are not delivered, and all survive a restart. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { readdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { PacketCommand } from '../../../src/protocol/tpacket.ts';
import {
  type ChatClient,
  connectChat,
  connectMember,
  expectHeard,
  hearAll,
  magicPacket,
  packetBytes,
  said,
} from '../../support/chatClient.ts';
import { connectTerminal, linesSoFar } from '../../support/lineClient.ts';
import { skipUnlessLinux } from '../../support/linux.ts';
import { messagesIn, writtenIn } from '../../support/roomFiles.ts';
import { serverScript, startServerFor } from '../../support/serverProcess.ts';
import { temporaryFolder } from '../../support/temporaryFolder.ts';

function folder(t: TestContext): string {
  const directory = temporaryFolder();
  t.after(() => spawnSync('umount', ['--lazy', directory], { stdio: 'ignore' }));
  return directory;
}

/** The texts of the LOGGED_MSGs that a newcomer gets. */
async function historyFor(port: number, nick: string, room: string): Promise<string[]> {
  const client = await connectMember(port, nick, room);
  const heard = await hearAll(client);
  await client.leave();
  return heard
    .filter(text => text.startsWith('LOGGED_MSG '))
    .map(text => JSON.parse(text.slice(text.indexOf('"'))) as string);
}

async function sayAll(client: ChatClient, texts: readonly string[]): Promise<void> {
  client.sendBytes(Buffer.concat(texts.map(text => packetBytes(PacketCommand.NewMsg, text))));
  for (const text of texts) assert.match(await client.hear(), new RegExp(` ${JSON.stringify(text)}$`));
}

const numbered = (count: number, first = 0) =>
  Array.from({ length: count }, (_, i) => `message ${first + i}`);

test('a newcomer gets the last hundred messages, even after a restart of the server', async t => {
  const directory = folder(t);
  const server = await startServerFor(t, '--data', directory);
  const alice = await connectMember(server.port, 'alice', 'pond');
  await alice.hear();
  await sayAll(alice, numbered(150));
  const expected = numbered(100, 50).map(text => `alice: ${text}`);
  assert.deepEqual(await historyFor(server.port, 'bob', 'pond'), expected);
  await alice.leave();
  assert.deepEqual(
    await historyFor(server.port, 'bob', 'POND'),
    expected,
    'the room was left by everyone meanwhile',
  );
  assert.equal(await server.stop(), 0);
  const again = await startServerFor(t, '--data', directory);
  assert.deepEqual(await historyFor(again.port, 'bob', 'Pond'), expected);
  assert.deepEqual(
    messagesIn(directory, 'pond').map(({ uid, from, text }) => `${uid} ${from} ${text}`),
    numbered(150).map(text => `4096 alice ${text}`),
  );
});

test('--history 64KB limits the history in bytes, with and without --data', async t => {
  for (const data of [[], ['--data', folder(t)]]) {
    const server = await startServerFor(t, '--history', '64KB', ...data);
    const alice = await connectMember(server.port, 'a', 'pond');
    await alice.hear();
    const texts = numbered(100).map(text => text.padEnd(1024, '.'));
    await sayAll(alice, texts);
    assert.deepEqual(
      await historyFor(server.port, 'bob', 'pond'),
      texts.slice(36).map(text => `a: ${text}`),
    );
    if (data.length === 0) continue;
    await server.kill();
    const again = await startServerFor(t, '--history', '64KB', ...data);
    assert.deepEqual(
      await historyFor(again.port, 'bob', 'pond'),
      texts.slice(36).map(text => `a: ${text}`),
    );
  }
});

test('--history 0 sends no history, but still writes it', async t => {
  const directory = folder(t);
  const { port } = await startServerFor(t, '--history', '0', '--data', directory);
  const alice = await connectMember(port, 'alice', 'pond');
  await alice.hear();
  await sayAll(alice, numbered(3));
  assert.deepEqual(await historyFor(port, 'bob', 'pond'), []);
  assert.equal(messagesIn(directory, 'pond').length, 3);
});

test('without --data the history is in memory and ends with the server', async t => {
  const server = await startServerFor(t);
  const alice = await connectMember(server.port, 'alice', 'pond');
  await alice.hear();
  await sayAll(alice, numbered(3));
  await alice.leave();
  assert.deepEqual(await historyFor(server.port, 'bob', 'pond'), [
    'alice: message 0',
    'alice: message 1',
    'alice: message 2',
  ]);
  await server.kill();
  const again = await startServerFor(t);
  assert.deepEqual(await historyFor(again.port, 'bob', 'pond'), []);
});

test('--fsync always delivers and writes everything, including bursts in several rooms', async t => {
  const directory = folder(t);
  const { port } = await startServerFor(t, '--data', directory, '--fsync', 'always');
  const rooms = await Promise.all(
    numbered(5).map(async room => {
      const client = await connectMember(port, `in ${room}`, room);
      await client.hear();
      return client;
    }),
  );
  for (let round = 0; round < 10; round++) {
    await Promise.all(rooms.map(client => sayAll(client, numbered(20, round * 20))));
  }
  for (let i = 0; i < rooms.length; i++) {
    const texts = messagesIn(directory, `message ${i}`).map(({ text }) => text);
    assert.deepEqual(texts, numbered(200));
  }
});

test('a room’s file of an older version is read at the first start, without its torn last line and invalid lines', async t => {
  const directory = folder(t);
  const line = (text: string) =>
    JSON.stringify({ time: '2030-01-02T03:04:05.678Z', uid: 4096, nick: 'old', text });
  const lines = [
    line('one'),
    'this is no message',
    '{"time":"2030-01-02T03:04:05.678Z","uid":"4096","nick":"x","text":"wrong uid"}',
    line('two'),
    '',
    '\0\0\0\0\0\0',
    '[]',
    line('three'),
    line('torn').slice(0, 40),
  ];
  writeFileSync(join(directory, 'pond.jsonl'), lines.join('\n'));
  const server = await startServerFor(t, '--data', directory);
  assert.deepEqual(await historyFor(server.port, 'bob', 'pond'), ['old: one', 'old: two', 'old: three']);
  const alice = await connectMember(server.port, 'alice', 'pond');
  while ((await alice.hear()).startsWith('NEW_USER')) {}
  for (let i = 1; i < 3; i++) await alice.hear();
  await sayAll(alice, ['four']);
  await server.kill();
  assert.match(writtenIn(directory), /"channel":"pond","from":"alice","uid":\d+,"text":"four"\}\n$/);
  const again = await startServerFor(t, '--data', directory);
  assert.deepEqual(await historyFor(again.port, 'bob', 'pond'), [
    'old: one',
    'old: two',
    'old: three',
    'alice: four',
  ]);
});

test('a newcomer that asks for times gets the time of each message', async t => {
  const directory = folder(t);
  const times = [
    '1969-07-20T20:17:40Z',
    '2026-11-26T16:12:00.999Z',
    '2106-02-07T06:28:15Z',
    '9999-12-31T23:59:59Z',
  ];
  const lines = times.map((time, uid) => `${JSON.stringify({ time, uid, nick: 'old', text: `${uid}` })}\n`);
  writeFileSync(join(directory, 'pond.jsonl'), lines.join(''));
  const { port } = await startServerFor(t, '--data', directory);
  const timesFor = async (nick: string, wire: 'websocket' | 'tcp', p2: number) => {
    const client = await connectChat(port, nick, { wire });
    client.sendBytes(magicPacket);
    client.send(PacketCommand.SetUserNick, nick, { uid: 1, p2 });
    client.send(PacketCommand.SetRoom, 'pond', { uid: 2 });
    await expectHeard(client, 'RESP_OK uid=1 p1=0 p2=0', 'RESP_OK uid=2 p1=0 p2=0');
    await client.hear();
    const told: number[] = [];
    for (const _ of times) told.push(((await client.next())?.p2 ?? 0) >>> 0);
    await client.leave();
    return told;
  };
  for (const wire of ['websocket', 'tcp'] as const) {
    // Unsigned 32-bit seconds; a time out of range becomes the nearest one in it.
    assert.deepEqual(await timesFor('alice', wire, 1), [1, 1_795_709_520, 0xffffffff, 0xffffffff]);
    assert.deepEqual(await timesFor('bob', wire, 0), [0, 0, 0, 0], 'the original client gets none');
  }
});

test('a message too long for a packet in a file does not lock its room', async t => {
  const directory = folder(t);
  const line = (nick: string, text: string) =>
    `${JSON.stringify({ time: '2030-01-02T03:04:05.678Z', uid: 4096, nick, text })}\n`;
  const lines = [
    line('old', 'before'),
    line('old', 'x'.repeat(100_000)),
    line('n'.repeat(1000), 'long nick'),
    line('evil\nnick\x1b', 'y'),
    line('old', 'after'),
  ];
  writeFileSync(join(directory, 'pond.jsonl'), lines.join(''));
  const server = await startServerFor(t, '--data', directory);
  const told = await historyFor(server.port, 'bob', 'pond');
  assert.equal(told[0], 'old: before');
  assert.equal(told.at(-1), 'old: after');
  const newt = await connectTerminal(server.port, 'newt');
  newt.send('/join pond\n');
  const lines2 = await linesSoFar(newt);
  assert.equal(lines2.at(-1), 'old: after');
  for (const shownLine of lines2) assert.doesNotMatch(shownLine, /[\x00-\x1f]/);
  assert.deepEqual(
    server.logged().filter(({ level }) => level === 'error'),
    [],
  );
});

test('messages that do not fit on a full disk are refused and delivered to nobody, and the server goes on', async t => {
  if (skipUnlessLinux(t, 'tmpfs')) return;
  const directory = folder(t);
  if (spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=64k', 'tmpfs', directory]).status !== 0) {
    return t.skip(
      'mounting is not permitted; test/storage/fullDisk.test.ts has the same with a stub of a disk',
    );
  }
  const server = await startServerFor(t, '--data', directory);
  const { port } = server;
  const ballast = join(directory, 'ballast');
  writeFileSync(ballast, Buffer.alloc(40_000));
  const alice = await connectMember(port, 'alice', 'pond');
  const bob = await connectMember(port, 'bob', 'pond', { wire: 'tcp' });
  const newt = await connectTerminal(port, 'newt');
  newt.send('/join pond\n');
  await newt.linesUntil('* newt is here');
  await hearAll(alice);
  await hearAll(bob);
  await sayAll(alice, ['there is room']);
  await expectHeard(bob, said(4096, 'there is room'));
  const long = 'x'.repeat(30_000);
  alice.send(PacketCommand.NewMsg, long, { uid: 77 });
  assert.match(
    await alice.hear(),
    /^RESP_ERROR uid=77 p1=-1 p2=0 "not published, because it could not be stored: [^/]*"$/,
  );
  newt.send(`${long}\n`);
  assert.equal(await newt.line(), 'alice: there is room');
  assert.match((await newt.line()) ?? '', /^! not published, because it could not be stored: [^/]*$/);
  for (const client of [alice, bob]) assert.deepEqual(await hearAll(client), []);
  assert.deepEqual(await historyFor(port, 'carol', 'pond'), ['alice: there is room']);
  await hearAll(alice);
  await hearAll(bob);
  // Another room without a file, and a short message in this one, still work while there is space.
  writeFileSync(join(directory, 'ballast'), Buffer.alloc(60_000));
  const dave = await connectMember(port, 'dave', 'lake');
  await dave.hear();
  dave.send(PacketCommand.NewMsg, 'y'.repeat(20_000), { uid: 78 });
  assert.match(await dave.hear(), /^RESP_ERROR uid=78 p1=-1/);

  rmSync(ballast);
  await sayAll(alice, ['there is room again']);
  await expectHeard(bob, said(4096, 'there is room again'));
  dave.send(PacketCommand.NewMsg, 'here, too');
  assert.match(await dave.hear(), /^NEW_MSG .* "here, too"$/);
  assert.deepEqual(
    messagesIn(directory, 'pond').map(({ text }) => text),
    ['there is room', 'there is room again'],
  );
  await server.untilLogged(({ event }) => event === 'messages not written');
});

test('a deleted data folder is reported to the sender, and the server goes on', async t => {
  const directory = folder(t);
  const inner = join(directory, 'rooms');
  const { port } = await startServerFor(t, '--data', inner);
  rmSync(inner, { recursive: true });
  const alice = await connectMember(port, 'alice', 'pond');
  await alice.hear();
  alice.send(PacketCommand.NewMsg, 'hello?', { uid: 5 });
  assert.match(await alice.hear(), /^RESP_ERROR uid=5 p1=-1 p2=0 "not published/);
  assert.deepEqual(await hearAll(alice), []);
  assert.deepEqual(readdirSync(directory), []);
});

test('a second server on the folder is refused with a sentence', async t => {
  const directory = folder(t);
  await startServerFor(t, '--data', directory);
  const options = ['-p', '0', '--host', '127.0.0.1', '--data', directory];
  const { status, stderr } = spawnSync(process.execPath, [serverScript, ...options], { encoding: 'utf8' });
  assert.equal(status, 1);
  assert.match(
    stderr,
    /^pollywog: another server uses \S+; stop that server, or choose another directory with --data\n$/,
  );
});
