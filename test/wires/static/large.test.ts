/** Large files are sent in slices, as their clients read them, with bounded memory and few descriptors. */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import {
  closeSync,
  ftruncateSync,
  openSync,
  renameSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import type { Socket } from 'node:net';
import { join } from 'node:path';
import { test } from 'node:test';
import { roundTrip } from '../../support/echoProbe.ts';
import { skipUnlessLinux } from '../../support/linux.ts';
import { ask, requestBytes } from '../../support/pollClient.ts';
import { MiB, openFilesBelow, residentMemory } from '../../support/processState.ts';
import { connectRaw, connectTcp, exchange } from '../../support/rawClient.ts';
import { startServerFor, startServerWith } from '../../support/serverProcess.ts';
import { temporaryFolder } from '../../support/temporaryFolder.ts';

/** Bytes that differ at each offset. */
function pattern(size: number): Buffer {
  const bytes = Buffer.alloc(size);
  for (let at = 0; at + 4 <= size; at += 4) bytes.writeUInt32BE(at, at);
  return bytes;
}

function bodyOf(answer: Buffer): Buffer {
  return answer.subarray(answer.indexOf('\r\n\r\n') + 4);
}

const hash = (bytes: Buffer) => createHash('sha256').update(bytes).digest('hex');

test('files of all sizes around a slice arrive whole, one after the other on one connection', async t => {
  const folder = temporaryFolder();
  const sizes = [0, 1, 65_535, 65_536, 65_537, 131_072, 3_000_000];
  for (const size of sizes) writeFileSync(join(folder, `${size}`), pattern(size));
  const { port } = await startServerFor(t, '--static', folder);
  const requests = sizes.map((size, at) =>
    requestBytes('GET', `/${size}`, {
      headers: { Connection: at === sizes.length - 1 ? 'close' : 'keep-alive' },
    }),
  );
  let rest = await exchange(port, Buffer.concat(requests));
  for (const size of sizes) {
    const head = rest.indexOf('\r\n\r\n') + 4;
    assert.match(rest.toString('latin1', 0, head), new RegExp(`Content-Length: ${size}\r\n`));
    assert.equal(hash(rest.subarray(head, head + size)), hash(pattern(size)), `${size}`);
    rest = rest.subarray(head + size);
  }
  assert.equal(rest.length, 0);
  const ranges = await exchange(
    port,
    requestBytes('GET', '/3000000', { headers: { Range: 'bytes=100000-2999999' } }),
  );
  assert.equal(hash(bodyOf(ranges)), hash(pattern(3_000_000).subarray(100_000)));
  const several = { Range: 'bytes=0-199999, 1000000-1999999' };
  const { status, isWhole } = await ask(port, 'GET', '/3000000', { headers: several });
  assert.deepEqual([status, isWhole], [206, true]);
});

test('50 clients that do not read a file of 1 GB take little memory, and others are served meanwhile', async t => {
  if (skipUnlessLinux(t, '/proc')) return;
  const folder = temporaryFolder();
  const file = openSync(join(folder, 'video.mp4'), 'w');
  ftruncateSync(file, 1024 * MiB);
  closeSync(file);
  const { port, pid } = await startServerFor(t, '--static', folder, '--close-timeout', '0');
  const probe = await connectRaw(port, { path: '/echo' });
  t.after(() => probe.destroy());
  await roundTrip(probe);
  const before = residentMemory(pid);
  const clients: Socket[] = [];
  for (let i = 0; i < 50; i++) {
    const socket = await connectTcp(port);
    clients.push(socket);
    t.after(() => socket.destroy());
    socket.write(requestBytes('GET', '/video.mp4'));
    await once(socket, 'readable');
    socket.pause();
  }
  await roundTrip(probe);
  assert.equal(openFilesBelow(pid, folder), 50);
  const grown = residentMemory(pid) - before;
  t.diagnostic(`memory grew by ${(grown / MiB).toFixed(1)} MiB`);
  assert.ok(grown < 64 * MiB, `${grown}`);
  for (const socket of clients) socket.destroy();
  // A descriptor is closed with its connection.
  while (openFilesBelow(pid, folder) > 0) await roundTrip(probe);
});

test('a file that becomes shorter while it is sent ends the connection, so the client knows', async t => {
  const folder = temporaryFolder();
  const path = join(folder, 'log.bin');
  writeFileSync(path, Buffer.alloc(64 * MiB));
  const { port } = await startServerFor(t, '--static', folder);
  const socket = await connectTcp(port);
  socket.on('error', () => {});
  // The server would keep the connection after a whole answer.
  socket.write(requestBytes('GET', '/log.bin', { headers: { Connection: 'keep-alive' } }));
  await once(socket, 'readable');
  truncateSync(path, 0);
  let size = 0;
  socket.on('data', bytes => {
    size += bytes.length;
  });
  socket.resume();
  await once(socket, 'end');
  socket.destroy();
  assert.ok(size < 64 * MiB);
  assert.equal((await ask(port, 'GET', '/log.bin')).status, 200);
});

test('a file that is replaced while it is sent arrives as it was', async t => {
  const folder = temporaryFolder();
  const path = join(folder, 'a.bin');
  writeFileSync(path, pattern(16 * MiB));
  const { port } = await startServerFor(t, '--static', folder);
  const socket = await connectTcp(port);
  socket.write(requestBytes('GET', '/a.bin'));
  await once(socket, 'readable');
  writeFileSync(join(folder, 'new'), 'new');
  renameSync(join(folder, 'new'), path);
  const pieces: Buffer[] = [];
  socket.on('data', bytes => pieces.push(bytes)).resume();
  await once(socket, 'end');
  socket.destroy();
  assert.equal(hash(bodyOf(Buffer.concat(pieces))), hash(pattern(16 * MiB)));
});

test('files that fill their share of the descriptors leave 503 for others until they are sent, except short ones', async t => {
  if (skipUnlessLinux(t, '/proc')) return;
  const folder = temporaryFolder();
  const file = openSync(join(folder, 'large.bin'), 'w');
  writeSync(file, 'x');
  ftruncateSync(file, 1024 * MiB);
  closeSync(file);
  writeFileSync(join(folder, 'short.txt'), 'short');
  const options = [
    '-p',
    '0',
    '--host',
    '127.0.0.1',
    '--control',
    'none',
    '--log-format',
    'json',
    '--static',
    folder,
  ];
  const { port, pid } = await startServerWith(options, { test: t, openFiles: 128 });
  const statuses: string[] = [];
  const sockets: Socket[] = [];
  for (let i = 0; i < 40; i++) {
    const socket = await connectTcp(port);
    sockets.push(socket);
    t.after(() => socket.destroy());
    socket.on('error', () => {});
    socket.write(requestBytes('GET', '/large.bin'));
    await once(socket, 'readable');
    statuses.push((socket.read(12) as Buffer).toString());
    socket.pause();
  }
  const sending = statuses.filter(status => status.endsWith('200')).length;
  assert.equal(sending, openFilesBelow(pid, folder));
  assert.ok(sending >= 20 && sending <= 33, `${sending}`);
  assert.deepEqual(new Set(statuses.slice(-5)), new Set(['HTTP/1.1 503']));
  assert.equal((await ask(port, 'GET', '/short.txt')).body, 'short');
  for (const socket of sockets) socket.destroy();
  while (openFilesBelow(pid, folder) > 0) await ask(port, 'GET', '/short.txt');
  writeFileSync(join(folder, 'middle.bin'), Buffer.alloc(100_000));
  for (const _ of sockets) assert.equal((await ask(port, 'GET', '/middle.bin')).status, 200);
});
