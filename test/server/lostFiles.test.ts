/** A reload restores socket files and PID files that were removed, unless another server has taken their place. */
import assert from 'node:assert/strict';
import {
  existsSync,
  lstatSync,
  mkdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { openControl } from '../../src/net/listeners.ts';
import type { Listener, Server } from '../../src/records/records.ts';
import { websocket as echoWire } from '../../src/wires/websocket.ts';
import { run } from '../support/commandWays.ts';
import { assertServes, roundTrip } from '../support/echoProbe.ts';
import { newFakeServer } from '../support/fakeSocket.ts';
import { connectRaw, statusLineAt } from '../support/rawClient.ts';
import {
  type Hooks,
  reload,
  type ServerProcess,
  startServerFor,
  startServerWith,
} from '../support/serverProcess.ts';
import { temporaryFolder } from '../support/temporaryFolder.ts';
import { untilLogged } from '../support/untilLogged.ts';

async function startWithControl(t: Hooks, control: string, ...options: string[]): Promise<ServerProcess> {
  const standard = ['-p', '0', '--host', '127.0.0.1', '--log-format', 'json', '--config', 'none'];
  return startServerWith([...standard, '--control', control, ...options], { test: t });
}

/** @returns the reload's outcome: what has changed, or why it failed */
async function outcomeOfReload(server: ServerProcess): Promise<string> {
  const { changed, reason } = await reload(server);
  return String(changed ?? reason);
}

const isReached = async (control: string) => (await run(['--control', control, 'get', 'history'])).exit === 0;

test('a reload makes a removed control socket again, for its user only', async t => {
  const path = join(temporaryFolder(), 'control.sock');
  const server = await startWithControl(t, path);
  for (let count = 0; count < 3; count++) {
    assert.equal(await outcomeOfReload(server), 'nothing');
    unlinkSync(path);
    assert.equal(await isReached(path), false);
    assert.equal(await outcomeOfReload(server), `listening again on unix:${path}`);
    assert.equal(await isReached(path), true);
    assert.equal(statSync(path).mode & 0o777, 0o600);
  }
  assert.equal(await server.stop(), 0);
  assert.ok(!existsSync(path), 'the server removes it when it stops');
});

test('a reload that fails makes the control socket again, too', async t => {
  const folder = temporaryFolder();
  const path = join(folder, 'control.sock');
  mkdirSync(join(folder, 'handlers'));
  const server = await startWithControl(t, path, '--handlers', join(folder, 'handlers'));
  unlinkSync(path);
  rmSync(join(folder, 'handlers'), { recursive: true });
  assert.match(await outcomeOfReload(server), /no such folder/);
  assert.equal(await isReached(path), true);
});

test('a reload makes the control socket’s default folder again', async () => {
  const controlPath = join(temporaryFolder(), 'state/pollywog/control.sock');
  const server = newFakeServer('--control', 'auto', '--log-level', 'error');
  await openControl(
    server,
    { controlPath, pidFile: '', logFile: '', recordings: '', configFiles: [] },
    echoWire,
  );
  assert.equal(server.table.entries.filter(entry => entry?.kind === 'listener').length, 1);
  rmSync(join(controlPath, '../..'), { recursive: true });
  const commit = await server.reloadables[0]!.prepare(server.configuration);
  assert.deepEqual(commit(), [`listening again on unix:${controlPath}`]);
  assert.ok(lstatSync(controlPath).isSocket());
  const listeners = server.table.entries.filter(entry => entry?.kind === 'listener');
  assert.equal(listeners.length, 1);
  listeners[0]!.close();
});

test('a server that started without a control socket takes the default place when it becomes free', async () => {
  const controlPath = join(temporaryFolder(), 'control.sock');
  const usual = { controlPath, pidFile: '', logFile: '', recordings: '', configFiles: [] };
  const open = async () => {
    const server = newFakeServer('--control', 'auto', '--log-level', 'error');
    await openControl(server, usual, echoWire);
    return server;
  };
  const listenerOf = (server: Server) => server.table.entries.find(entry => entry?.kind === 'listener');
  const [first, second] = [await open(), await open()];
  const reloaded = async () => (await second.reloadables[0]!.prepare(second.configuration))();
  assert.deepEqual(await reloaded(), []);
  assert.equal(listenerOf(second), undefined);
  (listenerOf(first) as Listener).close();
  assert.deepEqual(await reloaded(), [`listening again on unix:${controlPath}`]);
  (listenerOf(second) as Listener).close();
});

test('a reload makes a removed client socket again, and connected clients notice nothing', async t => {
  const path = join(temporaryFolder(), 'public.sock');
  const server = await startServerFor(t, '--listen', `unix:${path}?mode=620`);
  const client = await connectRaw(server.port, { path: '/echo' });
  unlinkSync(path);
  assert.equal(await outcomeOfReload(server), `listening again on unix:${path}`);
  assert.equal(await statusLineAt(path), 'HTTP/1.1 101 Switching Protocols');
  assert.equal(statSync(path).mode & 0o777, 0o620);
  await roundTrip(client);
  client.destroy();
});

test('after a link in its path was switched, a reload puts the control socket where the link leads now', async t => {
  const folder = temporaryFolder();
  for (const name of ['a', 'b']) mkdirSync(join(folder, name));
  symlinkSync('a', join(folder, 'run'));
  const path = join(folder, 'run/control.sock');
  const server = await startWithControl(t, path);
  symlinkSync('b', join(folder, 'new'));
  renameSync(join(folder, 'new'), join(folder, 'run'));
  await reload(server);
  assert.equal(await isReached(join(folder, 'b/control.sock')), true);
});

test('neither a reload nor a stop removes the socket of another server', async t => {
  const path = join(temporaryFolder(), 'control.sock');
  const first = await startWithControl(t, path);
  const third = await startWithControl(t, `${path}.3`);
  unlinkSync(path);
  const second = await startWithControl(t, path);
  const { ino } = lstatSync(path);
  assert.match(
    await outcomeOfReload(first),
    /^not listening on \S+: another server listens there now; stop that one/,
  );
  await untilLogged(first, 'not listening again');
  assert.equal(await first.stop(), 0);
  assert.equal(lstatSync(path).ino, ino);
  assert.equal(await isReached(path), true);
  await second.kill();
  // A socket file that a killed server left behind may be replaced.
  unlinkSync(`${path}.3`);
  renameSync(path, `${path}.3`);
  assert.equal(await outcomeOfReload(third), `listening again on unix:${path}.3`);
  assert.equal(await isReached(`${path}.3`), true);
});

test('a reload leaves a file that is no socket alone, and the next reload tries again', async t => {
  const path = join(temporaryFolder(), 'control.sock');
  const server = await startWithControl(t, path);
  unlinkSync(path);
  writeFileSync(path, 'mine');
  for (let count = 0; count < 2; count++)
    assert.match(
      await outcomeOfReload(server),
      /^not listening on \S+: there is a file at this path that is not a socket/,
    );
  assert.equal(readFileSync(path, 'utf8'), 'mine');
  unlinkSync(path);
  assert.equal(await outcomeOfReload(server), `listening again on unix:${path}`);
  unlinkSync(path);
  mkdirSync(path);
  assert.match(await outcomeOfReload(server), /a file at this path that is not a socket/);
  await assertServes(server.port);
});

test('a reload writes a removed PID file again, and it still keeps a second server away', async t => {
  const path = join(temporaryFolder(), 'a.pid');
  const server = await startServerFor(t, '--pid-file', path);
  const written = `restored ${path}`;
  unlinkSync(path);
  assert.equal(await outcomeOfReload(server), written);
  assert.equal(readFileSync(path, 'utf8'), `${server.pid}\n`);
  truncateSync(path);
  assert.equal(await outcomeOfReload(server), written);
  assert.equal(readFileSync(path, 'utf8'), `${server.pid}\n`);
  assert.equal(await outcomeOfReload(server), 'nothing');
  await assert.rejects(
    startServerFor(t, '--pid-file', path),
    new RegExp(`is already running \\(pid ${server.pid}`),
  );
  assert.equal(await server.stop(), 0);
  assert.ok(!existsSync(path), 'the server removes it when it stops');
});

test('a reload leaves another server’s PID file and any other file alone', async t => {
  const folder = temporaryFolder();
  const path = join(folder, 'a.pid');
  const first = await startServerFor(t, '--pid-file', path);
  unlinkSync(path);
  const second = await startServerFor(t, '--pid-file', path);
  assert.match(await outcomeOfReload(first), new RegExp(`is already running \\(pid ${second.pid}`));
  await untilLogged(first, 'pid file not restored');
  await assertServes(first.port);
  assert.equal(await first.stop(), 0);
  assert.equal(readFileSync(path, 'utf8'), `${second.pid}\n`);
  unlinkSync(path);
  writeFileSync(path, 'a letter');
  assert.match(await outcomeOfReload(second), / is not a PID file; choose another with --pid-file/);
  assert.equal(await second.stop(), 0);
  assert.equal(readFileSync(path, 'utf8'), 'a letter');
});

test('after a reload the log goes to the file that its path leads to now', async t => {
  const folder = temporaryFolder();
  for (const name of ['a', 'b']) mkdirSync(join(folder, name));
  symlinkSync('a', join(folder, 'logs'));
  const path = join(folder, 'logs/x.log');
  const server = await startServerFor(t, '--log-file', path);
  const untilReloadedIn = async (file: string) => {
    server.child.kill('SIGHUP');
    while (!(existsSync(file) && readFileSync(file, 'utf8').includes('"reloaded"')))
      await assertServes(server.port);
  };
  symlinkSync('b', join(folder, 'new'));
  renameSync(join(folder, 'new'), join(folder, 'logs'));
  await untilReloadedIn(join(folder, 'b/x.log'));
  rmSync(join(folder, 'b'), { recursive: true });
  mkdirSync(join(folder, 'b'));
  await untilReloadedIn(join(folder, 'b/x.log'));
});
