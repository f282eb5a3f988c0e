/** Bytes over real TCP, cut and ended in every way, on both kinds of sockets. */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { roundTrip, untilStill } from '../support/echoProbe.ts';
import { connectRaw, connectTcp, exchange, handshakeRequest } from '../support/rawClient.ts';
import { closeFrame, frame, opcode } from '../support/rawFrame.ts';
import { type ServerProcess, startServer } from '../support/serverProcess.ts';

const key = Buffer.from([1, 2, 3, 4]);
const texts = ['', 'a', 'Grüße', 'x'.repeat(125), 'y'.repeat(126), 'z'.repeat(300)];
/** Messages, one of them in fragments with a ping in between, as a client sends them. */
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

    test('a session is answered the same wherever TCP cuts it', async () => {
      const whole = Buffer.concat([Buffer.from(handshakeRequest({ path: '/echo' })), session]);
      // At most a batch at a time: each cut is a connection.
      for (let from = 1; from < whole.length; from += 100) {
        const cuts = Array.from({ length: Math.min(100, whole.length - from) }, (_, i) => from + i);
        await Promise.all(
          cuts.map(async cut => {
            const socket = await connectTcp(server.port);
            socket.write(whole.subarray(0, cut));
            // Another round of this loop: the system has sent the first part by then.
            await new Promise(setImmediate);
            socket.end(whole.subarray(cut));
            const got: Buffer[] = [];
            for await (const bytes of socket) got.push(bytes as Buffer);
            const all = Buffer.concat(got);
            assert.ok(all.subarray(webSocketHead(all)).equals(answers), `cut at ${cut}`);
          }),
        );
      }
    });

    test('a session that comes byte by byte is answered the same', async () => {
      const client = await connectRaw(server.port, { path: '/echo' });
      await client.sendChopped(session, 1);
      client.socket.end();
      const frames = await client.remainingFrames();
      assert.deepEqual(
        frames.map(({ payload }) => payload.toString()),
        [...texts, 'are you there', 'one two'],
      );
    });

    test('the handshake and the first frames may come in one segment, and the end with them', async () => {
      const all = await exchangeWithEnd(
        server.port,
        Buffer.concat([Buffer.from(handshakeRequest({ path: '/echo' })), session]),
      );
      assert.match(all.toString('latin1'), /^HTTP\/1\.1 101 /);
      assert.ok(all.subarray(webSocketHead(all)).equals(answers));
    });

    test('whoever ends its direction still gets all answers, and then the end', async () => {
      const client = await connectRaw(server.port, { path: '/echo' });
      const large = Buffer.alloc(3_000_000, 'large');
      client.send(session, frame(opcode.binary, large));
      client.socket.end();
      const frames = await client.remainingFrames();
      assert.equal(await client.ended, 'FIN');
      assert.equal(frames.length, texts.length + 3);
      assert.ok(frames.at(-1)!.payload.equals(large));
    });

    test('whoever ends its direction before it reads still gets all answers, and then the end', async () => {
      const probe = await connectRaw(server.port, { path: '/echo' });
      // One that the server reads to its end before it notices that nobody reads the answer, and two it cannot.
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

    test('an end in the middle of a message is an end', async () => {
      const client = await connectRaw(server.port, { path: '/echo' });
      client.send(frame(opcode.text, 'whole'), frame(opcode.text, 'half of it').subarray(0, 9));
      client.socket.end();
      assert.deepEqual(
        (await client.remainingFrames()).map(({ payload }) => payload.toString()),
        ['whole'],
      );
      assert.equal(await client.ended, 'FIN');
    });

    test('a reset in the middle of a message harms no one else', async () => {
      const other = await connectRaw(server.port, { path: '/echo' });
      for (let i = 0; i < 50; i++) {
        const client = await connectRaw(server.port, { path: '/echo' });
        client.send(frame(opcode.binary, Buffer.alloc(1000), { announcedLength: 100_000 }));
        client.socket.resetAndDestroy();
        await roundTrip(other);
      }
      await other.end();
    });

    test('a message larger than any buffer comes back as it was', async () => {
      const client = await connectRaw(server.port, { path: '/echo' });
      const large = Buffer.alloc(16 * 1024 * 1024);
      for (let at = 0; at < large.length; at += 4)
        large.writeUInt32LE(Math.imul(at, 2_654_435_761) >>> 0, at);
      client.send(frame(opcode.binary, large), frame(opcode.text, 'and then'));
      assert.ok((await client.nextFrame())!.payload.equals(large));
      assert.equal((await client.nextFrame())!.payload.toString(), 'and then');
      await client.end();
    });

    test('after the closing handshake the server ends TCP first, and answers nothing more', async () => {
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

    test('a head of HTTP that is too long is refused with 431', async () => {
      const long = handshakeRequest({ headers: { Cookie: 'c'.repeat(20_000) } });
      assert.match((await exchange(server.port, long)).toString('latin1'), /^HTTP\/1\.1 431 /);
    });
  });
}

/** Sends everything and our end at once; gives all that came. */
async function exchangeWithEnd(port: number, bytes: Buffer): Promise<Buffer> {
  const socket = await connectTcp(port);
  socket.end(bytes);
  const got: Buffer[] = [];
  for await (const chunk of socket) got.push(chunk as Buffer);
  return Buffer.concat(got);
}
