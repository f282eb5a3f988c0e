/** Commands on stdin, and how its bytes become lines. */
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, openSync } from 'node:fs';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { test } from 'node:test';
import { splitLines } from '../../src/commands/stdin.ts';
import { maxCommandBody } from '../../src/protocol/limits.ts';
import { type OpenServer, openServer } from '../support/commandWays.ts';
import { connectRaw } from '../support/rawClient.ts';
import { serverScript } from '../support/serverProcess.ts';
import { temporaryFolder } from '../support/temporaryFolder.ts';

async function untilSaid(server: OpenServer, text: string): Promise<void> {
  while (!server.stderr().includes(text)) await once(server.child.stderr!, 'data');
}

async function lines(chunks: readonly Buffer[], longest: number): Promise<(string | undefined)[]> {
  const found: (string | undefined)[] = [];
  for await (const line of splitLines(Readable.from(chunks), longest)) found.push(line?.toString());
  return found;
}

test('splitLines yields the same lines wherever the stream is cut, and discards those that are too long', async () => {
  const bytes = Buffer.from('one\r\n\ntoo long\n\u00fc\n123456\r\nlast');
  const expected = ['one', '', undefined, '\u00fc', undefined, 'last'];
  for (let size = 1; size <= bytes.length; size++) {
    const chunks: Buffer[] = [];
    for (let at = 0; at < bytes.length; at += size) chunks.push(bytes.subarray(at, at + size));
    assert.deepEqual(await lines(chunks, 6), expected, `cut every ${size} bytes`);
  }
  assert.deepEqual(await lines([], 6), []);
});

test('a byte order mark is skipped, and a line that is too long or not UTF-8 is refused without harm to the next', async t => {
  const server = await openServer(t);
  const listener = await connectRaw(server.port);
  const { stdin } = server.child;
  stdin!.write(Buffer.from('\ufeffbroadcast one\r\n'));
  assert.equal((await listener.nextFrame())?.payload.toString(), 'one');
  stdin!.write(Buffer.from('broadcast caf\u00e9\n', 'latin1'));
  await untilSaid(server, 'pollywog: the line on stdin is not UTF-8: byte 0xe9 at offset 13; ');
  stdin!.write(`broadcast ${'x'.repeat(maxCommandBody)}\n`);
  await untilSaid(server, `pollywog: the line is longer than ${maxCommandBody} bytes`);
  stdin!.write('broadcast "\\ud83d"\n\nbroadcast two\n');
  assert.equal((await listener.nextFrame())?.payload.toString(), 'two');
  await untilSaid(server, 'pollywog: text contains an unpaired surrogate');
  listener.destroy();
});

test('a server whose stdin is a folder does not start with --stdin', t => {
  const folder = openSync(temporaryFolder(), 'r');
  t.after(() => closeSync(folder));
  const words = [serverScript, '-p', '0', '--control', 'none', '--stdin'];
  const { status, stderr } = spawnSync(process.execPath, words, {
    stdio: [folder, 'pipe', 'pipe'],
    encoding: 'utf8',
    timeout: 60_000,
  });
  assert.equal(status, 2);
  assert.equal(stderr, 'pollywog: stdin cannot be read: it is a folder; redirect it from a file or a pipe\n');
});

test('a stdin that cannot be read is logged, and the server goes on', async t => {
  const file = openSync(join(temporaryFolder(), 'written'), 'w');
  t.after(() => closeSync(file));
  const words = [serverScript, '-p', '0', '--host', '127.0.0.1', '--control', 'none', '--stdin'];
  const child = spawn(process.execPath, words, { stdio: [file, 'ignore', 'pipe'] });
  const exited = once(child, 'exit');
  let logged = '';
  child.stderr!.setEncoding('utf8').on('data', text => {
    logged += text;
    if (logged.includes('stdin cannot be read')) child.kill('SIGTERM');
  });
  assert.deepEqual(await exited, [0, null], logged);
});
