import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { type TestContext, test } from 'node:test';
import { roundTrip } from '../support/echoProbe.ts';
import { connectRaw, connectTcp, handshakeRequest } from '../support/rawClient.ts';
import { closeFrame, frame, opcode } from '../support/rawFrame.ts';
import { serverScript, startServerFor } from '../support/serverProcess.ts';
import { untilLogged } from '../support/untilLogged.ts';

/** Starts a server whose shutdown ends only with its last connection or the drain timeout. */
const startDraining = (t: TestContext, sockets: string, drainTimeout: string) =>
  startServerFor(t, '--sockets', sockets, '--drain-timeout', drainTimeout, '--close-timeout', '0');

const codeOf = (payload: Buffer | undefined) => payload?.readUInt16BE(0);

for (const sockets of ['auto', 'stream']) {
  for (const signal of ['SIGTERM', 'SIGINT'] as const) {
    test(`after ${signal} the server closes all connections with 1001 and exits with 0 (--sockets ${sockets}) [7.4.1-b]`, async t => {
      const server = await startDraining(t, sockets, '0');
      const clients = await Promise.all(
        Array.from({ length: 5 }, () => connectRaw(server.port, { path: '/echo' })),
      );
      await Promise.all(clients.map(client => roundTrip(client)));
      server.child.kill(signal);
      for (const client of clients) {
        const close = await client.nextFrame();
        assert.deepEqual([close?.opcode, codeOf(close?.payload)], [opcode.close, 1001]);
        client.send(closeFrame(1001));
        assert.equal(await client.ended, 'FIN');
        await client.end();
      }
      assert.equal(await server.exited, 0);
    });
  }

  test(`the server exits after the drain timeout, even if connections are still open (--sockets ${sockets})`, async t => {
    const server = await startDraining(t, sockets, '300ms');
    const silent = await connectRaw(server.port);
    const half = await connectTcp(server.port);
    half.write(handshakeRequest().slice(0, 40));
    half.resume();
    const mute = await connectTcp(server.port);
    mute.resume();
    await roundTrip(silent);
    server.child.kill('SIGTERM');
    assert.equal(codeOf((await silent.nextFrame())?.payload), 1001);
    assert.equal(await server.exited, 0);
    silent.destroy();
    half.destroy();
    mute.destroy();
  });

  test(`a draining server closes unfinished handshakes and accepts no new connection (--sockets ${sockets})`, async t => {
    const server = await startDraining(t, sockets, '0');
    const half = await connectTcp(server.port);
    half.write(handshakeRequest().slice(0, 40));
    const staying = await connectRaw(server.port);
    await roundTrip(staying);
    server.child.kill('SIGTERM');
    assert.equal(codeOf((await staying.nextFrame())?.payload), 1001);
    half.resume();
    if (!half.readableEnded) await once(half, 'end');
    half.end();
    await assert.rejects(connectTcp(server.port), { code: 'ECONNREFUSED' });
    staying.send(frame(opcode.text, 'too late'), closeFrame(1001));
    assert.deepEqual(await staying.remainingFrames(), [], 'messages are no longer answered');
    await staying.end();
    assert.equal(await server.exited, 0);
  });
}

test('a second signal ends the server at once, with exit code 1', async t => {
  const server = await startServerFor(t, '--drain-timeout', '0', '--close-timeout', '0');
  const silent = await connectRaw(server.port);
  server.child.kill('SIGTERM');
  await untilLogged(server, 'draining');
  server.child.kill('SIGINT');
  assert.equal(await server.exited, 1);
  silent.destroy();
});

test('a server without connections stops as soon as it drains', async t => {
  const server = await startServerFor(t, '--drain-timeout', '0', '--close-timeout', '0');
  assert.equal(await server.stop(), 0);
  assert.deepEqual(
    server.logged().map(({ event }) => event),
    ['listening', 'any web page may connect', 'draining', 'stopped'],
  );
});

test('a SIGTERM right after the first of several ready lines drains the server', async t => {
  for (let i = 0; i < 5; i++) {
    const server = await startServerFor(t, '-p', '0', '-p', '0', '-p', '0', '-p', '0');
    assert.equal(await server.stop(), 0);
  }
});

test('the server exits even if nothing reads its log', async t => {
  const server = await startServerFor(t, '--trace');
  server.child.stderr!.pause();
  const client = await connectRaw(server.port, { path: '/echo' });
  // Each frame is a line of the log: more than fits in the pipe.
  const total = 3000;
  client.send(...Array.from({ length: total }, () => frame(opcode.text, 'x')));
  for (let i = 0; i < total; i++) await client.nextFrame();
  await client.end();
  const exited = once(server.child, 'exit');
  server.child.kill('SIGTERM');
  assert.deepEqual(await exited, [0, null]);
  server.child.stderr!.resume();
});

test('the server writes all output of its commands before it exits, even more than fits in a pipe', async () => {
  const commandLine = ['-p', '0', '--host', '127.0.0.1', '--control', 'none', '--stdin'];
  const child = spawn(process.execPath, [serverScript, ...commandLine], { stdio: 'pipe' });
  const commands = 1000;
  child.stdin.end(`${'info --json\n'.repeat(commands)}stop\n`);
  // Nothing reads stdout until the server has stopped.
  for await (const line of createInterface(child.stderr)) if (line.includes(' stopped')) break;
  let said = '';
  for await (const text of child.stdout.setEncoding('utf8')) said += text;
  assert.equal(said.split('"version"').length - 1, commands);
});
