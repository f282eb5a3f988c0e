/** SIGHUP: the server reads its configuration again and keeps its connections. */
import assert from 'node:assert/strict';
import { readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { assertServes, roundTrip } from '../support/echoProbe.ts';
import { connectLines, connectTerminal, linesSoFar } from '../support/lineClient.ts';
import { skipUnlessLinux } from '../support/linux.ts';
import { openDescriptors } from '../support/processState.ts';
import { connectRaw } from '../support/rawClient.ts';
import { frame, opcode } from '../support/rawFrame.ts';
import { reload, startServerFor } from '../support/serverProcess.ts';
import { temporaryFolder } from '../support/temporaryFolder.ts';

const folder = temporaryFolder();
const path = join(folder, 'pollywog.json');

/** Replaces the file in one step, so that the server reads the old one or the new one. */
function write(settings: unknown): void {
  writeFileSync(`${path}.new`, typeof settings === 'string' ? settings : JSON.stringify(settings));
  renameSync(`${path}.new`, path);
}

test('a reload applies the settings that have changed in the file', async t => {
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
    'default-handler echo → broadcast; no-self true → false; max-message 16MB → 1KB',
    'the port of the command line has precedence, so the port of the file is no change',
  );
  await roundTrip(client, 'to me, too');
  assert.equal((await other.nextFrame())?.payload.toString(), 'to me, too');
  // Connected clients keep their limit; new ones get the new limit.
  client.send(frame(opcode.text, 'x'.repeat(2000)));
  assert.equal((await client.nextFrame())?.payload.length, 2000);
  const late = await connectRaw(server.port, { path: '/echo' });
  late.send(frame(opcode.text, 'x'.repeat(2000)));
  assert.equal((await late.nextFrame())?.payload.readUInt16BE(0), 1009);
  late.destroy();
  client.destroy();
  other.destroy();
});

test('a reload that fails changes nothing and logs the reason', async t => {
  write({ 'max-header': '1KB' });
  const server = await startServerFor(t, '--config', path);
  for (const [settings, reason] of [
    ['{', `${path} is not valid JSON: line 1, column 2: expected a name in double quotes, not the end`],
    [{ 'max-header': 'lots' }, `max-header in ${path} must be a size such as 16MB or 512KB, not "lots"`],
    // These handlers are off.
    [
      { 'default-handler': 'script' },
      '--default-handler must be one of echo, broadcast, tpacket, channels, none, not "script"',
    ],
    [
      { 'default-handler': 'faulty' },
      '--default-handler must be one of echo, broadcast, tpacket, channels, none, not "faulty"',
    ],
    [{ 'log-file': folder }, `cannot log to ${folder}: it is a folder; choose another with --log-file`],
  ] as const) {
    write(settings);
    const entry = await reload(server);
    assert.deepEqual([entry['event'], entry['level'], entry['reason']], ['reload failed', 'error', reason]);
  }
  rmSync(path);
  assert.match(String((await reload(server))['reason']), /no such file/);
  await assertServes(server.port);
  write({ 'max-header': '1KB', host: '127.0.0.9', data: folder });
  const { changed, needsRestart } = await reload(server);
  assert.deepEqual([changed, needsRestart], ['nothing', `data memory → ${folder}`]);
});

test('a reload switches the trace on and off', async t => {
  write({});
  const server = await startServerFor(t, '--config', path);
  const client = await connectRaw(server.port, { path: '/echo' });
  const traced = () => server.logged().filter(({ event }) => event === 'frame').length;
  await roundTrip(client, 'before');
  write({ trace: true });
  assert.equal((await reload(server))['changed'], 'trace false → true');
  assert.equal(traced(), 0);
  await roundTrip(client, 'traced');
  write({});
  assert.equal((await reload(server))['changed'], 'trace true → false');
  assert.equal(traced(), 2);
  await roundTrip(client, 'after');
  await reload(server);
  assert.equal(traced(), 2);
  client.destroy();
});

test('a reload with a smaller history shortens the histories of rooms', async t => {
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

test('a reload applies the log’s level and file, and opens a file that was moved again', async t => {
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
  assert.equal(read(log).split('\n').length, 2, 'only the entries since the file was moved');
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

test('the server survives 200 SIGHUPs at once and applies the last settings', async t => {
  write({});
  const server = await startServerFor(t, '--config', path);
  write({ 'max-message': '1KB' });
  for (let count = 0; count < 200; count++) server.child.kill('SIGHUP');
  await server.untilLogged(({ event }) => event === 'reloaded');
  await assertServes(server.port);
  assert.equal(await server.stop(), 0);
  assert.ok(server.logged().some(({ changed }) => changed === 'max-message 16MB → 1KB'));
});

test('a SIGHUP during the start causes a reload once the server runs', async t => {
  const handlers = temporaryFolder();
  const done = join(folder, 'asked');
  // The server first tries a module in a child process, which sends the signal.
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
