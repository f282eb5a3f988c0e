/** SIGHUP: the configuration is read again, and nobody notices who is connected. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { assertServes, roundTrip } from '../support/echoProbe.ts';
import { connectLines, connectTerminal, linesSoFar } from '../support/lineClient.ts';
import { skipUnlessLinux } from '../support/linux.ts';
import { openDescriptors } from '../support/processState.ts';
import { connectRaw } from '../support/rawClient.ts';
import { frame, opcode } from '../support/rawFrame.ts';
import { type ServerProcess, startServerFor } from '../support/serverProcess.ts';
import { temporaryFolder } from '../support/temporaryFolder.ts';

const folder = temporaryFolder();
const path = join(folder, 'pollywog.json');

/** In one piece: a server that reads it meanwhile sees the one or the other. */
function write(settings: unknown): void {
  writeFileSync(`${path}.new`, typeof settings === 'string' ? settings : JSON.stringify(settings));
  renameSync(`${path}.new`, path);
}

const isAbout = (event: unknown) => event === 'reloaded' || event === 'reload failed';

/** @returns what the log says of it */
async function reload(server: ServerProcess): Promise<Record<string, unknown>> {
  const reloads = () => server.logged().filter(({ event }) => isAbout(event));
  const before = reloads().length;
  server.child.kill('SIGHUP');
  while (reloads().length === before) await once(server.child.stderr!, 'data');
  return reloads()[before]!;
}

test('what is in the file now holds from now on', async t => {
  write({ 'no-self': true, history: 100 });
  const server = await startServerFor(t, '--config', path);
  const client = await connectRaw(server.port, { path: '/broadcast' });
  const other = await connectRaw(server.port, { path: '/broadcast' });
  client.send(frame(opcode.text, 'not to me'));
  assert.equal((await other.nextFrame())?.payload.toString(), 'not to me');

  write({ 'max-message': '1KB', 'default-handler': 'broadcast', port: 1 });
  const entry = await reload(server);
  assert.equal(
    entry['changed'],
    'default echo → broadcast; no-self true → false; max-message 16MB → 1KB',
    'the command line’s port comes first, so the file’s is no change',
  );
  await roundTrip(client, 'to me, too');
  assert.equal((await other.nextFrame())?.payload.toString(), 'to me, too');
  // Who is connected keeps the bound it came with; who comes has the new one.
  client.send(frame(opcode.text, 'x'.repeat(2000)));
  assert.equal((await client.nextFrame())?.payload.length, 2000);
  const late = await connectRaw(server.port, { path: '/echo' });
  late.send(frame(opcode.text, 'x'.repeat(2000)));
  assert.equal((await late.nextFrame())?.payload.readUInt16BE(0), 1009);
  late.destroy();
  client.destroy();
  other.destroy();
});

test('what cannot be, changes nothing, and the reason is in the log', async t => {
  write({ 'max-header': '1KB' });
  const server = await startServerFor(t, '--config', path);
  for (const [settings, reason] of [
    ['{', `${path} is no JSON: line 1, column 2: a name in double quotes is missing, it ends`],
    [{ 'max-header': 'lots' }, `max-header in ${path} must be a size such as 16MB or 512KB, not "lots"`],
    [{ 'log-file': folder }, `cannot log to ${folder}: it is a folder; choose another with --log-file`],
  ] as const) {
    write(settings);
    const entry = await reload(server);
    assert.deepEqual([entry['event'], entry['level'], entry['reason']], ['reload failed', 'error', reason]);
  }
  rmSync(path);
  assert.match(String((await reload(server))['reason']), /there is none of this name/);
  await assertServes(server.port);
  write({ 'max-header': '1KB', host: '127.0.0.9', data: folder });
  const { changed, needsRestart } = await reload(server);
  assert.deepEqual([changed, needsRestart], ['nothing', `data memory → ${folder}`]);
});

test('rooms forget what is too much for the new bound', async t => {
  write({ history: 10 });
  const server = await startServerFor(t, '--config', path);
  const ada = await connectTerminal(server.port, 'ada');
  ada.send('one\ntwo\nthree\n');
  await linesSoFar(ada);
  write({ history: 2 });
  assert.equal((await reload(server))['changed'], 'history 10 → 2');
  const bob = await connectLines(server.port);
  bob.send('bob\n');
  const seen = (await bob.linesUntil('* bob is here')).concat(await linesSoFar(bob));
  assert.deepEqual(
    seen.filter(line => line.includes('ada:')),
    ['ada: two', 'ada: three'],
  );
  ada.socket.destroy();
  bob.socket.destroy();
});

test('the log’s level, format and file follow; the file is opened anew', async t => {
  const log = join(folder, 'a.log');
  write({ 'log-level': 'debug' });
  const server = await startServerFor(t, '--config', path);
  assert.equal((await reload(server))['changed'], 'nothing');
  write({ 'log-file': log });
  server.child.kill('SIGHUP');
  while (!read(log).includes('reloaded')) await assertServes(server.port);
  assert.match(read(log), /"changed":"log-file auto → \S+a\.log; log-level debug → info"/);
  renameSync(log, `${log}.1`);
  server.child.kill('SIGHUP');
  while (!read(log).includes('reloaded')) await assertServes(server.port);
  assert.equal(read(log).split('\n').length, 2, 'only what came after it was put aside');
  assert.equal(await server.stop(), 0);
  assert.match(read(log), /"event":"stopped"/);
});

function read(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch {
    return '';
  }
}

test('100 reloads under load lose no connection, no message and no descriptor', async t => {
  if (skipUnlessLinux(t, '/proc')) return;
  write({});
  const server = await startServerFor(t, '--config', path);
  const clients = await Promise.all(
    Array.from({ length: 20 }, () => connectRaw(server.port, { path: '/echo' })),
  );
  let isOver = false;
  const talks = clients.map(async client => {
    let sent = 0;
    let answered = 0;
    for (; !isOver; ) {
      const batch = Array.from({ length: 8 }, () => frame(opcode.text, `${sent++}`));
      client.send(Buffer.concat(batch));
      for (; answered < sent; answered++) {
        const answer = await client.nextFrame();
        assert.equal(answer?.payload.toString(), `${answered}`);
      }
    }
    return answered;
  });
  const descriptors = openDescriptors(server.pid);
  for (let count = 0; count < 100; count++) {
    const isBroken = count % 10 === 9;
    write(isBroken ? '{"max-message": }' : { 'max-message': count + 1000, 'no-self': count % 2 === 0 });
    const { event } = await reload(server);
    assert.equal(event, isBroken ? 'reload failed' : 'reloaded');
  }
  isOver = true;
  for (const answered of await Promise.all(talks)) assert.ok(answered > 0);
  assert.equal(openDescriptors(server.pid), descriptors);
  for (const client of clients) await client.end();
});

test('a storm of SIGHUPs is answered by as many reloads as are needed', async t => {
  write({});
  const server = await startServerFor(t, '--config', path);
  write({ 'max-message': '1KB' });
  for (let count = 0; count < 200; count++) server.child.kill('SIGHUP');
  await server.untilLogged(({ event }) => event === 'reloaded');
  await assertServes(server.port);
  assert.equal(await server.stop(), 0);
  assert.ok(server.logged().some(({ changed }) => changed === 'max-message 16MB → 1KB'));
});

test('a SIGHUP while the server is being started is obeyed when it is there', async t => {
  const handlers = temporaryFolder();
  const done = join(folder, 'asked');
  // A module is tried in a child of the server's first: that is when it asks.
  const source = [
    "import { existsSync, writeFileSync } from 'node:fs';",
    `if (!existsSync('${done}')) process.kill(process.ppid, 'SIGHUP');`,
    `writeFileSync('${done}', '');`,
    'export function message() {}',
  ];
  writeFileSync(join(handlers, 'early.mjs'), source.join('\n'));
  const server = await startServerFor(t, '--handlers', handlers);
  await server.untilLogged(({ event }) => event === 'reloaded');
  await assertServes(server.port);
});
