/** Deadlines. No test measures time: a deadline that never passes fails the test by its timeout. */
import assert from 'node:assert/strict';
import type { Socket } from 'node:net';
import { test } from 'node:test';
import { roundTrip } from '../support/echoProbe.ts';
import {
  connectRaw,
  connectTcp,
  exchange,
  handshakeRequest,
  readToEnd,
  tryRaw,
} from '../support/rawClient.ts';
import { closeFrame, frame, opcode } from '../support/rawFrame.ts';
import { type ServerProcess, startServer } from '../support/serverProcess.ts';
import { untilLogged } from '../support/untilLogged.ts';

const everything = async (socket: Socket) => (await readToEnd(socket)).toString('latin1');

for (const sockets of ['auto', 'stream']) {
  const serve = async (options: string[], use: (server: ServerProcess) => Promise<void>) => {
    const server = await startServer('--sockets', sockets, ...options);
    try {
      await use(server);
    } finally {
      await server.kill();
    }
  };
  const on = `(--sockets ${sockets})`;

  test(`the server pings a silent peer, keeps it for any byte it sends, and drops it if it sends none ${on}`, async () => {
    await serve(['--ping-interval', '100ms', '--pong-timeout', '300ms'], async ({ port }) => {
      const [ponger, talker, dead] = await Promise.all(
        [1, 2, 3].map(() => connectRaw(port, { path: '/echo' })),
      );
      let deadIsGone = false;
      const deadEnded = dead!.ended.then(how => {
        deadIsGone = true;
        return how;
      });
      let pings = 0;
      // The two that answer outlive the dead one by some pings.
      for (let more = 4; more > 0; more -= deadIsGone ? 1 : 0) {
        const ping = await ponger!.nextFrame();
        assert.deepEqual([ping?.opcode, ping?.payload.length], [opcode.ping, 0]);
        ponger!.send(frame(opcode.pong));
        pings++;
        const other = await talker!.nextFrame();
        assert.equal(other?.opcode, opcode.ping);
        // Neither a pong nor a message, but a byte: the beginning of a frame, and next time the rest of it.
        talker!.send(
          pings % 2 === 1
            ? frame(opcode.binary, 'ab', { key: Buffer.alloc(4), fin: false }).subarray(0, 7)
            : Buffer.from('b'),
        );
        if (pings % 2 === 0) talker!.send(frame(opcode.continuation));
        if (pings % 2 === 0) assert.equal((await talker!.nextFrame())?.opcode, opcode.binary);
      }
      assert.equal(await deadEnded, 'FIN');
      assert.deepEqual(
        (await dead!.remainingFrames()).map(one => one.opcode),
        [opcode.ping],
        'the server pings it once and sends nothing else',
      );
      for (const client of [ponger, talker, dead]) client!.destroy();
    });
  });

  test(`a handshake that is late gets 408; a connection that sent nothing is closed without an answer ${on}`, async () => {
    await serve(['--handshake-timeout', '200ms'], async ({ port }) => {
      const open = await connectRaw(port, { path: '/echo' });
      const [half, none] = await Promise.all([connectTcp(port), connectTcp(port)]);
      half.write(handshakeRequest().slice(0, -3));
      const [told, nothing] = await Promise.all([everything(half), everything(none)]);
      assert.match(told, /^HTTP\/1\.1 408 .*\r\n\r\nno whole request within 0\.2 s\n$/s);
      assert.equal(nothing, '');
      await roundTrip(open);
      open.destroy();
    });
  });

  test(`a request head that arrives byte by byte gets no extra time ${on}`, async () => {
    await serve(['--handshake-timeout', '300ms'], async ({ port }) => {
      const socket = await connectTcp(port);
      const probe = await connectRaw(port, { path: '/echo' });
      const answered = everything(socket);
      let isOver = false;
      void answered.then(() => {
        isOver = true;
      });
      const head = Buffer.from(`GET / HTTP/1.1\r\nX-Slow: ${'x'.repeat(1_000_000)}`);
      for (let at = 0; !isOver && at < head.length; at++) {
        if (socket.writable) socket.write(head.subarray(at, at + 1));
        await roundTrip(probe);
      }
      assert.match(await answered, /^HTTP\/1\.1 (408|431) /);
      probe.destroy();
    });
  });

  test(`a connection that sends only pings and pongs is closed with 1001 after the idle timeout ${on}`, async () => {
    await serve(['--idle-timeout', '300ms', '--ping-interval', '50ms'], async ({ port }) => {
      const client = await connectRaw(port, { path: '/echo' });
      for (;;) {
        const next = await client.nextFrame();
        if (next?.opcode === opcode.ping) {
          client.send(frame(opcode.pong), frame(opcode.ping));
        } else if (next?.opcode !== opcode.pong) {
          assert.equal(next?.opcode, opcode.close);
          assert.equal(next.payload.readUInt16BE(), 1001);
          assert.equal(next.payload.toString('latin1', 2), 'no message for 0.3 s');
          break;
        }
      }
      client.send(closeFrame(1001));
      assert.equal(await client.ended, 'FIN');
      await client.end();
    });
  });

  test(`the server ends TCP if the peer does not answer its close frame in time ${on}`, async () => {
    await serve(['--idle-timeout', '100ms', '--close-timeout', '200ms'], async ({ port }) => {
      const client = await connectRaw(port, { path: '/echo' });
      assert.equal((await client.nextFrame())?.opcode, opcode.close);
      assert.deepEqual(await client.remainingFrames(), []);
      client.destroy();
    });
  });

  test(`the server drops a peer that does not end TCP within the close timeout ${on}`, async () => {
    await serve(['--close-timeout', '200ms'], async ({ port }) => {
      const client = await connectRaw(port, { path: '/echo' });
      client.send(closeFrame(1000));
      assert.equal(await client.ended, 'FIN');
      // Once the server has dropped the connection, further bytes are answered with a reset.
      client.socket.resume();
      const broken = new Promise(resolve => client.socket.once('close', resolve));
      const keepSending = () => {
        if (client.socket.writable) client.socket.write(Buffer.alloc(100), keepSending);
      };
      keepSending();
      await broken;
    });
  });

  test(`a client over --max-connections gets 503 with a reason, and pages are still served ${on}`, async () => {
    await serve(['--max-connections', '2', '--max-per-address', '0'], async server => {
      const { port } = server;
      const [one, two] = [
        await connectRaw(port, { path: '/echo' }),
        await connectRaw(port, { path: '/echo' }),
      ];
      const refused = (await exchange(port, handshakeRequest())).toString('latin1');
      assert.match(refused, /^HTTP\/1\.1 503 .*\r\n\r\nthere are 2 connections already; try again later\n$/s);
      assert.match(
        (await exchange(port, 'GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n')).toString(),
        /^HTTP\/1\.1 200 .*ok\n$/s,
      );
      await Promise.all([roundTrip(one), roundTrip(two)]);
      await one.end();
      // The place becomes free when the server has read the end of the connection.
      let next = await tryRaw(port, { path: '/echo' });
      while (next.status === 503) next = await tryRaw(port, { path: '/echo' });
      await roundTrip(next);
      await untilLogged(server, 'refused');
      assert.ok(server.logged().some(line => line['event'] === 'refused' && line['status'] === 503));
      for (const client of [two, next]) client.destroy();
    });
  });

  test(`of 60 clients that connect at the same moment to a server for 20, exactly 20 are accepted ${on}`, async () => {
    await serve(['--max-connections', '20', '--max-per-address', '0'], async ({ port }) => {
      const clients = await Promise.all(Array.from({ length: 60 }, () => tryRaw(port)));
      const statuses = clients.map(({ status }) => status);
      assert.equal(statuses.filter(status => status === 101).length, 20);
      assert.equal(statuses.filter(status => status === 503).length, 40);
      for (const client of clients) client.destroy();
    });
  });

  test(`--max-header is the largest request head that the server accepts ${on}`, async () => {
    await serve(['--max-header', '500'], async ({ port }) => {
      const withCookie = (length: number) => handshakeRequest({ headers: { Cookie: 'c'.repeat(length) } });
      const room = 500 - withCookie(0).length;
      const status = async (length: number) => {
        const client = await tryRaw(port, { headers: { Cookie: 'c'.repeat(length) } });
        client.destroy();
        return client.status;
      };
      assert.deepEqual(await Promise.all([room, room + 1].map(status)), [101, 431]);
    });
  });
}
