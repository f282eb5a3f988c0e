/** Slow peers keep their connection as long as they make progress. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { describe, test } from 'node:test';
import { setTimeout as elapsed } from 'node:timers/promises';
import { minRate } from '../../src/protocol/limits.ts';
import { roundTrip } from '../support/echoProbe.ts';
import { openPolled, pollOnce, post, readAnswer, requestBytes } from '../support/pollClient.ts';
import { connectRaw, connectTcp, readToEnd } from '../support/rawClient.ts';
import { frame, opcode } from '../support/rawFrame.ts';
import { startServerFor } from '../support/serverProcess.ts';

const patience = { timeout: 60_000 };
const sockets = ['auto', 'stream'];

/** Repeats `step` until `times` silent connections, one after the other, have reached their deadline. */
async function whileSilentOnesEnd(port: number, times: number, step: () => Promise<unknown>): Promise<void> {
  for (let ended = 0; ended < times; ended++) {
    const silent = await connectTcp(port);
    let isOver = false;
    silent.resume().once('end', () => {
      isOver = true;
    });
    while (!isOver) await step();
    silent.destroy();
  }
}

for (const kind of sockets) {
  describe(`progress, --sockets ${kind}`, () => {
    test('a request body that keeps arriving is accepted, however long it takes', patience, async t => {
      const { port } = await startServerFor(t, '--sockets', kind, '--handshake-timeout', '200ms');
      const probe = await connectRaw(port, { path: '/echo' });
      const session = await openPolled(port, 'echo');
      const socket = await connectTcp(port);
      const answer = readToEnd(socket);
      socket.write(requestBytes('POST', session, { headers: { 'Transfer-Encoding': 'chunked' } }));
      await whileSilentOnesEnd(port, 3, async () => {
        socket.write('a\r\n0123456789\r\n');
        await roundTrip(probe);
      });
      socket.write('0\r\n\r\n');
      assert.equal(readAnswer(await answer).status, 200);
      socket.destroy();
      probe.destroy();
    });

    test('a request body that stops arriving is refused with 408 and a reason', patience, async t => {
      const { port } = await startServerFor(t, '--sockets', kind, '--handshake-timeout', '200ms');
      const session = await openPolled(port, 'echo');
      const socket = await connectTcp(port);
      socket.write(requestBytes('POST', session, { headers: { 'Content-Length': '100000' } }));
      socket.write('x'.repeat(50_000));
      const { status, body } = readAnswer(await readToEnd(socket));
      assert.equal(status, 408);
      assert.equal(body, `the body arrived at less than ${minRate} bytes a second for 0.2 s\n`);
    });

    test('a polling session stays open while one of its requests is still arriving', patience, async t => {
      const { port } = await startServerFor(t, '--sockets', kind, '--poll-timeout', '200ms');
      const session = await openPolled(port, 'echo');
      const doomed = await openPolled(port, 'echo');
      const socket = await connectTcp(port);
      const answer = readToEnd(socket);
      socket.write(requestBytes('POST', session, { headers: { 'Content-Length': '5' } }));
      // Once its timeout has passed, the other session no longer exists.
      const isGone = async () => {
        await elapsed(300);
        const other = await connectTcp(port);
        other.write(requestBytes('DELETE', doomed));
        return readAnswer(await readToEnd(other)).status === 404;
      };
      assert.ok(await isGone());
      socket.write('hello');
      assert.equal(readAnswer(await answer).status, 200);
      assert.equal((await pollOnce(port, session, 0)).messages[0]?.text, 'hello');
      socket.destroy();
    });

    test(
      'an answer that is read slowly arrives whole, even if that takes longer than --close-timeout',
      patience,
      async t => {
        const { port } = await startServerFor(
          t,
          ...['--sockets', kind, '--close-timeout', '200ms', '--handshake-timeout', '1s'],
        );
        const session = await openPolled(port, 'echo');
        const text = 'x'.repeat(12_000_000);
        await post(port, session, text);
        const socket = await connectTcp(port);
        socket.write(requestBytes('GET', session));
        const pieces: Buffer[] = [];
        socket.on('data', piece => pieces.push(piece));
        await whileSilentOnesEnd(port, 2, async () => {
          await Promise.race([once(socket, 'data'), elapsed(20)]);
          socket.pause();
          await elapsed(20);
          socket.resume();
        });
        if (!socket.readableEnded) await once(socket, 'end');
        const { body, isWhole } = readAnswer(Buffer.concat(pieces));
        assert.ok(
          isWhole,
          `${body.length} of ${Buffer.concat(pieces).length}: ${Buffer.concat(pieces).toString('latin1', 0, 300)}`,
        );
        socket.destroy();
      },
    );

    test('a message that is still arriving keeps the connection from being idle', patience, async t => {
      const { port } = await startServerFor(
        t,
        ...['--sockets', kind, '--idle-timeout', '300ms', '--handshake-timeout', '300ms'],
      );
      const client = await connectRaw(port, { path: '/echo' });
      const text = 'x'.repeat(4_000_000);
      const bytes = frame(opcode.text, text);
      let at = 0;
      await whileSilentOnesEnd(port, 2, async () => {
        client.socket.write(bytes.subarray(at, at + 2000));
        at += 2000;
        await elapsed(5);
      });
      client.socket.write(bytes.subarray(at));
      const echoed = await client.nextFrame();
      assert.deepEqual([echoed?.opcode, echoed?.payload.length], [opcode.text, text.length]);
      client.destroy();
    });

    test(
      'input that arrived while the process was stopped is read before any deadline',
      patience,
      async t => {
        const { port, child } = await startServerFor(
          t,
          ...['--sockets', kind, '--poll-timeout', '400ms', '--handshake-timeout', '400ms'],
          ...['--ping-interval', '100ms', '--pong-timeout', '400ms'],
        );
        const session = await openPolled(port, 'echo');
        const client = await connectRaw(port, { path: '/echo' });
        assert.equal((await client.nextFrame())?.opcode, opcode.ping);
        const half = await connectTcp(port);
        half.write('GET /healthz HTTP/1.1\r\n');
        await pollOnce(port, session, 0).catch(() => {});
        child.kill('SIGSTOP');
        client.send(frame(opcode.pong), frame(opcode.text, 'still here'));
        half.write('Host: x\r\nConnection: close\r\n\r\n');
        const request = await connectTcp(port);
        request.write(requestBytes('POST', session, { body: 'hi' }));
        // Longer than all deadlines: elapsed time is what this test is about.
        await elapsed(1000);
        child.kill('SIGCONT');
        assert.equal(readAnswer(await readToEnd(request)).status, 200);
        assert.equal(readAnswer(await readToEnd(half)).status, 200);
        for (
          let next = await client.nextFrame();
          next?.opcode !== opcode.text;
          next = await client.nextFrame()
        )
          assert.equal(next?.opcode, opcode.ping);
        for (const socket of [request, half]) socket.destroy();
        client.destroy();
      },
    );
  });
}
