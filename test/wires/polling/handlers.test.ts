/** Handlers serve polling clients and WebSocket clients together. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { PacketCommand } from '../../../src/protocol/tpacket.ts';
import {
  connectMember,
  hearUntil,
  magicPacket,
  packetBytes,
  said,
  shown,
  splitPackets,
} from '../../support/chatClient.ts';
import { openPolled, openStream, pollMany, pollOnce, post } from '../../support/pollClient.ts';
import { connectRaw } from '../../support/rawClient.ts';
import { frame, opcode } from '../../support/rawFrame.ts';
import { startServerFor } from '../../support/serverProcess.ts';

const patience = { timeout: 60_000 };

describe('handlers of polling clients', () => {
  test('are chosen by the path or ?protocol=, or are the default handler', patience, async t => {
    const { port } = await startServerFor(t, '--default-handler', 'broadcast', '--log-level', 'debug');
    const named = {
      echo: 'echo',
      'echo/further': 'echo',
      '?protocol=echo': 'echo',
      'x?protocol=echo': 'echo',
    };
    for (const path of [...Object.keys(named), 'unknown']) {
      const session = await openPolled(port, path);
      await post(port, session, path);
      assert.deepEqual((await pollOnce(port, session, 0)).messages, [{ seq: 1, text: path }], path);
    }
    const [one, other] = [await openPolled(port, ''), await openPolled(port, 'broadcast')];
    await post(port, one, 'to all');
    assert.deepEqual((await pollOnce(port, other, 0)).messages, [{ seq: 1, text: 'to all' }]);
  });

  test('broadcast to polls, event streams and WebSockets in the same order', patience, async t => {
    const { port } = await startServerFor(t);
    const polled = await openPolled(port, 'broadcast');
    const streamed = await openPolled(port, 'broadcast');
    const stream = await openStream(port, streamed);
    const socket = await connectRaw(port, { path: '/broadcast' });
    const count = 300;
    for (let number = 0; number < count; number += 3) {
      socket.send(frame(opcode.text, Buffer.from(`${number}`)));
      assert.equal((await socket.nextFrame())?.payload.toString(), `${number}`);
      await post(port, polled, `${number + 1}`);
      assert.equal((await socket.nextFrame())?.payload.toString(), `${number + 1}`);
      await post(port, streamed, `${number + 2}`);
      assert.equal((await socket.nextFrame())?.payload.toString(), `${number + 2}`);
    }
    const all = Array.from({ length: count }, (_, number) => `${number}`);
    const { messages } = await pollMany(port, polled, count);
    assert.deepEqual(
      messages,
      all.map((text, index) => ({ seq: index + 1, text })),
    );
    await stream.until(`"${count - 1}"}\n\n`);
    assert.deepEqual(
      [...stream.text().matchAll(/"text":"(\d+)"/g)].map(([, text]) => text),
      all,
    );
    stream.socket.destroy();
    await socket.end();
  });

  test(
    'send a large message compressed to clients that support it, and plain to the others',
    patience,
    async t => {
      const { port } = await startServerFor(t);
      const polled = await openPolled(port, 'broadcast');
      const socket = await connectRaw(port, {
        path: '/broadcast',
        headers: { 'Sec-WebSocket-Extensions': 'permessage-deflate' },
      });
      const text = 'pond '.repeat(100_000);
      await post(port, polled, text);
      assert.deepEqual((await pollOnce(port, polled, 0)).messages, [{ seq: 1, text }]);
      const deflated = await socket.nextFrame();
      assert.ok(deflated!.payload.length < 10_000);
      socket.destroy();
    },
  );

  test('let a poll and a WebSocket chat in one room', patience, async t => {
    const { port } = await startServerFor(t);
    const bo = await connectMember(port, 'Bo', 'pond');
    const session = await openPolled(port, 'tpacket');
    await post(
      port,
      session,
      Buffer.concat([magicPacket, packetBytes(PacketCommand.SetUserNick, 'Ada', { uid: 1 })]),
    );
    await post(port, session, packetBytes(PacketCommand.SetRoom, 'pond', { uid: 2 }));
    const { messages } = await pollMany(port, session, 4);
    const packets = messages.flatMap(({ binary }) => splitPackets(Buffer.from(binary!, 'base64')).packets);
    assert.deepEqual(packets.map(shown), [
      'RESP_OK uid=1 p1=0 p2=0',
      'RESP_OK uid=2 p1=0 p2=0',
      'NEW_USER uid=-1 p1=4096 p2=0 "Bo"',
      'NEW_USER uid=-1 p1=4097 p2=0 "Ada"',
    ]);
    await post(port, session, packetBytes(PacketCommand.NewMsg, 'hello'));
    await hearUntil(bo, said(4097, 'hello'));
    bo.send(PacketCommand.NewMsg, 'hi');
    const heard = await pollMany(port, session, 2, 4);
    const texts = heard.messages.map(({ binary }) => Buffer.from(binary!, 'base64').subarray(24).toString());
    assert.deepEqual(texts, ['hello', 'hi']);
    // A message that is not a packet ends the session with a reason.
    await post(port, session, 'text');
    const closed = await pollOnce(port, session, 6);
    assert.deepEqual(closed, {
      messages: [],
      closed: { code: 1003, reason: 'packets must be binary messages' },
    });
    assert.deepEqual(await pollOnce(port, session, 6), closed, 'that answer, too, may be lost');
    await hearUntil(bo, 'DEL_USER uid=-1 p1=4097 p2=0 "Ada"');
    await bo.leave();
  });
});
