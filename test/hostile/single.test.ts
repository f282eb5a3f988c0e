/** One hostile peer: it costs bounded memory and time, and others are served meanwhile. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { constants, deflateRawSync } from 'node:zlib';
import { type CountingClient, connectCounting, connectCrowd } from '../support/countingClient.ts';
import { assertServes, roundTrip, until, untilStill } from '../support/echoProbe.ts';
import { skipUnlessLinux } from '../support/linux.ts';
import { MiB } from '../support/processState.ts';
import { connectRaw, connectTcp } from '../support/rawClient.ts';
import { frame, opcode } from '../support/rawFrame.ts';
import { startServerFor } from '../support/serverProcess.ts';
import { baselineOf, grownSince, untilBack } from '../support/untilBack.ts';
import { untilLogged } from '../support/untilLogged.ts';

const key = Buffer.from([5, 6, 7, 8]);
const mebibytes = (bytes: number) => `${(bytes / MiB).toFixed(1)} MiB`;

for (const sockets of ['auto', 'stream']) {
  const on = `(--sockets ${sockets})`;

  test(`a member that never reads is closed with 1013, and the others get every message in order ${on}`, async t => {
    if (skipUnlessLinux(t, '/proc')) return;
    const server = await startServerFor(
      t,
      '--sockets',
      sockets,
      '--close-timeout',
      '500ms',
      '--max-buffered',
      '1MB',
    );
    const baseline = await baselineOf(server);
    const [speaker, ...others] = await connectCrowd(server.port, '/broadcast', 5);
    const deaf = await connectRaw(server.port, { path: '/broadcast' });
    deaf.socket.pause();
    const count = 4000;
    const messages = Array.from({ length: count }, (_, i) => Buffer.alloc(8000, `message ${i} `));
    const due = Buffer.concat(messages.map(message => frame(opcode.binary, message, { key: null })));
    for (const client of [speaker!, ...others]) client.due = due;
    let most = 0;
    for (let i = 0; i < count; i++) {
      speaker!.socket.write(frame(opcode.binary, messages[i]!, { key }));
      if (i % 50 !== 49) continue;
      // The sender waits for its own messages, so that only the deaf member falls behind.
      await until(baseline.probe, () =>
        [speaker!, ...others].every(({ received }) => received >= (i + 1) * 8004),
      );
      most = Math.max(most, grownSince(baseline));
    }
    for (const { received, wrongAt, isOver } of [speaker!, ...others]) {
      assert.deepEqual([received, wrongAt, isOver], [due.length, undefined, false]);
    }
    t.diagnostic(`${sockets}: ${mebibytes(due.length)} said; memory grew by at most ${mebibytes(most)}`);
    assert.ok(most < 100 * MiB);
    await untilLogged(server, 'slow consumer closed');
    const fellBehind = server.logged().filter(({ event }) => event === 'slow consumer closed');
    assert.equal(fellBehind.length, 1);
    t.diagnostic(`${sockets}: given up with ${fellBehind[0]!['bytes']} bytes unsent`);
    deaf.destroy();
    for (const { socket } of [speaker!, ...others]) socket.destroy();
    await untilBack(baseline);
  });

  test(`a slow consumer that reads again gets whole messages and then a close frame with 1013 ${on}`, async t => {
    if (skipUnlessLinux(t, '/proc')) return;
    const server = await startServerFor(t, '--sockets', sockets, '--max-buffered', '64KB');
    const baseline = await baselineOf(server);
    const speaker = await connectCounting(server.port, '/broadcast');
    const late = await connectRaw(server.port, { path: '/broadcast' });
    late.socket.pause();
    const message = frame(opcode.binary, Buffer.alloc(50_000, 'm'), { key });
    for (let said = 1; !server.logged().some(({ event }) => event === 'slow consumer closed'); said++) {
      speaker.socket.write(message);
      await until(baseline.probe, () => speaker.received >= said * 50_004);
    }
    late.socket.resume();
    let last = await late.nextFrame();
    for (; last?.opcode === opcode.binary; last = await late.nextFrame()) {
      assert.equal(last.payload.length, 50_000, 'only whole messages');
    }
    assert.equal(last?.opcode, opcode.close);
    assert.equal(last.payload.readUInt16BE(), 1013);
    late.destroy();
    speaker.socket.destroy();
    await untilBack(baseline);
  });

  test(`the server stops reading a flood of pings while its pongs are not read ${on}`, async t => {
    if (skipUnlessLinux(t, '/proc')) return;
    const server = await startServerFor(t, '--sockets', sockets);
    const baseline = await baselineOf(server);
    const client = await connectCounting(server.port, '/echo');
    const { socket } = client;
    socket.pause();
    const ping = frame(opcode.ping, Buffer.alloc(125, 'p'), { key });
    const count = Math.ceil((256 * MiB) / ping.length / 4096) * 4096;
    const batch = Buffer.alloc(4096 * ping.length, ping);
    for (let sent = 0; sent < count; sent += 4096) socket.write(batch);
    const waiting = await untilStill(baseline.probe, () => socket.writableLength);
    t.diagnostic(
      `${sockets}: of 256 MiB of pings ${mebibytes(waiting)} were not taken; memory grew by ${mebibytes(grownSince(baseline))}`,
    );
    assert.ok(grownSince(baseline) < 100 * MiB);
    client.due = frame(opcode.pong, Buffer.alloc(125, 'p'), { key: null });
    socket.resume();
    await until(baseline.probe, () => socket.writableLength === 0 || client.isOver);
    assert.equal(client.wrongAt, undefined);
    socket.destroy();
    await untilBack(baseline);
  });

  test(`a decompression bomb is refused with 1009 before it is inflated ${on}`, async t => {
    if (skipUnlessLinux(t, '/proc')) return;
    const server = await startServerFor(t, '--sockets', sockets, '--max-message', '1MB');
    const baseline = await baselineOf(server);
    const bomb = deflateRawSync(Buffer.alloc(512 * MiB), { finishFlush: constants.Z_SYNC_FLUSH }).subarray(
      0,
      -4,
    );
    assert.ok(bomb.length < MiB);
    for (let i = 0; i < 5; i++) {
      const client = await connectRaw(server.port, {
        path: '/echo',
        headers: { 'Sec-WebSocket-Extensions': 'permessage-deflate' },
      });
      client.send(frame(opcode.binary, bomb, { rsv: 4 }));
      const close = await client.nextFrame();
      assert.deepEqual([close?.opcode, close?.payload.readUInt16BE()], [opcode.close, 1009]);
      client.destroy();
    }
    t.diagnostic(
      `${sockets}: ${bomb.length} bytes for 512 MiB, five times; memory grew by ${mebibytes(grownSince(baseline))}`,
    );
    assert.ok(grownSince(baseline) < 100 * MiB);
    await untilBack(baseline);
  });

  test(`1,000,000 empty fragments make one empty message and cost no memory ${on}`, async t => {
    if (skipUnlessLinux(t, '/proc')) return;
    const server = await startServerFor(t, '--sockets', sockets);
    const baseline = await baselineOf(server);
    const client = await connectRaw(server.port, { path: '/echo' });
    const empty = frame(opcode.continuation, '', { key, fin: false });
    client.send(frame(opcode.text, '', { key, fin: false }), Buffer.alloc(999_998 * empty.length, empty));
    client.send(frame(opcode.continuation, '', { key }));
    const echo = await client.nextFrame();
    assert.deepEqual([echo?.opcode, echo?.payload.length], [opcode.text, 0]);
    t.diagnostic(`${sockets}: memory grew by ${mebibytes(grownSince(baseline))}`);
    assert.ok(grownSince(baseline) < 50 * MiB);
    await client.end();
    await untilBack(baseline);
  });

  test(`endless fragments are refused with 1009 ${on}`, async t => {
    if (skipUnlessLinux(t, '/proc')) return;
    const server = await startServerFor(t, '--sockets', sockets, '--close-timeout', '500ms');
    const baseline = await baselineOf(server);
    const client = await connectRaw(server.port, { path: '/echo' });
    const empty = frame(opcode.continuation, '', { key, fin: false });
    client.send(frame(opcode.text, '', { key, fin: false }), Buffer.alloc(1_100_000 * empty.length, empty));
    const close = await client.nextFrame();
    assert.deepEqual([close?.opcode, close?.payload.readUInt16BE()], [opcode.close, 1009]);
    client.destroy();
    await untilBack(baseline);
  });

  test(`100,000 empty messages are all answered ${on}`, async t => {
    if (skipUnlessLinux(t, '/proc')) return;
    const server = await startServerFor(t, '--sockets', sockets);
    const baseline = await baselineOf(server);
    const client = await connectCounting(server.port, '/echo');
    client.due = frame(opcode.text, '', { key: null });
    const message = frame(opcode.text, '', { key });
    client.socket.write(Buffer.alloc(100_000 * message.length, message));
    await until(baseline.probe, () => client.received >= 200_000);
    assert.deepEqual([client.received, client.wrongAt, client.isOver], [200_000, undefined, false]);
    client.socket.destroy();
    await untilBack(baseline);
  });

  test(`a request head that arrives byte by byte is refused at --max-header ${on}`, async t => {
    if (skipUnlessLinux(t, '/proc')) return;
    const server = await startServerFor(
      t,
      '--sockets',
      sockets,
      '--max-header',
      '2KB',
      '--log-level',
      'warn',
    );
    const baseline = await baselineOf(server);
    const socket = await connectTcp(server.port);
    let answer = '';
    socket.on('data', bytes => {
      answer += bytes.toString('latin1');
    });
    socket.on('error', () => {});
    for (let sent = 0; answer === '' && sent < 5000; sent++) {
      socket.write(sent === 0 ? 'GET / HTTP/1.1\r\nX-Slow: ' : 'x');
      await roundTrip(baseline.probe);
    }
    assert.match(answer, /^HTTP\/1\.1 431 /);
    socket.destroy();
    await untilBack(baseline);
  });

  test(`a message that is announced but never sent costs no memory ${on}`, async t => {
    if (skipUnlessLinux(t, '/proc')) return;
    const server = await startServerFor(t, '--sockets', sockets);
    const baseline = await baselineOf(server);
    const crowd: CountingClient[] = await connectCrowd(server.port, '/echo', 200);
    const promise = frame(opcode.binary, 'x', { announcedLength: 16 * MiB });
    for (const { socket } of crowd) socket.write(promise);
    await untilStill(baseline.probe, () => grownSince(baseline));
    t.diagnostic(`${sockets}: 200 times 16 MiB announced; memory grew by ${mebibytes(grownSince(baseline))}`);
    assert.ok(grownSince(baseline) < 50 * MiB);
    for (const { socket } of crowd) socket.destroy();
    await untilBack(baseline);
    await assertServes(server.port);
  });
}
