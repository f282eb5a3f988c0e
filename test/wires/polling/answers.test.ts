/** Answers to polls are encoded as their client reads them: large ones arrive whole, and none is kept as JSON. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { describe, test } from 'node:test';
import { pollWindow } from '../../../src/protocol/limits.ts';
import { roundTrip } from '../../support/echoProbe.ts';
import { skipUnlessLinux } from '../../support/linux.ts';
import {
  ask,
  openPolled,
  openStream,
  type Polled,
  pollMany,
  pollOnce,
  post,
  readAnswer,
  requestBytes,
} from '../../support/pollClient.ts';
import { MiB, peakMemory, residentMemory } from '../../support/processState.ts';
import { connectRaw, connectTcp, exchange } from '../../support/rawClient.ts';
import { frame, opcode } from '../../support/rawFrame.ts';
import { startServerFor } from '../../support/serverProcess.ts';

const patience = { timeout: 120_000 };

/** UTF-8 whose JSON is six times as long, with an end that shows whether it is complete. */
const controls = `${'\x01'.repeat(16 * MiB - 10)}€ "end"`;

for (const sockets of ['auto', 'stream']) {
  describe(`answers to polling clients, --sockets ${sockets}`, () => {
    test(
      'a message of 16 MiB of control characters arrives whole, by poll and by event stream',
      patience,
      async t => {
        if (skipUnlessLinux(t, '/proc')) return;
        const { port, pid } = await startServerFor(t, '--sockets', sockets);
        const session = await openPolled(port, 'echo');
        await post(port, session, controls);
        const before = residentMemory(pid);
        const { messages } = await pollOnce(port, session, 0);
        assert.ok(messages[0]?.text === controls);
        const stream = await openStream(port, session);
        await stream.ended;
        const data = /\ndata: (.*)\n\n$/.exec(stream.text())?.[1] ?? '';
        assert.ok((JSON.parse(data) as { text: string }).text === controls);
        const grown = (peakMemory(pid) - before) / MiB;
        t.diagnostic(`${grown.toFixed(1)} MiB more`);
        // As one JSON string it would take 96 MiB, or twice that.
        assert.ok(grown < 64, `${grown} MiB`);
      },
    );

    test('a message whose characters straddle the slices arrives whole', patience, async t => {
      const { port } = await startServerFor(t, '--sockets', sockets);
      const session = await openPolled(port, 'echo');
      const bytes = Buffer.alloc(1_000_001, 'pollywog');
      await post(port, session, bytes);
      const { messages } = await pollOnce(port, session, 0);
      assert.ok(bytes.equals(Buffer.from(messages[0]!.binary!, 'base64')));
    });

    test('a slow reader gets the whole answer, and others are served meanwhile', patience, async t => {
      const { port } = await startServerFor(t, '--sockets', sockets);
      const session = await openPolled(port, 'echo');
      const other = await connectRaw(port, { path: '/echo' });
      await post(port, session, controls);
      const socket = await connectTcp(port);
      socket.write(requestBytes('GET', session));
      const pieces: Buffer[] = [];
      for await (const piece of socket) if (pieces.push(piece) % 50 === 0) await roundTrip(other);
      const { body, isWhole } = readAnswer(Buffer.concat(pieces));
      assert.ok(isWhole);
      assert.ok((JSON.parse(body) as Polled).messages[0]?.text === controls);
      socket.destroy();
      other.destroy();
    });
  });
}

describe('the answer to a poll', () => {
  test('has the messages that fit into the window, and at least one', patience, async t => {
    const { port } = await startServerFor(t);
    const session = await openPolled(port, 'broadcast');
    const talker = await connectRaw(port, { path: '/broadcast' });
    const text = 'x'.repeat(100_000);
    // More than the window, in one turn.
    talker.send(...Array.from({ length: 5 }, () => frame(opcode.text, text)));
    for (let heard = 0; heard < 5; heard++) await talker.nextFrame();
    const first = await pollOnce(port, session, 0);
    const expected = Math.ceil(pollWindow / text.length);
    assert.deepEqual(
      first.messages.map(({ seq }) => seq),
      Array.from({ length: expected }, (_, index) => index + 1),
    );
    assert.equal((await ask(port, 'GET', `${session}?ack=${expected + 1}`)).status, 400, 'not sent yet');
    const rest = await pollMany(port, session, 5 - expected, expected);
    assert.deepEqual(rest.messages.at(-1), { seq: 5, text });
    talker.destroy();
  });

  test('reports the end of the session only after the last message', patience, async t => {
    const server = await startServerFor(t, '--max-buffered', '1');
    const { port } = server;
    const session = await openPolled(port, 'broadcast');
    const talker = await connectRaw(port, { path: '/broadcast' });
    for (let sent = 0; sent < 5; sent++) {
      talker.send(frame(opcode.text, 'x'.repeat(100_000)));
      await talker.nextFrame();
    }
    await server.untilLogged(entry => entry['event'] === 'slow consumer closed');
    const first = await pollOnce(port, session, 0);
    assert.equal(first.closed, undefined);
    const rest = await pollMany(port, session, 9, first.messages.length);
    assert.equal(rest.closed?.code, 1013);
    talker.destroy();
  });

  test('has a Content-Length, also for HTTP/1.0, which has no chunks', patience, async t => {
    const { port } = await startServerFor(t);
    const session = await openPolled(port, 'echo');
    await post(port, session, '“é\n”'.repeat(50_000));
    const answer = readAnswer(await exchange(port, `GET ${session} HTTP/1.0\r\n\r\n`));
    assert.ok(answer.isWhole && answer.headers.has('content-length'));
    assert.ok(!answer.headers.has('transfer-encoding'));
    assert.equal((JSON.parse(answer.body) as Polled).messages[0]?.text?.length, 200_000);
  });

  test('leaves all messages in the backlog if its client abandons it', patience, async t => {
    const { port } = await startServerFor(t);
    const session = await openPolled(port, 'echo');
    await post(port, session, controls);
    for (const headers of [{}, { Accept: 'text/event-stream' }]) {
      for (const end of ['destroy', 'resetAndDestroy'] as const) {
        const socket = await connectTcp(port);
        socket.write(requestBytes('GET', session, { headers }));
        await once(socket, 'data');
        socket[end]();
      }
    }
    assert.ok((await pollOnce(port, session, 0)).messages[0]?.text === controls);
  });

  test('a heartbeat does not interrupt a message on an event stream', patience, async t => {
    const { port } = await startServerFor(t, '--ping-interval', '20ms');
    const session = await openPolled(port, 'echo');
    const probe = await connectRaw(port, { path: '/echo' });
    await post(port, session, controls);
    const socket = await connectTcp(port);
    socket.write(requestBytes('GET', session, { headers: { Accept: 'text/event-stream' } }));
    let text = '';
    socket.setEncoding('utf8').on('data', piece => {
      text += piece;
    });
    await once(socket, 'data');
    socket.pause();
    // Pings at the same interval show that the interval has passed a few times.
    for (let pings = 0; pings < 5; pings++) {
      assert.equal((await probe.nextFrame())?.opcode, opcode.ping);
      probe.send(frame(opcode.pong));
    }
    socket.resume();
    await once(socket, 'end');
    const data = /id: 1\ndata: (.*)\n\n/.exec(text)?.[1] ?? '';
    assert.ok((JSON.parse(data) as { text: string }).text === controls);
    socket.destroy();
    probe.destroy();
  });
});

describe('sessions that do not fetch their messages', () => {
  test('share the memory of a broadcast', patience, async t => {
    if (skipUnlessLinux(t, '/proc')) return;
    const { port, pid } = await startServerFor(t);
    const talker = await connectRaw(port, { path: '/broadcast' });
    const sessions: string[] = [];
    while (sessions.length < 500)
      sessions.push(...(await Promise.all(Array.from({ length: 50 }, () => openPolled(port, 'broadcast')))));
    const before = residentMemory(pid);
    const burst = Array.from({ length: 100 }, () => frame(opcode.text, 'x'));
    for (let turn = 0; turn < 100; turn++) {
      talker.send(...burst);
      for (let heard = 0; heard < burst.length; heard++) await talker.nextFrame();
    }
    const grown = (residentMemory(pid) - before) / MiB;
    t.diagnostic(`${grown.toFixed(1)} MiB more`);
    // 500 times 10,000 messages: 200 MiB as objects, 15 MiB as a copy for each session.
    assert.ok(grown < 40, `${grown} MiB`);
    for (const session of [sessions[0]!, sessions[499]!]) {
      const { messages } = await pollMany(port, session, 10_000);
      assert.equal(messages.length, 10_000);
      assert.ok(messages.every(({ seq, text }, index) => seq === index + 1 && text === 'x'));
    }
    talker.destroy();
  });
});
