/** Whole sessions of the original client, compared with the transcripts in golden/. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { type TestContext, test } from 'node:test';
import { PacketCommand } from '../../../src/protocol/tpacket.ts';
import {
  binary,
  type ChatClient,
  connectChat,
  hearAll,
  magicPacket,
  packetBytes,
  sayNick,
} from '../../support/chatClient.ts';
import { startServerFor } from '../../support/serverProcess.ts';

function golden(name: string): string {
  return readFileSync(new URL(`../../../../test/handlers/chat/golden/${name}.txt`, import.meta.url), 'utf8');
}

async function compare(transcript: string[], name: string, ...clients: ChatClient[]): Promise<void> {
  for (const client of clients) assert.deepEqual(await hearAll(client), [], `${client.name} hears no more`);
  assert.equal(`${transcript.join('\n')}\n`, golden(name));
}

async function hearTimes(client: ChatClient, times: number): Promise<void> {
  for (let i = 0; i < times; i++) await client.hear();
}

/** Connects as the original does: without a subprotocol, on any path, sending the magic and the nick without waiting. */
function connectOriginal(port: number, name: string, transcript: string[]): Promise<ChatClient> {
  const nick = packetBytes(PacketCommand.SetUserNick, name, { uid: 7 });
  transcript.push(`${name} > handshake, magic, SET_USER_NICK uid=7 "${name}"`);
  return connectChat(port, name, { path: '/', first: [binary(magicPacket), binary(nick)], transcript });
}

const original = (t: TestContext) => startServerFor(t, '--default-handler', 'tpacket');

test('three original clients can enter, talk and leave', async t => {
  const { port } = await original(t);
  const transcript: string[] = [];
  const alice = await connectOriginal(port, 'alice', transcript);
  await alice.hear();
  alice.send(PacketCommand.SetRoom, 'tadpoles', { uid: 8 });
  await hearTimes(alice, 2);
  alice.send(PacketCommand.NewMsg, 'is anybody here?', { uid: 9 });
  await alice.hear();

  const bob = await connectOriginal(port, 'bob', transcript);
  await bob.hear();
  bob.send(PacketCommand.SetRoom, 'tadpoles', { uid: 8 });
  await hearTimes(bob, 4);
  await alice.hear();
  bob.send(PacketCommand.NewMsg, 'me — Grüße 🐸');
  await hearTimes(alice, 1);
  await hearTimes(bob, 1);

  const carol = await connectOriginal(port, 'carol', transcript);
  await carol.hear();
  carol.send(PacketCommand.SetRoom, 'tadpoles', { uid: 8 });
  await hearTimes(carol, 6);
  await alice.hear();
  await bob.hear();
  carol.send(PacketCommand.NewMsg, '');
  for (const client of [alice, bob, carol]) await client.hear();

  transcript.push('bob leaves');
  await bob.leave();
  await alice.hear();
  await carol.hear();
  transcript.push('alice breaks off');
  alice.socket.resetAndDestroy();
  await carol.hear();
  assert.deepEqual(await hearAll(carol), []);
  transcript.push('carol leaves, and comes again');
  await carol.leave();

  const again = await connectOriginal(port, 'carol', transcript);
  await again.hear();
  again.send(PacketCommand.SetRoom, 'tadpoles', { uid: 8 });
  await hearTimes(again, 5);
  await compare(transcript, 'three', again);
});

test('each refused request gets a sentence, and the client can go on', async t => {
  const { port } = await original(t);
  const transcript: string[] = [];
  const alice = await connectOriginal(port, 'alice', transcript);
  await alice.hear();
  const bob = await connectChat(port, 'bob', { path: '/', transcript });
  sayNick(bob, 'ALICE', 11);
  await bob.hear();
  const refusedNicks = ['', ' bob', 'b\0b', 'b\u200bb', 'b'.repeat(33), Buffer.from('c080', 'hex')];
  for (const nick of refusedNicks) {
    bob.send(PacketCommand.SetUserNick, nick, { uid: 12 });
    await bob.hear();
  }
  for (const cmd of [PacketCommand.SetRoom, PacketCommand.NewMsg, PacketCommand.RespOk, 9, -1]) {
    bob.send(cmd, 'too early', { uid: 13 });
    await bob.hear();
  }
  bob.send(PacketCommand.SetUserNick, 'bob', { uid: -2_147_483_648 });
  await bob.hear();
  bob.send(PacketCommand.NewMsg, 'too early', { uid: 2_147_483_647 });
  await bob.hear();
  bob.send(PacketCommand.SetUserNick, 'bobby', { uid: -1 });
  await bob.hear();
  for (const room of ['', 'two\nlines', 'r'.repeat(33)]) {
    bob.send(PacketCommand.SetRoom, room, { uid: 14 });
    await bob.hear();
  }
  bob.send(PacketCommand.SetRoom, 'pond', { uid: 0 });
  await hearTimes(bob, 2);
  bob.send(PacketCommand.SetRoom, 'pond', { uid: 15 });
  await bob.hear();
  bob.send(PacketCommand.SetRoom, 'lake', { uid: 16 });
  await bob.hear();
  for (const cmd of [3, 4, 5, 6, 8, 9, -1, 2_147_483_647, -2_147_483_648]) {
    bob.send(cmd, 'not for clients', { uid: 17 });
    await bob.hear();
  }
  bob.send(PacketCommand.NewMsg, Buffer.from('eda080', 'hex'), { uid: 18 });
  await bob.hear();
  bob.send(PacketCommand.Nop, 'ignored', { uid: 19 });
  await compare(transcript, 'refused', alice, bob);
});

test('each kind of packet has the bytes of the original', async t => {
  const { port } = await original(t);
  const hex = (packet: { bytes: Buffer } | undefined) => packet?.bytes.toString('hex');
  // As the original client sends it: Ej8@, uid, size, cmd, p1, p2, blob.
  const magic =
    '456a3840' +
    '00000000' +
    '26000000' +
    '00000000' +
    '00000000' +
    '00000000' +
    '6d6167696320737472696e67203a29';
  const setNick = '456a3840' + '01000000' + '1b000000' + '01000000' + '00000000' + '00000000' + '7acfbb';
  const setRoom = '456a3840' + '02000000' + '19000000' + '02000000' + '00000000' + '00000000' + '72';
  const newMsg = '456a3840' + '03000000' + '1a000000' + '07000000' + '00000000' + '00000000' + '6869';
  const ann = await connectChat(port, 'ann', { path: '/' });
  for (const bytes of [magic.replace('26000000', '27000000'), setNick, setRoom, newMsg]) {
    ann.sendBytes(Buffer.from(bytes, 'hex'));
  }
  assert.equal(hex(await ann.next()), '456a384001000000180000000300000000000000' + '00000000', 'RESP_OK');
  assert.equal(hex(await ann.next()), '456a384002000000180000000300000000000000' + '00000000', 'RESP_OK');
  assert.equal(
    hex(await ann.next()),
    '456a3840ffffffff1b000000050000000010000000000000' + '7acfbb',
    'NEW_USER',
  );
  assert.equal(hex(await ann.next()), '456a3840ffffffff1a000000070000000010000000000000' + '6869', 'NEW_MSG');
  ann.send(PacketCommand.NewUser, '', { uid: 0x01020304 });
  const refused = Buffer.from('unknown command 5').toString('hex');
  assert.equal(hex(await ann.next()), `456a3840040302012900000004000000ffffffff00000000${refused}`);

  const bob = await connectChat(port, 'bob', { path: '/' });
  bob.sendBytes(magicPacket);
  for (const bytes of [setNick.replace('7acfbb', '626f62'), setRoom])
    bob.sendBytes(Buffer.from(bytes, 'hex'));
  for (let i = 0; i < 4; i++) await bob.next();
  const line = Buffer.from('zϻ: hi').toString('hex');
  assert.equal(
    hex(await bob.next()),
    `456a3840ffffffff1f000000080000000000000000000000${line}`,
    'LOGGED_MSG',
  );
  await ann.next();
  await bob.leave();
  assert.equal(
    hex(await ann.next()),
    '456a3840ffffffff1b000000060000000110000000000000' + '626f62',
    'DEL_USER',
  );
});

test('plain TCP, byte by byte, has the same effect as WebSocket', async t => {
  const { port } = await original(t);
  const whole = Buffer.concat([
    magicPacket,
    packetBytes(PacketCommand.SetUserNick, 'alice', { uid: 1 }),
    packetBytes(PacketCommand.SetRoom, 'tadpoles', { uid: 2 }),
    packetBytes(PacketCommand.NewMsg, 'one'),
    packetBytes(PacketCommand.NewMsg, 'two'),
  ]);
  for (const size of [1, 3, 23, 24, 25, whole.length]) {
    const alice = await connectChat(port, 'alice', { wire: 'tcp' });
    for (let at = 0; at < whole.length; at += size) {
      alice.sendBytes(whole.subarray(at, at + size));
      await new Promise(setImmediate);
    }
    const heard: string[] = [];
    while (!heard.at(-1)?.endsWith('"two"') || heard.at(-1)?.startsWith('LOGGED'))
      heard.push(await alice.hear());
    const numbered = heard
      .filter(text => !text.startsWith('LOGGED'))
      .map(text => text.replace(/p1=4\d+/, 'p1=4096'));
    assert.deepEqual(numbered, [
      'RESP_OK uid=1 p1=0 p2=0',
      'RESP_OK uid=2 p1=0 p2=0',
      'NEW_USER uid=-1 p1=4096 p2=0 "alice"',
      'NEW_MSG uid=-1 p1=4096 p2=0 "one"',
      'NEW_MSG uid=-1 p1=4096 p2=0 "two"',
    ]);
    await alice.leave();
  }
});
