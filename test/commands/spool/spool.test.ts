/** The spool: files of commands and their answers. */
import assert from 'node:assert/strict';
import { appendFileSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { stableNames } from '../../../src/commands/spool/spoolFiles.ts';
import { maxCommandLine, maxSpoolFile } from '../../../src/protocol/limits.ts';
import { connectRaw, type RawClient } from '../../support/rawClient.ts';
import { frame, opcode } from '../../support/rawFrame.ts';
import { newSpoolFolder, startSpooling, untilThrough } from '../../support/spool.ts';

async function texts(client: RawClient, count: number): Promise<string[]> {
  const heard: string[] = [];
  while (heard.length < count) heard.push(String((await client.nextFrame())?.payload));
  return heard;
}

test('the lines of a file run in order, and their output becomes its answer', async t => {
  const spool = newSpoolFolder(t);
  const server = await startSpooling(spool);
  const client = await connectRaw(server.port);
  t.after(() => client.destroy());
  const lines = [
    '# a comment',
    '',
    'broadcast one   two',
    '  # another',
    'get ping-interval\r',
    '{"command":"broadcast","text":"from JSON","json":true}',
    "broadcast --json 'as  it  is'",
  ];
  spool.put('001', lines.join('\n'));
  const { failed, said } = await untilThrough(server, spool, '001');
  assert.equal(failed, false);
  const expected = /^sent: 1\nname +value +set\nping-interval +25s +any time\n\{"sent":1\}\n\{"sent":1\}\n$/;
  assert.match(said, expected);
  assert.deepEqual(await texts(client, 3), ['one two', 'from JSON', 'as  it  is']);
  assert.deepEqual(readdirSync(spool.path).sort(), ['001.out', 'failed', 'running']);
  assert.deepEqual([...spool.names('', 'failed'), ...spool.names('', 'running')], []);
});

test('the first line that fails ends the file', async t => {
  const spool = newSpoolFolder(t);
  const server = await startSpooling(spool);
  const content = 'broadcast a\n\nbrodcast b\nstop\n';
  spool.put('x', content);
  const { failed, said } = await untilThrough(server, spool, 'x');
  assert.equal(said, 'sent: 0\nline 3: unknown command "brodcast"; did you mean broadcast?\n');
  assert.ok(failed);
  assert.equal(spool.read('failed/x.cmd'), content);
  assert.deepEqual([spool.has('x.cmd'), spool.has('x.out')], [false, false]);
  // What comes after it is not held up, and what failed before is kept.
  spool.put('x', 'nonsense\n');
  spool.put('y', 'broadcast c\n');
  assert.equal((await untilThrough(server, spool, 'y')).failed, false);
  assert.equal(spool.read('failed/x.cmd'), content);
  const again = spool.names('.cmd', 'failed').filter(name => name !== 'x');
  assert.match(again.join(), /^x\.\d+$/);
  assert.match(spool.read(`failed/${again}.out`), /^line 1: unknown command "nonsense"/);
});

test('files that wait at the start run in the order of their names', async t => {
  const spool = newSpoolFolder(t);
  mkdirSync(spool.path, { mode: 0o700 });
  const numbers = Array.from({ length: 120 }, (_, index) => String(index).padStart(3, '0'));
  // The first waits until somebody listens.
  for (const number of numbers.toReversed()) spool.put(`b${number}`, `broadcast ${number}\n`);
  spool.put('a', 'ping 1\nping 1\n');
  const server = await startSpooling(spool);
  assert.equal((await untilThrough(server, spool, 'a')).failed, true);
  await untilThrough(server, spool, 'b119');
  const done = server.logged().filter(({ event }) => event === 'spool file done');
  assert.deepEqual(
    done.map(({ name }) => name),
    numbers.map(number => `b${number}`),
  );
});

test('files that arrive while others run come in order, too', async t => {
  const spool = newSpoolFolder(t);
  const server = await startSpooling(spool);
  const client = await connectRaw(server.port);
  t.after(() => client.destroy());
  const numbers = Array.from({ length: 400 }, (_, index) => String(index).padStart(3, '0'));
  for (const number of numbers) {
    spool.put(number, `broadcast ${number}\n`);
    if (Number(number) % 10 === 0) await new Promise(setImmediate);
  }
  assert.deepEqual(await texts(client, 400), numbers);
  await untilThrough(server, spool, '399');
  assert.deepEqual(spool.names('.out'), numbers);
});

test('stableNames leaves out a name that only one of two listings has, and all after it', () => {
  const cases = [
    ['', 'a b', ''],
    ['a b', 'a b', 'a b'],
    ['a b', 'a b c', 'a b'],
    ['a c', 'a b c', 'a'],
    ['b c', 'a b c', ''],
    ['a b c', 'b c', ''],
    ['a b c', '', ''],
  ] as const;
  const names = (text: string) => text.split(' ').filter(Boolean);
  for (const [before, there, ready] of cases) {
    assert.deepEqual(stableNames(names(before), names(there)), names(ready), `${before} / ${there}`);
  }
});

test('a line waits for the ping before it, whether or not a pong comes', async t => {
  const spool = newSpoolFolder(t);
  const server = await startSpooling(spool, '--pong-timeout', '300ms');
  const client = await connectRaw(server.port);
  t.after(() => client.destroy());
  spool.put('1', 'ping 1\nbroadcast after\n');
  const ping = await client.nextFrame();
  assert.equal(ping?.opcode, opcode.ping);
  assert.equal(client.pending.length, 0);
  client.send(frame(opcode.pong, ping.payload));
  assert.deepEqual(await texts(client, 1), ['after']);
  assert.match((await untilThrough(server, spool, '1')).said, /^id: 1\nmilliseconds: \S+\nsent: 1\n$/);
  spool.put('2', 'ping 1\nbroadcast never\n');
  assert.deepEqual(await untilThrough(server, spool, '2'), {
    failed: true,
    said: 'line 1: no pong from connection 1 within 0.3 s\n',
  });
});

test('--binary names a file in the spool only', async t => {
  const spool = newSpoolFolder(t);
  const server = await startSpooling(spool);
  const client = await connectRaw(server.port);
  t.after(() => client.destroy());
  const bytes = Buffer.from([0, 255, 10, 13, 195]);
  writeFileSync(join(spool.path, 'some.bin'), bytes);
  spool.put('1', 'broadcast --binary some.bin\n');
  assert.equal((await untilThrough(server, spool, '1')).said, 'sent: 1\n');
  const heard = await client.nextFrame();
  assert.deepEqual([heard?.opcode, heard?.payload], [opcode.binary, bytes]);
  assert.ok(spool.has('some.bin'));
  const cases = [
    [
      '/etc/passwd',
      /^line 1: in the spool, --binary names a file in the spool's folder, not "\/etc\/passwd"\n$/,
    ],
    ['../spool/some.bin', /names a file in the spool's folder/],
    ['-', /names a file in the spool's folder/],
    ['.hidden', /names a file in the spool's folder/],
    ['nothing.bin', /^line 1: cannot read nothing.bin: no such file/],
    ['failed', /^line 1: cannot read failed: it is not a regular file; write a plain file\n$/],
  ] as const;
  for (const [index, [file, sentence]] of cases.entries()) {
    spool.put(`bad${index}`, `broadcast --binary ${file}\n`);
    assert.match((await untilThrough(server, spool, `bad${index}`)).said, sentence);
  }
});

test('a file that is empty, too large or not text fails with a sentence', async t => {
  const spool = newSpoolFolder(t);
  const server = await startSpooling(spool);
  const cases = [
    ['', 'the file is empty; write it under another name, and rename it when it is complete\n'],
    ['x'.repeat(maxSpoolFile + 1), 'it is larger than 1.0M; split it\n'],
    [
      Buffer.from([0x6c, 0xff]),
      'the file is not UTF-8: byte 0xff at offset 1; convert it, for instance with iconv\n',
    ],
    [Buffer.from('\ufeffl\n', 'utf16le'), 'the file is UTF-16; save it as UTF-8\n'],
    [
      `broadcast ${'x'.repeat(maxCommandLine)}`,
      'line 1: the line is longer than 64.0K; pass long data with --binary\n',
    ],
    ['\nwatch\n', 'line 2: watch runs until it is interrupted; run it in a shell instead\n'],
  ] as const;
  for (const [index, [content, sentence]] of cases.entries()) {
    spool.put(String(index), content);
    assert.deepEqual(await untilThrough(server, spool, String(index)), { failed: true, said: sentence });
    assert.ok(spool.has(`failed/${index}.cmd`));
  }
  // As long as it may be, and hardly a command in it.
  spool.put('long', `${'\n'.repeat(maxSpoolFile - 5)}rooms`);
  assert.equal((await untilThrough(server, spool, 'long')).failed, false);
});

test('a file that is written to while it runs fails, and is kept whole', async t => {
  const spool = newSpoolFolder(t);
  const server = await startSpooling(spool);
  const client = await connectRaw(server.port);
  t.after(() => client.destroy());
  spool.put('1', 'ping 1\n');
  const ping = await client.nextFrame();
  appendFileSync(join(spool.path, 'running/1.cmd'), 'broadcast late\n');
  client.send(frame(opcode.pong, ping!.payload));
  const { said } = await untilThrough(server, spool, '1');
  assert.match(said, /^id: 1\n.*\nthe file was changed while it ran; write it under another name/);
  assert.equal(spool.read('failed/1.cmd'), 'ping 1\nbroadcast late\n');
});

test('stop and drain take effect after the answer, and files that wait are left to the next server', async t => {
  for (const word of ['stop', 'drain']) {
    const spool = newSpoolFolder(t);
    mkdirSync(spool.path, { mode: 0o700 });
    spool.put('1', `${word}\nrooms\n`);
    spool.put('2', 'rooms\n');
    const server = await startSpooling(spool);
    assert.equal(await server.exited, 0);
    assert.match(spool.read('1.out'), /^(stopp|drain)ing: 0\nroom /);
    assert.deepEqual(spool.names('.cmd'), ['2']);
    const next = await startSpooling(spool);
    assert.equal((await untilThrough(next, spool, '2')).failed, false);
  }
});

test('a file that is running when the server ends moves to failed/ with the reason', async t => {
  const spool = newSpoolFolder(t);
  const server = await startSpooling(spool, '--drain-timeout', '1s');
  const client = await connectRaw(server.port);
  t.after(() => client.destroy());
  // It ends with the connection, whose client does not answer the close, either.
  spool.put('1', 'rooms\nping 1\nbroadcast never\n');
  await client.nextFrame();
  assert.equal(await server.stop(), 0);
  const said = spool.read('failed/1.out').split('\n')[1];
  assert.match(String(said), /^line 2: (the server ended during this command|connection 1 ended before)/);
  assert.equal(spool.read('failed/1.cmd'), 'rooms\nping 1\nbroadcast never\n');
  assert.deepEqual(spool.names('', 'running'), []);
});
