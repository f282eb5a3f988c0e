/** The trust levels: what a client must send before it may send anything else. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { magic, PacketCommand } from '../../../src/protocol/tpacket.ts';
import {
  type ChatClient,
  connectChat,
  connectMember,
  connectUser,
  expectHeard,
  hearAll,
  magicPacket,
  packetBytes,
  said,
  sayNick,
} from '../../support/chatClient.ts';
import { frame, opcode } from '../../support/rawFrame.ts';
import { startServerFor } from '../../support/serverProcess.ts';

const wires = ['websocket', 'tcp'] as const;

/** A violation ends the connection with the reason: over WebSocket in a close frame (1008), over TCP in a RESP_ERROR. */
async function assertEnded(client: ChatClient, wire: (typeof wires)[number], why: string): Promise<void> {
  const last =
    wire === 'tcp' ? [`RESP_ERROR uid=-1 p1=-1 p2=0 ${JSON.stringify(why)}`, '(FIN)'] : [`(1008 ${why})`];
  await expectHeard(client, ...last);
}

for (const wire of wires) {
  test(`anything but the magic ends the connection (${wire})`, async t => {
    const { port } = await startServerFor(t);
    const wrong = [
      packetBytes(PacketCommand.Nop, 'magic string :('),
      packetBytes(PacketCommand.Nop, `${magic}\0`),
      packetBytes(PacketCommand.Nop, magic.slice(0, -1)),
      packetBytes(PacketCommand.Nop),
      packetBytes(PacketCommand.SetUserNick, magic),
      packetBytes(PacketCommand.SetUserNick, 'alice'),
      packetBytes(PacketCommand.SetRoom, 'pond'),
      packetBytes(PacketCommand.NewMsg, 'hello'),
      packetBytes(-1, magic),
    ];
    for (const bytes of wrong) {
      const client = await connectChat(port, 'alice', { wire });
      client.sendBytes(Buffer.concat([bytes, magicPacket]));
      await assertEnded(client, wire, 'the first packet must be cmd 0 with the blob "magic string :)"');
    }
    if (wire === 'tcp') return;
    const client = await connectChat(port, 'alice');
    client.sendBytes(packetBytes(PacketCommand.Nop, magic, { signature: 'Ej8!' }));
    await assertEnded(client, wire, 'not a packet: its signature is not Ej8@');
  });

  test(`each level but the last has a deadline (${wire})`, async t => {
    const { port } = await startServerFor(t, '--handshake-timeout', '300ms');
    const patient = await connectUser(port, 'patient', { wire });
    const why = 'no magic string and nick within 0.3 s';
    if (wire === 'websocket') {
      const silent = await connectChat(port, 'silent', { wire });
      await assertEnded(silent, wire, why);
    }
    const nameless = await connectChat(port, 'nameless', {
      wire,
      first: wire === 'tcp' ? [magicPacket] : [],
    });
    if (wire === 'websocket') nameless.sendBytes(magicPacket);
    await assertEnded(nameless, wire, why);
    const refused = await connectChat(port, 'refused', { wire });
    sayNick(refused, 'patient');
    await expectHeard(refused, 'RESP_ERROR uid=1 p1=-1 p2=0 "the nick patient is taken"');
    await assertEnded(refused, wire, why);
    assert.deepEqual(await hearAll(patient), []);
  });

  test(`a nick is free again when its owner has left (${wire})`, async t => {
    const { port } = await startServerFor(t);
    const first = await connectUser(port, 'Frog', { wire });
    const second = await connectChat(port, 'second', { wire });
    sayNick(second, 'frog');
    await expectHeard(second, 'RESP_ERROR uid=1 p1=-1 p2=0 "the nick frog is taken"');
    await first.leave();
    second.send(PacketCommand.SetUserNick, 'frog', { uid: 5 });
    await expectHeard(second, 'RESP_OK uid=5 p1=0 p2=0');
    second.send(PacketCommand.SetRoom, 'pond', { uid: 6 });
    await expectHeard(second, 'RESP_OK uid=6 p1=0 p2=0', 'NEW_USER uid=-1 p1=4097 p2=0 "frog"');
  });

  test(`an answer has the uid of its request, whatever it is (${wire})`, async t => {
    const { port } = await startServerFor(t);
    const client = await connectUser(port, 'alice', { wire });
    for (const uid of [0, 1, -1, 2 ** 31 - 1, -(2 ** 31), 0x1000]) {
      client.send(99, '', { uid, p1: uid, p2: uid });
      await expectHeard(client, `RESP_ERROR uid=${uid} p1=-1 p2=0 "unknown command 99"`);
    }
  });

  test(`empty NOPs after the magic are ignored (${wire})`, async t => {
    const { port } = await startServerFor(t);
    const client = await connectChat(port, 'alice', { wire, first: wire === 'tcp' ? [magicPacket] : [] });
    if (wire === 'websocket') client.sendBytes(magicPacket);
    const nops = Buffer.concat(Array.from({ length: 100 }, () => packetBytes(PacketCommand.Nop)));
    client.sendBytes(nops);
    // At level 2 a blob is a nick; the original client sends it with either command.
    client.send(PacketCommand.Nop, 'alice', { uid: 3 });
    await expectHeard(client, 'RESP_OK uid=3 p1=0 p2=0');
    client.sendBytes(nops);
    client.send(PacketCommand.SetRoom, 'pond', { uid: 4 });
    client.sendBytes(nops);
    client.send(PacketCommand.NewMsg, 'hello');
    await expectHeard(
      client,
      'RESP_OK uid=4 p1=0 p2=0',
      'NEW_USER uid=-1 p1=4096 p2=0 "alice"',
      said(4096, 'hello'),
    );
  });
}

test('the magic in a text message is refused: packets must be binary messages [7.4.1-2]', async t => {
  const { port } = await startServerFor(t);
  const client = await connectChat(port, 'alice');
  client.socket.write(frame(opcode.text, magicPacket));
  await expectHeard(client, '(1003 packets must be binary messages)');
  const member = await connectMember(port, 'bob', 'pond');
  await member.hear();
  member.socket.write(frame(opcode.text, 'hello'));
  await expectHeard(member, '(1003 packets must be binary messages)');
});
