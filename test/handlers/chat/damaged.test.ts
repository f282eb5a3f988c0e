/** A room with a large, damaged file: on every wire, only the clients that enter it have to wait. */
import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { PacketCommand } from '../../../src/protocol/tpacket.ts';
import {
  type ChatClient,
  connectMember,
  connectUser,
  hearAll,
  magicPacket,
  packetBytes,
} from '../../support/chatClient.ts';
import { commandWays, type OpenServer, openServer } from '../../support/commandWays.ts';
import { roundTrip } from '../../support/echoProbe.ts';
import { connectTerminal, linesSoFar } from '../../support/lineClient.ts';
import { openPolled, pollMany, post } from '../../support/pollClient.ts';
import { connectRaw } from '../../support/rawClient.ts';
import { temporaryFolder } from '../../support/temporaryFolder.ts';

const overHttp = commandWays.find(({ name }) => name === 'HTTP, as JSON')!;
const ask = (server: OpenServer, words: readonly string[]) => overHttp.call(server, words);
const rows = async (server: OpenServer, ...words: string[]) =>
  JSON.parse((await ask(server, [...words, '--json'])).stdout) as Record<string, unknown>[];

const line = (text: string) =>
  `${JSON.stringify({ time: '2030-01-02T03:04:05.678Z', uid: 4096, nick: 'old', text })}\n`;

/** A folder with files of 4 MB for some rooms: valid messages, followed by damage. */
function damagedRooms(...rooms: string[]): string {
  const directory = temporaryFolder();
  for (const room of rooms)
    writeFileSync(join(directory, `${room}.jsonl`), line(`in ${room}`) + 'garbage\n'.repeat(500_000));
  return directory;
}

const lastLine = (directory: string, room: string) =>
  readFileSync(join(directory, `${room}.jsonl`), 'utf8')
    .trimEnd()
    .split('\n')
    .at(-1)!;

const isLogged = (text: string) => text.startsWith('LOGGED_MSG');

test('loading a damaged history delays the newcomer only, who loses nothing', async t => {
  const server = await openServer(t, '--data', damagedRooms('pond'));
  const probe = await connectRaw(server.port, { path: '/echo' });
  for (const wire of ['websocket', 'tcp'] as const) {
    const ada = await connectUser(server.port, `ada ${wire}`, { wire });
    // Later packets wait, too.
    ada.send(PacketCommand.SetRoom, 'pond', { uid: 2 });
    ada.send(PacketCommand.NewMsg, 'hello', { uid: 3 });
    const isIn = () => ada.pending.length > 0;
    let trips = 0;
    for (; !isIn(); trips++) await roundTrip(probe);
    if (wire === 'websocket') assert.ok(trips > 10, `${trips} round trips`);
    assert.equal(await ada.hear(), 'RESP_OK uid=2 p1=0 p2=0');
    assert.match(await ada.hear(), /^NEW_USER /);
    assert.match(await ada.hear(), /^LOGGED_MSG .*"old: in pond"$/);
    while (!/^NEW_MSG .*"hello"$/.test(await ada.hear())) {}
    await ada.leave();
  }
});

test('newcomers on every wire enter as soon as their rooms are loaded', async t => {
  const data = damagedRooms('pond', 'lake', 'lobby', 'sea');
  const server = await openServer(t, '--data', data);
  const newt = await connectTerminal(server.port, 'newt');
  newt.send('/join lake\n/who\nhello, lake\n');
  const members = await Promise.all(
    ['pond', 'lake', 'pond', 'lake', 'healthy'].flatMap((room, i) =>
      (['websocket', 'tcp'] as const).map(wire =>
        connectMember(server.port, `${room} ${i} ${wire}`, room, { wire }),
      ),
    ),
  );
  const polled = await openPolled(server.port, 'tpacket');
  const nick = packetBytes(PacketCommand.SetUserNick, 'polly', { uid: 1 });
  const enter = packetBytes(PacketCommand.SetRoom, 'sea', { uid: 2 });
  await post(server.port, polled, Buffer.concat([magicPacket, nick, enter]));
  const { messages } = await pollMany(server.port, polled, 4);
  const last = Buffer.from(messages[3]?.binary ?? '', 'base64');
  assert.deepEqual(
    [last.readInt32LE(12), last.toString('utf8', 24)],
    [PacketCommand.LoggedMsg, 'old: in sea'],
  );
  const heard = async (client: ChatClient) => (await hearAll(client)).filter(isLogged);
  for (const client of members) {
    const room = client.name.split(' ')[0];
    const [first] = await heard(client);
    if (room === 'healthy') assert.equal(first, undefined);
    else assert.match(first ?? '', new RegExp(`"old: in ${room}"$`), client.name);
  }
  const lines = await linesSoFar(newt);
  assert.ok(lines.includes('old: in lobby'), lines.join());
  assert.ok(lines.includes('old: in lake'), lines.join());
  assert.ok(
    lines.some(text => text.includes('in lake: ')),
    '/who waits until newt is there',
  );
  assert.match(lastLine(data, 'lake'), /"nick":"newt","text":"hello, lake"\}$/);
});

test('a client that leaves during loading does not hinder the next one', async t => {
  const server = await openServer(t, '--data', damagedRooms('pond'));
  for (let i = 0; i < 20; i++) {
    const ada = await connectUser(server.port, `ada ${i}`, { wire: i % 2 === 0 ? 'websocket' : 'tcp' });
    ada.send(PacketCommand.SetRoom, 'pond', { uid: 2 });
    ada.socket.resetAndDestroy();
  }
  const bob = await connectMember(server.port, 'bob', 'pond');
  assert.match((await hearAll(bob)).find(isLogged) ?? '', /"old: in pond"$/);
});

test('`history` waits for a loading room; `publish` does not, and its message comes after the history', async t => {
  const data = damagedRooms('pond', 'lake');
  const server = await openServer(t, '--data', data);
  const expected = [
    { from: 'old', text: 'in lake' },
    { from: 'server', text: 'news' },
  ];
  assert.equal((await ask(server, ['publish', 'lake', 'news'])).stdout.split('\n')[0], 'sent: 0');
  assert.deepEqual(await rows(server, 'history', 'lake'), expected);
  const ada = await connectUser(server.port, 'ada');
  ada.send(PacketCommand.SetRoom, 'pond', { uid: 2 });
  const [told] = await Promise.all([
    ask(server, ['publish', 'pond', 'while it is read']),
    ask(server, ['history', 'pond']),
  ]);
  assert.match(told.stdout, /^sent: [01]\n/);
  assert.equal(await ada.hear(), 'RESP_OK uid=2 p1=0 p2=0');
  const logged = (await hearAll(ada)).filter(isLogged).map(text => text.slice(text.indexOf('"')));
  assert.deepEqual(logged, ['"old: in pond"', '"server: while it is read"']);
  assert.match(lastLine(data, 'pond'), /"text":"while it is read"\}$/);
});
