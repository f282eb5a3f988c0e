/** A side that does not read pauses only its own peer; memory stays bounded, and nothing is lost. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { connectCounting } from '../../support/countingClient.ts';
import { roundTrip, until, untilStill } from '../../support/echoProbe.ts';
import { skipUnlessLinux } from '../../support/linux.ts';
import { MiB, residentMemory } from '../../support/processState.ts';
import { connectRaw } from '../../support/rawClient.ts';
import { closeFrame, frame, opcode } from '../../support/rawFrame.ts';
import { serverScript, startServerFor, startServerWith } from '../../support/serverProcess.ts';
import { temporaryFolder } from '../../support/temporaryFolder.ts';
import { untilLogged } from '../../support/untilLogged.ts';
import { nextShown, quoteWords, untilSo } from './programs.ts';

const folder = temporaryFolder();
const sh = (script: string) => quoteWords('sh', '-c', script);
const go = join(folder, 'go');
/** Reads nothing until a certain file exists. */
const sleeper = (then: string) => `while [ ! -e ${go}-$QUERY_STRING ]; do sleep 0.05; done; ${then}`;

for (const sockets of ['auto', 'stream']) {
  const on = `(--sockets ${sockets})`;

  test(`a program that does not read pauses its client, and later gets everything in order ${on}`, async t => {
    if (skipUnlessLinux(t, '/proc')) return;
    // It answers after 64 MiB, not at the end of stdin.
    const script = sleeper('head -c 67108864 | md5sum');
    const server = await startServerFor(t, '--exec', `x:line=${sh(script)}`, '--sockets', sockets);
    const other = await connectRaw(server.port, { path: '/echo' });
    await roundTrip(other);
    const before = residentMemory(server.pid);

    const client = await connectRaw(server.port, { path: `/x?${sockets}` });
    const line = 'x'.repeat(999);
    const count = 64 * 1024;
    const batch = Buffer.concat(Array.from({ length: 256 }, () => frame(opcode.text, line)));
    for (let sent = 0; sent < count; sent += 256) client.send(batch);
    const waiting = await untilStill(other, () => client.socket.writableLength);
    const grown = residentMemory(server.pid) - before;
    t.diagnostic(
      `${(waiting / MiB).toFixed(1)} of 64 MiB were not taken; memory grew by ${(grown / MiB).toFixed(1)} MiB`,
    );
    assert.ok(waiting > 32 * MiB, 'the server stopped reading');
    assert.ok(grown < 32 * MiB, `its memory grew by ${grown} bytes`);

    writeFileSync(`${go}-${sockets}`, '');
    await until(other, () => client.socket.writableLength === 0);
    const digest = createHash('md5');
    for (let i = 0; i < count; i += 256) digest.update(`${line}\n`.repeat(256));
    // 1,000 bytes a line, and the program wants 1,024.
    client.send(frame(opcode.text, 'y'.repeat(count * 24 - 1)));
    digest.update(`${'y'.repeat(count * 24 - 1)}\n`);
    assert.equal(await nextShown(client), `${digest.digest('hex')}  -`);
    client.destroy();
    other.destroy();
  });

  test(`a client that does not read pauses its program, and later gets every byte in order ${on}`, async t => {
    if (skipUnlessLinux(t, '/proc')) return;
    // A MiB of lines, 64 times.
    const script = `import sys
line = b'x' * 1023 + b'\\n'
for i in range(64 * 1024): sys.stdout.buffer.write(line)
sys.stdout.flush()
sys.stderr.write('written\\n')`;
    const server = await startServerFor(
      t,
      ...[
        '--exec',
        `x=${quoteWords('/usr/bin/python3', '-c', script)}`,
        '--sockets',
        sockets,
        '--compress',
        'off',
      ],
    );
    const other = await connectRaw(server.port, { path: '/echo' });
    await roundTrip(other);
    const before = residentMemory(server.pid);
    const client = await connectCounting(server.port, '/x');
    client.due = frame(opcode.text, Buffer.alloc(1023, 'x'), { key: null });
    client.socket.pause();
    await untilStill(other, () => client.socket.bytesRead);
    const grown = residentMemory(server.pid) - before;
    t.diagnostic(`memory grew by ${(grown / MiB).toFixed(1)} MiB`);
    assert.ok(grown < 24 * MiB, `its memory grew by ${grown} bytes`);
    assert.equal(
      server.logged().some(({ line }) => line === 'written'),
      false,
      'the program waits',
    );
    client.socket.resume();
    const total = 64 * 1024 * client.due.length;
    await until(other, () => client.received >= total || client.isOver);
    assert.deepEqual(
      [client.received >= total, client.wrongAt === undefined || client.wrongAt >= total],
      [true, true],
    );
    client.socket.destroy();
    other.destroy();
  });

  test(`a program that floods short lines does not delay other connections ${on}`, async t => {
    if (skipUnlessLinux(t, '/proc')) return;
    const server = await startServerFor(t, '--exec', 'yes=yes', '--sockets', sockets);
    const flooded = await connectCounting(server.port, '/yes');
    flooded.due = frame(opcode.text, 'y', { key: null });
    const other = await connectRaw(server.port, { path: '/echo' });
    const before = residentMemory(server.pid);
    let answered = 0;
    while (flooded.received < 3_000_000) {
      await roundTrip(other);
      answered++;
    }
    t.diagnostic(`${answered} round trips while a million lines came`);
    assert.ok(answered >= 20, `${answered}`);
    assert.equal(flooded.wrongAt, undefined);
    assert.ok(residentMemory(server.pid) - before < 48 * MiB);
    flooded.socket.destroy();
    other.destroy();
  });
}

test('a slow client gets all output of a program, even long after the program has ended', async t => {
  // Writes until the pipe is full, reports how much that was, and exits.
  const script = `import os, sys, time
os.set_blocking(1, False)
written = stuck = 0
while stuck < 20:
    try:
        written += os.write(1, b'x' * 1023 + b'\\n')
        stuck = 0
    except BlockingIOError:
        stuck += 1
        time.sleep(0.02)
sys.stderr.write(str(written))`;
  const program = quoteWords('/usr/bin/python3', '-c', script);
  const server = await startServerFor(
    t,
    '--exec',
    `x=${program}`,
    '--exec-grace',
    '1ms',
    '--log-level',
    'debug',
  );
  const other = await connectRaw(server.port, { path: '/echo' });
  const client = await connectRaw(server.port, { path: '/x' });
  client.socket.pause();
  const { line } = await server.untilLogged(({ event }) => event === 'program stderr');
  await untilLogged(server, 'program ended');
  await untilStill(other, () => client.socket.bytesRead);
  client.socket.resume();
  let received = 0;
  let next = await client.nextFrame();
  for (; next?.opcode === opcode.text; next = await client.nextFrame()) received += next.payload.length + 1;
  assert.equal(next?.payload.readUInt16BE(0), 1000);
  // The last line may have no line end.
  assert.ok(received === Number(line) || received === Number(line) + 1, `${received} of ${line}`);
  client.destroy();
  other.destroy();
});

test('a client whose program does not read still gets pings, pongs and the answer to its close', async t => {
  const server = await startServerFor(
    t,
    ...['--exec', `x=${sh(sleeper('exec cat'))}`, '--log-level', 'debug', '--ping-interval', '100ms'],
    ...['--pong-timeout', '300ms', '--exec-grace', '200ms'],
  );
  const client = await connectRaw(server.port, { path: '/x?never' });
  const filling = Buffer.concat(Array.from({ length: 1000 }, () => frame(opcode.text, 'x'.repeat(1000))));
  client.send(filling);
  // These pings are behind frames that wait for the program. The server's own pings still arrive.
  for (let i = 0; i < 12; i++) assert.equal((await client.nextFrame())?.opcode, opcode.ping);
  assert.equal(client.socket.readableEnded, false);
  client.destroy();
  await untilLogged(server, 'program ended');
});

test('a client that closes with unread input ends its program once that has read the input', async t => {
  const script = `${sleeper('wc -l >&2')}`;
  const server = await startServerFor(t, '--exec', `x=${sh(script)}`, '--exec-grace', '1h');
  const other = await connectRaw(server.port, { path: '/echo' });
  const client = await connectRaw(server.port, { path: '/x?wc' });
  for (let i = 0; i < 1000; i++) client.send(frame(opcode.text, 'x'.repeat(1000)));
  client.send(closeFrame(1000));
  client.socket.end();
  await untilStill(other, () => client.socket.writableLength);
  writeFileSync(`${go}-wc`, '');
  const said = await server.untilLogged(({ event }) => event === 'program stderr');
  assert.equal(String(said['line']).trim(), '1000', 'nothing is lost');
  await client.ended;
  other.destroy();
});

test('a program that closes its stdin and runs on loses its input, and its client is not paused', async t => {
  const server = await startServerFor(t, '--exec', `x=${sh('exec <&-; echo deaf; sleep 1000')}`);
  const client = await connectRaw(server.port, { path: '/x' });
  assert.equal(await nextShown(client), 'deaf');
  for (let i = 0; i < 2000; i++) client.send(frame(opcode.text, 'x'.repeat(1000)));
  client.send(frame(opcode.ping, 'here'));
  assert.equal((await client.nextFrame())?.payload.toString(), 'here');
  client.destroy();
});

test('a program that closes its stdin resumes its paused client', async t => {
  const script = sleeper('exec <&-; echo closed; exec sleep 1000');
  const server = await startServerFor(t, '--exec', `x=${sh(script)}`, '--exec-grace', '200ms');
  const other = await connectRaw(server.port, { path: '/echo' });
  const client = await connectRaw(server.port, { path: '/x?closes' });
  // 32 MB: the system's buffers hold up to 10.
  for (let i = 0; i < 2000; i++) client.send(frame(opcode.text, 'x'.repeat(16_000)));
  client.send(frame(opcode.ping, 'here'));
  assert.ok((await untilStill(other, () => client.socket.writableLength)) > 0);
  writeFileSync(`${go}-closes`, '');
  assert.equal(await nextShown(client), 'closed');
  assert.equal((await client.nextFrame())?.payload.toString(), 'here');
  client.destroy();
  other.destroy();
});

test('a paused connection can end with an incomplete message', async t => {
  const server = await startServerFor(t, '--exec', `x=${sh(sleeper('exec cat'))}`, '--log-level', 'debug');
  const client = await connectRaw(server.port, { path: '/x?half' });
  const filling = Buffer.concat(Array.from({ length: 1000 }, () => frame(opcode.text, 'x'.repeat(1000))));
  client.send(filling, frame(opcode.text, 'begun').subarray(0, 4));
  client.socket.end();
  writeFileSync(`${go}-half`, '');
  client.socket.resume();
  await once(client.socket, 'close');
  await untilLogged(server, 'program ended');
});

test('unread input of programs whose clients have left counts against --max-memory', async t => {
  const control = join(folder, 'left.sock');
  const server = await startServerWith(
    [
      ...['-p', '0', '--host', '127.0.0.1', '--log-format', 'json', '--control', control],
      ...['--exec', 'x=sleep 1000', '--exec-grace', '2s', '--max-memory', '16MB'],
    ],
    { test: t },
  );
  const usedMemory = (): number => {
    const words = [serverScript, 'info', '--json', '--control', control];
    return JSON.parse(execFileSync(process.execPath, words, { encoding: 'utf8' })).memory.used;
  };
  const before = usedMemory();
  const message = frame(opcode.text, 'y'.repeat(4 * MiB));
  let mostUsed = 0;
  // One after the other, so that no connection is closed to save memory.
  for (let i = 0; i < 8; i++) {
    const client = await connectRaw(server.port, { path: '/x' });
    client.send(Buffer.concat([message, closeFrame(1000)]));
    while ((await client.nextFrame())?.opcode !== opcode.close);
    client.destroy();
    mostUsed = Math.max(mostUsed, usedMemory());
  }
  assert.ok(mostUsed > 4 * MiB && mostUsed <= 16 * MiB, `${mostUsed} bytes counted`);
  const other = await connectRaw(server.port, { path: '/echo' });
  await roundTrip(other);
  other.destroy();
  // The programs end, and with them all unread input.
  await untilSo(() => usedMemory() <= before);
  assert.equal(usedMemory(), before);
});
