/** Crowds: idle connections, half handshakes, resets and garbage. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import type { Socket } from 'node:net';
import { test } from 'node:test';
import { type CountingClient, connectCrowd } from '../support/countingClient.ts';
import { assertServes, roundTrip, until, untilStill } from '../support/echoProbe.ts';
import { skipUnlessLinux } from '../support/linux.ts';
import { MiB, openDescriptors } from '../support/processState.ts';
import { connectTcp, handshakeRequest } from '../support/rawClient.ts';
import { frame, opcode } from '../support/rawFrame.ts';
import { startServerFor } from '../support/serverProcess.ts';
import { baselineOf, grownSince, untilBack } from '../support/untilBack.ts';
import { untilLogged } from '../support/untilLogged.ts';

const held = 10_000;
const halfHandshakes = 2000;
const resets = 1000;
const garbageConnections = 500;
const mebibytes = (bytes: number) => `${(bytes / MiB).toFixed(1)} MiB`;

for (const sockets of ['auto', 'stream']) {
  const on = `(--sockets ${sockets})`;

  test(`the server serves ${held} connections at once, and frees everything when they leave ${on}`, async t => {
    if (skipUnlessLinux(t, '/proc')) return;
    const options = ['--sockets', sockets, '--max-per-address', '0', '--log-level', 'debug'];
    const server = await startServerFor(t, ...options);
    const baseline = await baselineOf(server);
    const crowd = await connectCrowd(server.port, '/echo', held);
    assert.equal(openDescriptors(server.pid) - baseline.descriptors, held);
    const grown = grownSince(baseline);
    t.diagnostic(
      `${sockets}: ${held} idle connections take ${mebibytes(grown)}, ${(grown / held / 1024).toFixed(1)} KiB each`,
    );
    assert.ok(grown < 150 * MiB);

    const message = frame(opcode.text, 'hello');
    for (const client of crowd) {
      client.due = frame(opcode.text, 'hello', { key: null });
      client.socket.write(message);
    }
    const isServed = ({ received, due }: CountingClient) => received >= due!.length;
    await until(baseline.probe, () => crowd.every(isServed));
    assert.deepEqual(
      crowd.filter(({ wrongAt, isOver }) => wrongAt !== undefined || isOver),
      [],
    );

    for (const { socket } of crowd) socket.resetAndDestroy();
    await untilBack(baseline);
    // The listener has id 0 and the probe id 1, so the lowest free ids start at 2.
    const later = await connectCrowd(server.port, '/echo', 3);
    await untilLogged(server, 'opened', 1 + held + later.length);
    const ids = server
      .logged()
      .filter(({ event }) => event === 'opened')
      .map(({ id }) => Number(id));
    assert.deepEqual(ids.slice(-3).sort(), [2, 3, 4]);
    for (const { socket } of later) socket.destroy();
    t.diagnostic(`${sockets}: after they left, ${mebibytes(grownSince(baseline))} more than before`);
  });

  test(`the server frees ${halfHandshakes} half handshakes at their deadline ${on}`, async t => {
    if (skipUnlessLinux(t, '/proc')) return;
    const server = await startServerFor(
      t,
      '--sockets',
      sockets,
      '--handshake-timeout',
      '1s',
      '--close-timeout',
      '500ms',
      '--log-level',
      'warn',
    );
    const baseline = await baselineOf(server);
    const head = handshakeRequest({ headers: { Cookie: 'c'.repeat(8000) } }).slice(0, 8000);
    const crowd: Socket[] = [];
    for (let i = 0; i < halfHandshakes; i += 50) {
      crowd.push(...(await Promise.all(Array.from({ length: 50 }, () => connectTcp(server.port)))));
    }
    for (const socket of crowd) {
      socket.on('error', () => {});
      socket.write(head);
    }
    await untilBack(baseline);
    t.diagnostic(
      `${sockets}: ${halfHandshakes} half handshakes of 8,000 bytes are gone; ${mebibytes(grownSince(baseline))} more than before`,
    );
    assert.ok(grownSince(baseline) < 100 * MiB);
    for (const socket of crowd) socket.destroy();
    await assertServes(server.port);
  });

  test(`the server frees everything of ${resets} peers that reset in the middle of a message ${on}`, async t => {
    if (skipUnlessLinux(t, '/proc')) return;
    const server = await startServerFor(t, '--sockets', sockets, '--log-level', 'warn');
    const baseline = await baselineOf(server);
    const crowd = await connectCrowd(server.port, '/echo', resets);
    const part = frame(opcode.binary, Buffer.alloc(5000), { announcedLength: 10_000_000 });
    await Promise.all(crowd.map(({ socket }) => new Promise(resolve => socket.write(part, resolve))));
    await roundTrip(baseline.probe);
    for (const { socket } of crowd) socket.resetAndDestroy();
    await untilBack(baseline);
    t.diagnostic(`${sockets}: ${resets} reset; ${mebibytes(grownSince(baseline))} more than before`);
    assert.ok(grownSince(baseline) < 100 * MiB);
  });

  test(`the server frees everything of peers that reset during broadcasts ${on}`, async t => {
    if (skipUnlessLinux(t, '/proc')) return;
    const server = await startServerFor(t, '--sockets', sockets, '--log-level', 'warn');
    const baseline = await baselineOf(server);
    const crowd = await connectCrowd(server.port, '/broadcast', 300);
    const piece = frame(opcode.binary, Buffer.alloc(20_000));
    crowd.forEach(({ socket }, i) => {
      socket.write(piece, () => i % 2 === 0 && socket.resetAndDestroy());
    });
    await until(baseline.probe, () =>
      crowd.every((client, i) => i % 2 === 0 || client.received > 0 || client.isOver),
    );
    for (const { socket } of crowd) socket.resetAndDestroy();
    await untilBack(baseline);
  });

  test(`garbage on ${garbageConnections} connections affects no other connection, and the server frees all of it ${on}`, async t => {
    if (skipUnlessLinux(t, '/proc')) return;
    const server = await startServerFor(
      t,
      '--sockets',
      sockets,
      '--log-level',
      'warn',
      '--handshake-timeout',
      '1s',
      '--close-timeout',
      '500ms',
    );
    const baseline = await baselineOf(server);
    const seed = `pollywog ${sockets}`;
    const crowd = await Promise.all(
      Array.from({ length: garbageConnections }, () => connectTcp(server.port)),
    );
    crowd.forEach((socket, i) => {
      socket.on('error', () => {}).resume();
      const blocks = Array.from({ length: 1 + (i % 40) }, (_, at) =>
        createHash('sha512').update(`${seed} ${i} ${at}`).digest(),
      );
      socket.write(Buffer.concat(blocks));
    });
    await untilStill(baseline.probe, () => crowd.reduce((sum, { bytesRead }) => sum + bytesRead, 0));
    const refused = crowd.filter(socket => socket.readableEnded).length;
    t.diagnostic(`${sockets}: seed '${seed}': ${refused} of ${crowd.length} were refused at once`);
    // Half of them end in order, half by a reset.
    for (const [i, socket] of crowd.entries()) {
      if (i % 2 === 0) socket.end();
      else socket.resetAndDestroy();
    }
    await untilBack(baseline);
    for (const socket of crowd) socket.destroy();
    await assertServes(server.port);
  });
}

test('a server without free descriptors serves its connections, and new ones once descriptors are free', async t => {
  if (skipUnlessLinux(t, 'prlimit')) return;
  const limit = 200;
  const server = await startServerFor(t, '--log-level', 'warn', '--max-per-address', '0');
  execFileSync('prlimit', ['--pid', `${server.pid}`, `--nofile=${limit}:${limit}`]);
  const baseline = await baselineOf(server);
  const crowd: Socket[] = [];
  let open = 0;
  for (let i = 0; i < limit + 50; i++) {
    const socket = await connectTcp(server.port);
    open++;
    socket
      .on('error', () => {})
      .on('close', () => open--)
      .resume();
    socket.on('end', () => socket.destroy());
    crowd.push(socket);
  }
  await until(baseline.probe, () => open < limit);
  t.diagnostic(`${open} of ${crowd.length} were let in; ${server.logged().length} lines in the log`);
  assert.ok(open > limit / 2);
  assert.ok(server.logged().length < 200, 'the log stays short');
  for (const socket of crowd) socket.destroy();
  await untilBack(baseline);
  await assertServes(server.port);
});
