/** Members who do not read are closed, and the others get everything in order. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { PacketCommand } from '../../../src/protocol/tpacket.ts';
import { connectMember, packetBytes } from '../../support/chatClient.ts';
import { type OriginalModel, watch } from '../../support/originalModel.ts';
import { startServerFor } from '../../support/serverProcess.ts';

for (const size of [2000, 300]) {
  test(`members over TCP who write without reading leave after their messages, ${size} bytes each, are delivered`, {
    timeout: 60_000,
  }, async t => {
    const server = await startServerFor(t, '--max-buffered', '64KB', '--log-level', 'warn');
    const deaf = [];
    for (const nick of ['deaf1', 'deaf2', 'deaf3']) {
      const client = await connectMember(server.port, nick, 'pond', { wire: 'tcp' });
      client.socket.pause();
      deaf.push(client);
    }
    const witnesses: OriginalModel[] = [];
    const present = () => witnesses[0]!.users;
    for (const wire of ['tcp', 'websocket', 'tcp'] as const) {
      const client = await connectMember(server.port, `witness ${witnesses.length}`, 'pond', { wire });
      witnesses.push(watch(client));
    }
    for (const model of witnesses)
      await model.until(() => model.users.size === deaf.length + witnesses.length);
    const speaker = await connectMember(server.port, 'speaker', 'pond');
    speaker.onPacket = () => {};
    await witnesses[0]!.until(() => present().size === deaf.length + witnesses.length + 1);
    const text = packetBytes(PacketCommand.NewMsg, 'x'.repeat(size));
    const burst = Buffer.concat(Array.from({ length: Math.ceil(30_000 / size) }, () => text));
    // Each writes while the server reads from it, and gets its own messages and the others'. The server stops reading from members
    // who do not read, so another client talks as well.
    while (present().size > witnesses.length + 1 && witnesses.every(model => model.fault() === undefined)) {
      const before = witnesses[0]!.count();
      for (const { socket } of deaf) {
        if (socket.writable && socket.writableLength < 1_000_000) socket.write(burst);
      }
      speaker.send(PacketCommand.NewMsg, 'can you hear me?');
      await witnesses[0]!.until(() => witnesses[0]!.count() > before);
    }
    for (const model of witnesses) {
      await model.until(() => model.users.size === witnesses.length + 1 || model.fault() !== undefined);
      assert.equal(model.fault(), undefined);
    }
    t.diagnostic(`${witnesses[0]!.messages.length} messages were heard`);
    // The listener is 0.
    for (const deafId of [1, 2, 3]) {
      await server.untilLogged(({ event, id }) => event === 'slow consumer closed' && id === deafId);
    }
    for (const { socket } of deaf) socket.destroy();
  });
}

test('hundreds of members who do not read are closed together', { timeout: 60_000 }, async t => {
  const server = await startServerFor(t, '--max-buffered', '64KB', '--log-level', 'warn');
  const total = 300;
  const deaf = await Promise.all(
    Array.from({ length: total }, async (_, i) => {
      const client = await connectMember(server.port, `deaf ${i}`, 'pond', { wire: 'tcp' });
      client.onPacket = () => {};
      client.socket.pause();
      return client;
    }),
  );
  const speaker = await connectMember(server.port, 'speaker', 'pond');
  const model = watch(speaker);
  await model.until(() => model.users.size === total + 1);
  const text = 'x'.repeat(60_000);
  let sent = 0;
  while (model.users.size > 1) {
    speaker.send(PacketCommand.NewMsg, text);
    sent++;
    await model.until(() => model.messages.length === sent);
    assert.equal(model.messages.length, sent);
    model.messages.splice(0, model.messages.length - 1, ...Array.from({ length: sent - 1 }, () => ''));
  }
  assert.equal(model.fault(), undefined);
  t.diagnostic(`all were gone after ${sent} messages of 60,000 bytes`);
  assert.deepEqual(
    server.logged().filter(({ level }) => level === 'error'),
    [],
  );
  for (const { socket } of deaf) socket.destroy();
});
