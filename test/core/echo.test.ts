/** Echoes over real TCP, split and ended in every way, on both kinds of sockets. */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { roundTrip, untilStill } from '../support/echoProbe.ts';
import { connectRaw, connectTcp, exchange, handshakeRequest, readToEnd } from '../support/rawClient.ts';
import { closeFrame, frame, opcode } from '../support/rawFrame.ts';
import { type ServerProcess, startServer } from '../support/serverProcess.ts';

const key = Buffer.from([1, 2, 3, 4]);
const texts = ['', 'a', 'Grüße', 'x'.repeat(125), 'y'.repeat(126), 'z'.repeat(300)];
/** A client's messages; the last one is fragmented, with a ping between its fragments. */
const session = Buffer.concat([
  ...texts.map(text => frame(opcode.text, text, { key })),
  frame(opcode.binary, 'one ', { key, fin: false }),
  frame(opcode.ping, 'are you there', { key }),
  frame(opcode.continuation, 'two', { key }),
]);
const answers = Buffer.concat([
  ...texts.map(text => frame(opcode.text, text, { key: null })),
  frame(opcode.pong, 'are you there', { key: null }),
  frame(opcode.binary, 'one two', { key: null }),
]);

const webSocketHead = (bytes: Buffer) => bytes.indexOf('\r\n\r\n') + 4;

for (const sockets of ['auto', 'stream']) {
  describe(`--sockets ${sockets}`, () => {
    let server: ServerProcess;
    before(async () => {
      server = await startServer('--sockets', sockets);
    });
    after(() => server.kill());

    test('the answers are the same wherever TCP splits the input', async () => {
      const whole = Buffer.concat([Buffer.from(handshakeRequest({ path: '/echo' })), session]);
      // In batches: each cut needs a connection.
      for (let from = 1; from < whole.length; from += 100) {
        const cuts = Array.from({ length: Math.min(100, whole.length - from) }, (_, i) => from + i);
        await Promise.all(
          cuts.map(async cut => {
            const socket = await connectTcp(server.port);
            socket.write(whole.subarray(0, cut));
            // One turn of this process's loop, so that the first part is sent by itself.
            await new Promise(setImmediate);
            socket.end(whole.subarray(cut));
            const all = await readToEnd(socket);
            assert.ok(all.subarray(webSocketHead(all)).equals(answers), `cut at ${cut}`);
          }),
        );
      }
    });

    test('the answers are the same when the input arrives byte by byte', async () => {
      const client = await connectRaw(server.port, { path: '/echo' });
      await client.sendChopped(session, 1);
      client.socket.end();
      const frames = await client.remainingFrames();
      assert.deepEqual(
        frames.map(({ payload }) => payload.toString()),
        [...texts, 'are you there', 'one two'],
      );
    });

    test('the handshake, the first frames and the FIN may arrive in one segment', async () => {
      const all = await exchangeWithEnd(
        server.port,
        Buffer.concat([Buffer.from(handshakeRequest({ path: '/echo' })), session]),
      );
      assert.match(all.toString('latin1'), /^HTTP\/1\.1 101 /);
      assert.ok(all.subarray(webSocketHead(all)).equals(answers));
    });

    test('a client that half-closes still gets all its echoes, then the FIN', async () => {
      const client = await connectRaw(server.port, { path: '/echo' });
      const large = Buffer.alloc(3_000_000, 'large');
      client.send(session, frame(opcode.binary, large));
      client.socket.end();
      const frames = await client.remainingFrames();
      assert.equal(await client.ended, 'FIN');
      assert.equal(frames.length, texts.length + 3);
      assert.ok(frames.at(-1)!.payload.equals(large));
    });

    test('a client that half-closes before it reads still gets all its echoes, then the FIN', async () => {
      const probe = await connectRaw(server.port, { path: '/echo' });
      // The server reads one message of 8 MB to its end before backpressure sets in, but not two of 5 MB.
      for (const [size, count] of [
        [8_000_000, 1],
        [5_000_000, 2],
      ] as const) {
        const client = await connectRaw(server.port, { path: '/echo' });
        client.socket.pause();
        const large = Buffer.alloc(size, 'large');
        client.send(Buffer.alloc(count * (size + 14), frame(opcode.binary, large)));
        client.socket.end();
        await untilStill(probe, () => client.socket.writableLength);
        client.socket.resume();
        const frames = await client.remainingFrames();
        assert.equal(await client.ended, 'FIN');
        assert.equal(frames.length, count);
        for (const { payload } of frames) assert.ok(payload.equals(large));
      }
      await probe.end();
    });

    test('a FIN in the middle of a message ends the connection after the echoes of the whole messages', async () => {
      const client = await connectRaw(server.port, { path: '/echo' });
      client.send(frame(opcode.text, 'whole'), frame(opcode.text, 'half of it').subarray(0, 9));
      client.socket.end();
      assert.deepEqual(
        (await client.remainingFrames()).map(({ payload }) => payload.toString()),
        ['whole'],
      );
      assert.equal(await client.ended, 'FIN');
    });

    test('a reset in the middle of a message affects no other connection', async () => {
      const other = await connectRaw(server.port, { path: '/echo' });
      for (let i = 0; i < 50; i++) {
        const client = await connectRaw(server.port, { path: '/echo' });
        client.send(frame(opcode.binary, Buffer.alloc(1000), { announcedLength: 100_000 }));
        client.socket.resetAndDestroy();
        await roundTrip(other);
      }
      await other.end();
    });

    test('a message of 16 MiB is echoed unchanged', async () => {
      const client = await connectRaw(server.port, { path: '/echo' });
      const large = Buffer.alloc(16 * 1024 * 1024);
      for (let at = 0; at < large.length; at += 4)
        large.writeUInt32LE(Math.imul(at, 2_654_435_761) >>> 0, at);
      client.send(frame(opcode.binary, large), frame(opcode.text, 'and then'));
      assert.ok((await client.nextFrame())!.payload.equals(large));
      assert.equal((await client.nextFrame())!.payload.toString(), 'and then');
      await client.end();
    });

    test('after the closing handshake the server ends TCP first and ignores further messages', async () => {
      const client = await connectRaw(server.port, { path: '/echo' });
      client.send(frame(opcode.text, 'last'), closeFrame(1000), frame(opcode.text, 'too late'));
      const frames = await client.remainingFrames();
      assert.deepEqual(
        frames.map(one => one.opcode),
        [opcode.text, opcode.close],
      );
      assert.equal(await client.ended, 'FIN');
      await client.end();
    });

    test('a request head that is too long is refused with 431', async () => {
      const long = handshakeRequest({ headers: { Cookie: 'c'.repeat(20_000) } });
      assert.match((await exchange(server.port, long)).toString('latin1'), /^HTTP\/1\.1 431 /);
    });
  });
}

/** Sends the bytes and the FIN at once. @returns everything that the server sent */
async function exchangeWithEnd(port: number, bytes: Buffer): Promise<Buffer> {
  const socket = await connectTcp(port);
  socket.end(bytes);
  return readToEnd(socket);
}
