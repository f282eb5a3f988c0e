/** Packets that no honest client sends: each gets its answer, and no other client is affected. */
import assert from 'node:assert/strict';
import { mkdirSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { PacketCommand } from '../../../src/protocol/tpacket.ts';
import {
  binary,
  type ChatClient,
  connectChat,
  connectMember,
  connectUser,
  expectHeard,
  hearAll,
  magicPacket,
  packetBytes,
  said,
} from '../../support/chatClient.ts';
import { skipUnlessLinux } from '../../support/linux.ts';
import { MiB, openDescriptors, residentMemory } from '../../support/processState.ts';
import { type ServerProcess, startServerFor } from '../../support/serverProcess.ts';
import { temporaryFolder } from '../../support/temporaryFolder.ts';

const maxBlob = 65_536;

/** A client in the lobby that talks to itself before and after. */
async function newWitness(port: number): Promise<{ client: ChatClient; check(): Promise<void> }> {
  const client = await connectMember(port, 'witness', 'lobby');
  await expectHeard(client, 'NEW_USER uid=-1 p1=4096 p2=0 "witness"');
  return {
    client,
    async check() {
      client.send(PacketCommand.NewMsg, 'I see nothing');
      await expectHeard(client, said(4096, 'I see nothing'));
      assert.deepEqual(await hearAll(client), []);
    },
  };
}

const noFaults = (server: ServerProcess) =>
  assert.deepEqual(
    server.logged().filter(({ level }) => level === 'error'),
    [],
  );

const header = packetBytes(PacketCommand.NewMsg, 'hello');

/** The content of one message, and how the connection ends. */
const violations: readonly (readonly [string, Buffer, string])[] = [
  ...[0, 1, 23, -1, -24, -(2 ** 31)].map(
    size =>
      [
        `a size of ${size}`,
        packetBytes(PacketCommand.NewMsg, 'hello', { size }),
        `1008 a packet is at least 24 bytes, not ${size}`,
      ] as const,
  ),
  ...[24 + maxBlob + 1, 2 ** 31 - 1].map(
    size =>
      [
        `a size of ${size}`,
        packetBytes(PacketCommand.NewMsg, 'hello', { size }),
        `1008 a packet carries at most ${maxBlob} bytes`,
      ] as const,
  ),
  [
    'a size of one too many',
    packetBytes(PacketCommand.NewMsg, 'hello', { size: 30 }),
    '1008 the message ends within a packet',
  ],
  [
    'a size of one too few',
    packetBytes(PacketCommand.Nop, 'hello', { size: 28 }),
    '1008 not a packet: its signature is not Ej8@',
  ],
  ...[1, 3, 4, 11, 12, 23, 24, 28].map(
    end =>
      [
        `a packet cut after ${end} bytes`,
        header.subarray(0, end),
        '1008 the message ends within a packet',
      ] as const,
  ),
  [
    'a wrong signature',
    Buffer.from('hello, is this a chat? Is it?'),
    '1008 not a packet: its signature is not Ej8@',
  ],
  ['a message of more than 16 MiB', Buffer.alloc(16 * MiB + 1), '1009'],
];

test('an invalid packet ends its connection with the reason, and affects no other', {
  timeout: 60_000,
}, async t => {
  const server = await startServerFor(t);
  const witness = await newWitness(server.port);
  for (const [name, bytes, end] of violations) {
    const eve = await connectMember(server.port, 'eve', 'cellar');
    await eve.hear();
    // Packets before it in the same message are processed.
    if (end !== '1009') eve.sendBytes(Buffer.concat([packetBytes(99, '', { uid: 1 }), bytes]));
    else eve.sendBytes(bytes);
    if (end !== '1009') await expectHeard(eve, 'RESP_ERROR uid=1 p1=-1 p2=0 "unknown command 99"');
    const heard = await eve.hear();
    assert.ok(heard.startsWith(`(${end}`), `${name}: ${heard}`);
    await witness.check();
  }
  noFaults(server);
});

test('over TCP, an invalid size ends the connection at once', { timeout: 60_000 }, async t => {
  const server = await startServerFor(t);
  const witness = await newWitness(server.port);
  for (const size of [0, 23, -1, -(2 ** 31), 24 + maxBlob + 1, 2 ** 31 - 1]) {
    const eve = await connectMember(server.port, 'eve', 'cellar', { wire: 'tcp' });
    await eve.hear();
    eve.sendBytes(packetBytes(PacketCommand.NewMsg, '', { size }).subarray(0, 12));
    assert.match(await eve.hear(), /^RESP_ERROR uid=-1 p1=-1 p2=0 "a packet (is at least|carries at most)/);
    assert.equal(await eve.hear(), '(FIN)');
    await witness.check();
  }
  noFaults(server);
});

test('a message can carry a hundred packets', { timeout: 60_000 }, async t => {
  const { port } = await startServerFor(t);
  const alice = await connectChat(port, 'alice');
  const all = [
    magicPacket,
    packetBytes(PacketCommand.SetUserNick, 'alice', { uid: 1 }),
    packetBytes(PacketCommand.SetRoom, 'r', { uid: 2 }),
  ];
  for (let i = all.length; i < 100; i++) all.push(packetBytes(PacketCommand.NewMsg, `message ${i}`));
  alice.sendBytes(Buffer.concat(all));
  await expectHeard(
    alice,
    'RESP_OK uid=1 p1=0 p2=0',
    'RESP_OK uid=2 p1=0 p2=0',
    'NEW_USER uid=-1 p1=4096 p2=0 "alice"',
  );
  for (let i = 3; i < 100; i++) await expectHeard(alice, said(4096, `message ${i}`));
  assert.deepEqual(await hearAll(alice), []);
});

test('a million NOPs have no effect, and others are served in the meantime', { timeout: 60_000 }, async t => {
  const server = await startServerFor(t);
  const witness = await newWitness(server.port);
  const eve = await connectMember(server.port, 'eve', 'cellar');
  await eve.hear();
  const perMessage = 43_690;
  const message = binary(
    Buffer.concat(Array.from({ length: perMessage }, () => packetBytes(PacketCommand.Nop))),
  );
  for (let sent = 0; sent < 1_000_000; sent += perMessage) {
    eve.socket.write(message);
    await witness.check();
  }
  assert.deepEqual(await hearAll(eve), []);
  noFaults(server);
});

test('the longest text reaches everyone unchanged', { timeout: 60_000 }, async t => {
  const { port } = await startServerFor(t);
  const { client: witness } = await newWitness(port);
  const eve = await connectMember(port, 'e'.repeat(32), 'lobby');
  await eve.hear();
  await eve.hear();
  await witness.hear();
  const text = '🐸'.repeat(maxBlob / 4);
  eve.send(PacketCommand.NewMsg, text);
  for (const client of [witness, eve]) assert.equal((await client.next())?.blob.toString(), text);
  const later = await connectMember(port, 'later', 'lobby');
  for (let i = 0; i < 3; i++) await later.hear();
  assert.equal((await later.next())?.blob.toString(), `${'e'.repeat(32)}: ${text}`);
});

/** A folder that is alone in a temporary folder. */
function nestedFolder(): { outer: string; data: string } {
  const outer = temporaryFolder();
  const data = join(outer, 'a', 'b', 'data');
  mkdirSync(data, { recursive: true });
  return { outer, data };
}

test('rooms with names like paths write nothing outside the data folder, and names that no channel can have are refused', {
  timeout: 60_000,
}, async t => {
  const { outer, data } = nestedFolder();
  const server = await startServerFor(t, '--data', data);
  const rooms = [
    '..\\..\\x',
    '-rf',
    'a/b',
    'A.jsonl',
    'con',
    '*',
    '%2e%2e',
    '~root',
    '$(id)',
    'lobby.1',
    '🐸',
    'x'.repeat(32),
    '🐸'.repeat(32),
  ];
  for (const room of rooms) {
    const eve = await connectMember(server.port, 'eve', room);
    await eve.hear();
    eve.send(PacketCommand.NewMsg, `this is ${room}`);
    assert.match(await eve.hear(), /^NEW_MSG /);
    await eve.leave();
  }
  for (const room of ['../../etc/passwd', '..', '.', '/etc/passwd', '/']) {
    const eve = await connectUser(server.port, 'eve');
    eve.send(PacketCommand.SetRoom, room, { uid: 2 });
    assert.match(await eve.hear(), /^RESP_ERROR uid=2 p1=-1 p2=0 "the parts of a channel name/);
    await eve.leave();
  }
  const inside = readdirSync(data).length;
  assert.equal(readdirSync(outer, { recursive: true }).length, 3 + inside, 'nothing is outside');
  for (const room of rooms) {
    const eve = await connectMember(server.port, 'eve', room);
    await eve.hear();
    await expectHeard(eve, `LOGGED_MSG uid=-1 p1=0 p2=0 ${JSON.stringify(`eve: this is ${room}`)}`);
    await eve.leave();
  }
  noFaults(server);
});

const rooms = 10_000;

for (const data of [false, true]) {
  test(`${rooms} rooms, entered one after the other, leave little memory in use ${data ? '(with --data)' : ''}`, {
    timeout: 60_000,
  }, async t => {
    if (skipUnlessLinux(t, '/proc')) return;
    const options = data ? ['--data', nestedFolder().data] : [];
    const server = await startServerFor(t, ...options, '--log-level', 'warn');
    const witness = await newWitness(server.port);
    const descriptors = openDescriptors(server.pid);
    const memory = residentMemory(server.pid);
    let next = 0;
    const visit = async (nick: string) => {
      while (next < rooms) {
        const room = `room ${next++}`;
        const bytes = [
          magicPacket,
          packetBytes(PacketCommand.SetUserNick, nick),
          packetBytes(PacketCommand.SetRoom, room),
          packetBytes(PacketCommand.NewMsg, 'x'.repeat(1000)),
        ];
        const client = await connectChat(server.port, nick, { wire: 'tcp', first: [Buffer.concat(bytes)] });
        let heard = '';
        while (!heard.startsWith('NEW_MSG')) heard = await client.hear();
        await client.leave();
      }
    };
    await Promise.all(Array.from({ length: 20 }, (_, i) => visit(`visitor ${i}`)));
    await witness.check();
    const grown = residentMemory(server.pid) - memory;
    t.diagnostic(
      `${data ? 'with' : 'without'} --data: ${(grown / MiB).toFixed(1)} MiB more after ${rooms} rooms`,
    );
    assert.ok(grown < 100 * MiB);
    assert.ok(openDescriptors(server.pid) <= descriptors + 2, 'no room keeps a file open');
    noFaults(server);
  });
}
