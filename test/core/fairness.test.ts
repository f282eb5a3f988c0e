/** Fairness: no connection takes all of the loop's time or memory. The tests compare order and progress, never time. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { test } from 'node:test';
import { deflateMessage, newDeflateContext } from '../../src/protocol/websocket/deflate.ts';
import { type CountingClient, connectCounting, connectCrowd } from '../support/countingClient.ts';
import { roundTrip, until, untilStill } from '../support/echoProbe.ts';
import { skipUnlessLinux } from '../support/linux.ts';
import { openPolled, requestBytes } from '../support/pollClient.ts';
import { MiB, peakMemory, residentMemory } from '../support/processState.ts';
import { connectRaw, connectTcp, handshakeRequest } from '../support/rawClient.ts';
import { closePayload, frame, opcode } from '../support/rawFrame.ts';
import { type ServerProcess, startServerFor } from '../support/serverProcess.ts';

const key = Buffer.from([9, 8, 7, 6]);

for (const sockets of ['auto', 'stream']) {
  const on = `(--sockets ${sockets})`;

  test(`the server stops reading from a peer that does not read, and later sends it every byte in order ${on}`, async t => {
    if (skipUnlessLinux(t, '/proc')) return;
    const server = await startServerFor(t, '--sockets', sockets);
    const other = await connectRaw(server.port, { path: '/echo' });
    await roundTrip(other);
    const before = residentMemory(server.pid);

    const payload = Buffer.alloc(1000, 'payload');
    const client = await connectCounting(server.port, '/echo');
    const { socket } = client;
    socket.pause();
    const message = frame(opcode.binary, payload, { key });
    const count = Math.ceil((64 * MiB) / message.length);
    const batch = Buffer.alloc(512 * message.length, message);
    for (let sent = 0; sent < count; sent += 512) socket.write(batch);
    const waiting = await untilStill(other, () => socket.writableLength);
    const grown = residentMemory(server.pid) - before;
    t.diagnostic(
      `${sockets}: ${(waiting / MiB).toFixed(1)} of 64 MiB were not taken; memory grew by ${(grown / MiB).toFixed(1)} MiB`,
    );
    assert.ok(waiting > 32 * MiB, 'the server stopped reading');
    assert.ok(grown < 40 * MiB, `its memory grew by ${grown} bytes`);

    client.due = frame(opcode.binary, payload, { key: null });
    socket.resume();
    const total = Math.ceil(count / 512) * 512 * client.due.length;
    await until(other, () => client.received >= total || client.isOver);
    assert.deepEqual([client.received, client.wrongAt, client.isOver], [total, undefined, false]);
    socket.destroy();
  });

  test(`the server also stops reading from a peer that sends one message at a time and never reads ${on}`, async t => {
    if (skipUnlessLinux(t, '/proc')) return;
    const server = await startServerFor(t, '--sockets', sockets);
    const other = await connectRaw(server.port, { path: '/echo' });
    await roundTrip(other);
    const before = residentMemory(server.pid);
    const mute = await connectRaw(server.port, { path: '/echo' });
    mute.socket.pause();
    const message = frame(opcode.binary, Buffer.alloc(MiB), { key });
    let waiting = 0;
    for (let sent = 0; sent < 200 && waiting === 0; sent++) {
      mute.send(message);
      waiting = await untilStill(other, () => mute.socket.writableLength);
    }
    const grown = residentMemory(server.pid) - before;
    t.diagnostic(`${sockets}: memory grew by ${(grown / MiB).toFixed(1)} MiB`);
    assert.ok(waiting > 0, 'the server stopped reading');
    assert.ok(grown < 60 * MiB, `its memory grew by ${grown} bytes`);
    mute.destroy();
  });

  test(`pings of another client are answered during a flood of 300,000 messages ${on}`, async t => {
    const server = await startServerFor(t, '--sockets', sockets);
    const flooder = await connectCounting(server.port, '/echo');
    const count = 300_000;
    flooder.due = frame(opcode.text, 'hi', { key: null });
    const pongs = await pongsDuring(
      server,
      flooder,
      Buffer.alloc(8 * count, frame(opcode.text, 'hi', { key })),
      4 * count,
    );
    t.diagnostic(`${sockets}: ${pongs} pongs before the last of ${count} echoes`);
    assert.ok(pongs >= 5, `${pongs} pongs came before the last of the flood's echoes`);
    assert.equal(flooder.wrongAt, undefined);
  });

  test(`pings of another client are answered during a flood of broadcasts, and 1,000 members get all of it ${on}`, async t => {
    const server = await startServerFor(t, '--sockets', sockets, '--max-buffered', '0');
    const members = await connectCrowd(server.port, '/broadcast', 1000);
    const [flooder] = members;
    for (const member of members.slice(1)) member.due = frame(opcode.text, 'hi', { key: null });
    flooder!.due = Buffer.concat([members[1]!.due!, frame(opcode.pong, '', { key: null })]);
    // The ping behind each message keeps the server from handling several messages as one burst.
    const piece = Buffer.concat([frame(opcode.text, 'hi', { key }), frame(opcode.ping, '', { key })]);
    const count = 1000;
    const flood = Buffer.alloc(count * piece.length, piece);
    const pongs = await pongsDuring(server, flooder!, flood, count * 6);
    t.diagnostic(`${sockets}: ${pongs} pongs before the last of ${count} broadcasts`);
    assert.ok(pongs >= 5, `${pongs} pongs came before the flood's last broadcast`);
    const probe = await connectRaw(server.port, { path: '/echo' });
    const isDone = ({ received }: CountingClient) => received >= count * 4;
    await until(probe, () => members.every(isDone));
    assert.deepEqual(
      members.filter(({ wrongAt, isOver }) => wrongAt !== undefined || isOver),
      [],
    );
  });
}

test('a client gets its echoes while 40 others each send a message that inflates to 16 MiB', async t => {
  if (skipUnlessLinux(t, '/proc')) return;
  const server = await startServerFor(t);
  const other = await connectRaw(server.port, { path: '/echo' });
  const count = 40;
  const plain = Buffer.alloc(16 * MiB);
  const payload = deflateMessage(newDeflateContext(false, 15), plain, 0, plain.length);
  const bomb = frame(opcode.binary, payload, { rsv: 4, key });
  const headers = { 'Sec-WebSocket-Extensions': 'permessage-deflate' };
  const bombers = await connectCrowd(server.port, '/echo', count, headers);
  for (const { socket } of bombers) socket.write(bomb);
  // The echoes compress as well as the messages.
  const isDone = ({ received }: CountingClient) => received >= payload.length / 2;
  let answered = 0;
  while (!bombers.every(isDone)) {
    await roundTrip(other);
    answered++;
  }
  const memory = peakMemory(server.pid);
  t.diagnostic(`${answered} echoes meanwhile; ${(memory / MiB).toFixed(0)} MiB at most`);
  assert.ok(answered >= count / 2, `${answered} echoes came before the last of ${count} large ones`);
  assert.ok(memory < 400 * MiB, `it took ${memory} bytes`);
  for (const { socket } of bombers) socket.destroy();
});

test('an upload of 1 MiB ends before the last of 1,000 handshakes that were waiting when it began', async t => {
  const server = await startServerFor(t);
  const post = await connectTcp(server.port);
  const body = Buffer.alloc(MiB, 'x');
  const request = requestBytes('POST', await openPolled(server.port, 'echo'), { body: body.toString() });
  const begun = request.length - body.length + 1000;
  post.write(request.subarray(0, begun));
  const others = await Promise.all(Array.from({ length: 1000 }, () => connectTcp(server.port)));
  let answered = 0;
  for (const other of others) other.once('data', () => answered++);
  await roundTrip(await connectRaw(server.port, { path: '/echo' }));
  process.kill(server.pid, 'SIGSTOP');
  for (const other of others) other.write(handshakeRequest({ path: '/echo' }));
  post.write(request.subarray(begun));
  process.kill(server.pid, 'SIGCONT');
  const [answer] = (await once(post, 'data')) as [Buffer];
  assert.match(answer.toString(), /^HTTP\/1\.1 200 /);
  assert.ok(answered < others.length, `${answered} handshakes were answered first`);
  t.diagnostic(`${answered} handshakes were answered first`);
  for (const socket of [post, ...others]) socket.destroy();
});

test('input that exceeds a turn’s budget is read in the following turns, even after the peer’s FIN', async t => {
  const server = await startServerFor(t);
  const clients = await connectCrowd(server.port, '/echo', 300);
  const payload = Buffer.alloc(100_000, 'payload');
  const echo = frame(opcode.binary, payload, { key: null });
  process.kill(server.pid, 'SIGSTOP');
  for (const client of clients) {
    client.due = Buffer.concat([echo, echo, frame(opcode.close, closePayload(1000), { key: null })]);
    const message = frame(opcode.binary, payload, { key });
    client.socket.end(Buffer.concat([message, message, frame(opcode.close, closePayload(1000), { key })]));
  }
  process.kill(server.pid, 'SIGCONT');
  const probe = await connectRaw(server.port, { path: '/echo' });
  await until(probe, () => clients.every(({ isOver }) => isOver));
  for (const { received, due, wrongAt } of clients) {
    assert.deepEqual([received, wrongAt], [due!.length, undefined]);
  }
});

/** @returns how many pings of another client were answered before `flooder` got the `due` bytes for its flood */
async function pongsDuring(
  server: ServerProcess,
  flooder: CountingClient,
  flood: Buffer,
  due: number,
): Promise<number> {
  const other = await connectRaw(server.port, { path: '/echo' });
  let answered = 0;
  flooder.socket.write(flood);
  while (flooder.received < due) {
    assert.equal(flooder.isOver, false);
    other.send(frame(opcode.ping, 'p'));
    assert.equal((await other.nextFrame())?.opcode, opcode.pong);
    answered++;
  }
  assert.equal(flooder.received, due);
  return answered - 1;
}
