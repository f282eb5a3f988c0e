/** `--exec-shared`: one program for all connections, restarted when it ends. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { connectCounting } from '../../support/countingClient.ts';
import { roundTrip, until, untilStill } from '../../support/echoProbe.ts';
import { skipUnlessLinux } from '../../support/linux.ts';
import { MiB, residentMemory } from '../../support/processState.ts';
import { connectRaw, type RawClient } from '../../support/rawClient.ts';
import { closeFrame, frame, opcode } from '../../support/rawFrame.ts';
import { startServerFor } from '../../support/serverProcess.ts';
import { temporaryFolder } from '../../support/temporaryFolder.ts';
import { untilLogged } from '../../support/untilLogged.ts';
import { nextShown, quoteWords, untilSo, writeProgram } from './programs.ts';

const folder = temporaryFolder();
const sh = (script: string) => quoteWords('sh', '-c', script);

/** Reports each event to the client it is about, and executes commands of the form `ID to WHOM TEXT`. */
const mirror = writeProgram(
  folder,
  'mirror.py',
  `#!/usr/bin/python3
import json, sys
for line in sys.stdin:
    record = json.loads(line)
    order = record.get('text', '').split(' ', 2)
    if order[0] == 'to':
        whom = '*' if order[1] == '*' else [int(id) for id in order[1].split(',')]
        print(json.dumps({'id': whom, 'text': order[2]}), flush=True)
    elif order[0] == 'close':
        print(json.dumps({'id': json.loads(order[1]), 'close': 4000}), flush=True)
    elif order[0] == 'raw':
        print(' '.join(order[1:]), flush=True)
    elif order[0] == 'exit':
        sys.exit(int(order[1]))
    elif 'open' in record:
        print(json.dumps({'id': record['id'], 'text': '%d %s' % (record['id'], record['open']['REQUEST_URI'])}), flush=True)
    elif 'close' in record:
        print(json.dumps({'id': '*', 'text': 'left %d %d %s' % (record['id'], record['close'], record['reason'])}), flush=True)
    else:
        print(json.dumps(record), flush=True)
`,
);
const mirrored = `mirror:json=${quoteWords(mirror)}`;

async function enter(port: number, number: number): Promise<RawClient> {
  const client = await connectRaw(port, { path: `/mirror?${number}` });
  assert.equal(await nextShown(client), `${number} /mirror?${number}`);
  return client;
}

test('a shared program learns who connects, sends to one, several or all, and can close connections', async t => {
  const server = await startServerFor(t, '--exec-shared', mirrored);
  const a = await enter(server.port, 1);
  const b = await enter(server.port, 2);
  const c = await enter(server.port, 3);
  a.send(frame(opcode.text, 'hi\n'), frame(opcode.binary, Buffer.from([0, 255])));
  for (const due of ['hi\n', '0x00ff']) assert.equal(await nextShown(a), due);
  a.send(
    frame(opcode.text, 'to 2,3,3,99 psst'),
    frame(opcode.text, 'to * all'),
    frame(opcode.text, 'to 1 me'),
  );
  for (const due of ['all', 'me']) assert.equal(await nextShown(a), due);
  for (const client of [b, c]) for (const due of ['psst', 'all']) assert.equal(await nextShown(client), due);
  a.send(frame(opcode.text, 'close 2'));
  assert.equal(await nextShown(b), 'close 4000 ');
  b.send(closeFrame(4000, 'so be it'));
  for (const client of [a, c]) assert.equal(await nextShown(client), 'left 2 4000 so be it');
  c.destroy();
  assert.match(await nextShown(a), /^left 3 1006 /);
  // Ids are not reused.
  const d = await enter(server.port, 4);
  a.send(frame(opcode.text, 'to 2,3 nobody hears this'), frame(opcode.text, 'close "*"'));
  for (const client of [a, d]) assert.equal(await nextShown(client), 'close 4000 ');
  for (const client of [a, b, d]) client.destroy();
});

test('messages keep their order, for each client and among all', async t => {
  const server = await startServerFor(t, '--exec-shared', `all=${sh(`exec sed -u 's/^[0-9]*/*/'`)}`);
  const clients = await Promise.all(
    Array.from({ length: 20 }, () => connectRaw(server.port, { path: '/all' })),
  );
  for (let i = 0; i < 200; i++)
    for (const [n, client] of clients.entries()) client.send(frame(opcode.text, `${n} ${i}`));
  const heard = await Promise.all(
    clients.map(async client => {
      const all: string[] = [];
      while (all.length < 4000) all.push(await nextShown(client));
      return all;
    }),
  );
  for (const all of heard) assert.deepEqual(all, heard[0]);
  for (let n = 0; n < 20; n++) {
    const its = heard[0]!.filter(text => text.startsWith(`${n} `));
    assert.deepEqual(
      its,
      Array.from({ length: 200 }, (_, i) => `${n} ${i}`),
    );
  }
  for (const client of clients) client.destroy();
});

test('an invalid record is logged and skipped, and harms no connection', async t => {
  const server = await startServerFor(t, '--exec-shared', mirrored);
  const client = await enter(server.port, 1);
  for (const line of ['no json', '{"id":1}', '{"id":1,"text":"a","close":1}', '{"id":1,"close":1006}'])
    client.send(frame(opcode.text, `raw ${line}`));
  client.send(frame(opcode.text, 'still here'));
  assert.equal(await nextShown(client), 'still here');
  await untilLogged(server, 'invalid program output', 4);
  client.destroy();
});

test('when the program ends, its connections are closed with 1012, and it restarts after growing delays', async t => {
  const server = await startServerFor(t, '--exec-shared', mirrored, '--log-level', 'debug');
  for (let round = 1; round <= 4; round++) {
    await untilLogged(server, 'program started', round);
    const client = await enter(server.port, 2 * round - 1);
    const other = await enter(server.port, 2 * round);
    // Exit code 0 does not prevent a restart.
    client.send(frame(opcode.text, `exit ${round % 2}`));
    for (const one of [client, other])
      assert.equal(await nextShown(one), 'close 1012 the program is restarting');
    await untilLogged(server, 'program restarts', round);
    client.destroy();
    other.destroy();
  }
  const waits = server.logged().filter(({ event }) => event === 'program restarts');
  assert.deepEqual(
    waits.map(({ in: time }) => time),
    [100, 200, 400, 800],
  );
  // A client that connects while no program runs is rejected.
  const early = await connectRaw(server.port, { path: '/mirror' });
  assert.match(await nextShown(early), /^close 1013 the program cannot accept clients now/);
  early.destroy();
  assert.equal(await server.stop(), 0);
});

test('a program that fails to start is tried again and again', async t => {
  // The file exists at the start; then it is replaced, and the program exits.
  const path = writeProgram(folder, 'late', '#!/bin/sh\nread line\n');
  const server = await startServerFor(t, '--exec-shared', `late=${quoteWords(path)}`, '--log-level', 'debug');
  writeProgram(folder, 'late', '#!/no/such\n');
  const last = await connectRaw(server.port, { path: '/late' });
  last.send(frame(opcode.text, 'end'));
  await untilLogged(server, 'program not started', 2);
  last.destroy();
  const { why } = await server.untilLogged(({ event }) => event === 'program not started');
  assert.match(String(why), /needs the interpreter "\/no\/such", which does not exist/);
  const early = await connectRaw(server.port, { path: '/late' });
  assert.match(await nextShown(early), /^close 1013 /);
  writeProgram(folder, 'late', '#!/bin/sh\nexec cat\n');
  await untilLogged(server, 'program started');
  const client = await connectRaw(server.port, { path: '/late' });
  await roundTrip(client);
  client.destroy();
  early.destroy();
});

test('a program that writes an endless line is ended and restarted', async t => {
  const once = `if mkdir ${folder}/once; then exec tr '\\0' x </dev/zero; else exec cat; fi`;
  const server = await startServerFor(
    t,
    ...[
      '--exec-shared',
      `x=${sh(once)}`,
      '--max-message',
      '64KB',
      '--log-level',
      'debug',
      '--exec-grace',
      '200ms',
    ],
  );
  await untilLogged(server, 'invalid program output');
  await untilLogged(server, 'program started', 2);
  const client = await connectRaw(server.port, { path: '/x' });
  await roundTrip(client);
  client.destroy();
});

test('a slow consumer is closed with 1013, and the others get everything', async t => {
  const script = `while read -r id text; do seq -f '* %0100000.0f' $text; done`;
  const server = await startServerFor(t, '--exec-shared', `x=${sh(script)}`, '--compress', 'off');
  const slow = await connectRaw(server.port, { path: '/x' });
  slow.socket.pause();
  const quick = await connectCounting(server.port, '/x');
  const probe = await connectRaw(server.port, { path: '/echo' });
  const isBehind = () => server.logged().some(({ event }) => event === 'slow consumer closed');
  for (let asked = 0; !isBehind(); ) {
    quick.socket.write(frame(opcode.text, '10'));
    asked += 10;
    await until(probe, () => quick.received >= asked * 100_010 || quick.isOver);
    assert.equal(quick.received, asked * 100_010);
  }
  slow.socket.resume();
  slow.send(closeFrame(1013));
  const frames = await slow.remainingFrames();
  assert.equal(frames.at(-1)?.payload.readUInt16BE(0), 1013);
  quick.socket.destroy();
  probe.destroy();
});

test('a program that does not read pauses its senders and rejects new clients, in bounded memory', async t => {
  if (skipUnlessLinux(t, '/proc')) return;
  const go = `${folder}/go`;
  const script = `while [ ! -e ${go} ]; do sleep 0.05; done; exec cat`;
  const server = await startServerFor(t, '--exec-shared', `x=${sh(script)}`);
  const probe = await connectRaw(server.port, { path: '/echo' });
  await roundTrip(probe);
  const clients = await Promise.all(Array.from({ length: 4 }, () => connectRaw(server.port, { path: '/x' })));
  const before = residentMemory(server.pid);
  const batch = Buffer.concat(Array.from({ length: 100 }, () => frame(opcode.text, 'x'.repeat(100_000))));
  for (const client of clients) client.send(batch);
  const waiting = await untilStill(probe, () =>
    clients.reduce((sum, { socket }) => sum + socket.writableLength, 0),
  );
  const grown = residentMemory(server.pid) - before;
  t.diagnostic(
    `${(waiting / MiB).toFixed(1)} MiB were not taken; memory grew by ${(grown / MiB).toFixed(1)} MiB`,
  );
  assert.ok(waiting > 20 * MiB && grown < 24 * MiB);
  writeProgram(folder, 'go', '');
  for (const client of clients)
    for (let i = 0; i < 100; i++) assert.equal((await client.nextFrame())?.payload.length, 100_000);
  for (const client of clients) client.destroy();
  probe.destroy();
});

test('new clients are rejected while more than --max-buffered bytes wait for the program', async t => {
  const server = await startServerFor(
    t,
    '--exec-shared',
    `x=${sh('sleep 1000')}`,
    '--max-buffered',
    '100KB',
    '--exec-grace',
    '100ms',
  );
  const client = await connectRaw(server.port, { path: '/x' });
  // The pipe holds less than one of them.
  for (let i = 0; i < 2; i++) client.send(frame(opcode.text, 'x'.repeat(100_000)));
  client.send(frame(opcode.ping, ''));
  assert.equal((await client.nextFrame())?.opcode, opcode.pong);
  const late = await connectRaw(server.port, { path: '/x' });
  assert.match(await nextShown(late), /^close 1013 the program cannot accept clients now/);
  late.destroy();
  client.destroy();
  assert.equal(await server.stop(), 0);
  await untilSo(() => server.logged().some(({ event }) => event === 'stopped'));
});
