import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, chownSync, cpSync, existsSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { assertServes } from '../support/echoProbe.ts';
import { skipUnlessLinux } from '../support/linux.ts';
import { serverScript } from '../support/serverProcess.ts';
import { temporaryFolder } from '../support/temporaryFolder.ts';

const folder = temporaryFolder();
const pidFile = join(folder, 'a.pid');
const logFile = join(folder, 'a.log');
const places = ['--pid-file', pidFile, '--log-file', logFile];
// Without a control socket: the default one might belong to a real server.
process.env['POLLYWOG_CONTROL'] = 'none';

const read = (path: string) => (existsSync(path) ? readFileSync(path, 'utf8') : '');
const pidNow = () => Number(read(pidFile));

after(() => {
  // A failed test may have left a daemon.
  if (pidNow() > 0) process.kill(pidNow(), 'SIGKILL');
});

interface Ended {
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** Starts a daemon and waits until the process that started it has exited. */
function daemon(...options: string[]): Ended {
  const words = [serverScript, '--daemon', ...places, '--host', '127.0.0.1', ...options];
  return spawnSync(process.execPath, words, { encoding: 'utf8', timeout: 60_000 });
}

/** Sends the signal and waits until the daemon has exited. */
async function end(signal: NodeJS.Signals = 'SIGTERM'): Promise<void> {
  const pid = pidNow();
  process.kill(pid, signal);
  while (isAlive(pid)) await new Promise(setImmediate);
}

function isAlive(pid: number): boolean {
  // A process that has exited is a zombie (Z) until its new parent has waited for it.
  const [, state] = /^\d+ \(.*\) (\w)/s.exec(read(`/proc/${pid}/stat`)) ?? [];
  return state !== undefined && state !== 'Z';
}

test('a daemon listens before its starter exits, and has a session of its own without a terminal', async t => {
  if (skipUnlessLinux(t, '/proc')) return;
  const { status, stdout, stderr } = daemon('-p', '0', '-p', '0');
  assert.deepEqual([status, stderr], [0, '']);
  const lines = stdout.trimEnd().split('\n');
  const pid = pidNow();
  assert.equal(lines.length, 2);
  for (const line of lines) {
    const [, port, told] = /^pollywog listens on http:\/\/127\.0\.0\.1:(\d+) \(pid (\d+)\)$/.exec(line) ?? [];
    assert.equal(Number(told), pid);
    await assertServes(Number(port));
  }
  // proc(5): pid (comm) state ppid pgrp session tty_nr
  const [, , , , session, terminal] = read(`/proc/${pid}/stat`)
    .replace(/\(.*\)/s, '')
    .split(/\s+/);
  assert.deepEqual([Number(session), Number(terminal)], [pid, 0]);
  await end();
  assert.equal(existsSync(pidFile), false);
  assert.match(read(logFile), / draining why=SIGTERM .*\n.* stopped\n$/);
});

test('a second daemon with the same PID file exits with a sentence and leaves the first one alone', async t => {
  if (skipUnlessLinux(t, '/proc')) return;
  const first = daemon('-p', '0');
  assert.equal(first.status, 0);
  const pid = pidNow();
  const { status, stdout, stderr } = daemon('-p', '0');
  assert.deepEqual([status, stdout], [1, '']);
  assert.match(
    stderr,
    new RegExp(`^pollywog: pollywog is already running \\(pid ${pid}, ${pidFile}\\); .*\n$`),
  );
  const inForeground = spawnSync(process.execPath, [serverScript, '-p', '0', '--pid-file', pidFile], {
    encoding: 'utf8',
  });
  assert.equal(inForeground.status, 1);
  assert.match(inForeground.stderr, /is already running/);
  assert.equal(pidNow(), pid);
  await assertServes(Number(/:(\d+) /.exec(first.stdout)?.[1]));
  await end('SIGKILL');
  assert.ok(existsSync(pidFile), 'the PID file is left behind');
  assert.equal(daemon('-p', '0').status, 0, 'and does not keep the next daemon from starting');
  await end();
});

test('of two daemons that start at the same moment, one runs', async t => {
  if (skipUnlessLinux(t, '/proc')) return;
  const start = () => {
    const child = spawn(process.execPath, [serverScript, '--daemon', ...places, '-p', '0'], {
      stdio: 'ignore',
    });
    return once(child, 'exit').then(([code]) => code as number);
  };
  assert.deepEqual((await Promise.all([start(), start()])).toSorted(), [0, 1]);
  await end();
});

test('the starter reports why the daemon cannot listen', async () => {
  const taken = createServer().listen(0, '127.0.0.1');
  await once(taken, 'listening');
  const { port } = taken.address() as { port: number };
  const inUse = daemon('-p', String(port));
  taken.close();
  assert.deepEqual([inUse.status, inUse.stdout], [1, '']);
  assert.match(
    inUse.stderr,
    new RegExp(`^pollywog: cannot listen on tcp://127.0.0.1:${port}: another program uses it; .*\n$`),
  );
  assert.equal(existsSync(pidFile), false);

  const file = join(folder, 'broken.json');
  writeFileSync(file, '{"prot": 1}');
  const broken = daemon('--config', file);
  assert.deepEqual([broken.status, broken.stdout], [2, '']);
  assert.match(broken.stderr, /^pollywog: .*: unknown option "prot"; did you mean "port"\?\n$/);

  for (const [options, sentence] of [
    [['--log-file', join(folder, 'missing', 'a.log')], /cannot log to .*: there is no such folder; choose/],
    [
      ['--log-file', join(file, 'a.log')],
      /cannot log to .*: there is a file where a folder should be; choose/,
    ],
    [
      ['--pid-file', join(file, 'a.pid')],
      /cannot write .*: there is a file where a folder should be; choose/,
    ],
    [
      ['--control', join(file, 'a.sock')],
      /cannot listen on .*: there is a file where a folder should be; choose/,
    ],
    [['--pid-file', folder], /cannot write .*; choose another with --pid-file/],
    [['--data', file], /cannot keep messages in/],
  ] as const) {
    const command = [serverScript, '--daemon', '-p', '0', ...options];
    for (const [at, place] of places.entries()) {
      if (at % 2 === 0 && !options.some(option => option === place)) command.push(place, places[at + 1]!);
    }
    const { status, stderr } = spawnSync(process.execPath, command, { encoding: 'utf8', timeout: 60_000 });
    assert.equal(status, 1, stderr);
    assert.match(stderr, sentence);
  }
});

test('the starter reports a daemon that was killed before it listened', () => {
  const script = join(folder, 'dies.mjs');
  writeFileSync(script, "if (process.send !== undefined) process.kill(process.pid, 'SIGKILL');");
  const { status, stderr } = spawnSync(
    process.execPath,
    ['--import', script, serverScript, '--daemon', ...places, '-p', '0'],
    { encoding: 'utf8', timeout: 60_000 },
  );
  assert.deepEqual(
    [status, stderr],
    [1, `pollywog: the daemon ended (SIGKILL) before it listened; see ${logFile}\n`],
  );
});

test('the configuration file can ask for a daemon, a reload reads the file again, and the environment overrides it', async t => {
  if (skipUnlessLinux(t, '/proc')) return;
  const file = join(folder, 'daemon.json');
  const settings = { port: 0, host: '127.0.0.1', 'pid-file': pidFile, 'log-file': logFile };
  writeFileSync(file, JSON.stringify({ ...settings, daemon: true }));
  const command = [serverScript, '--config', file];
  const { status, stdout } = spawnSync(process.execPath, command, { encoding: 'utf8', timeout: 60_000 });
  assert.equal(status, 0);
  const port = Number(/:(\d+) /.exec(stdout)?.[1]);
  writeFileSync(file, JSON.stringify({ ...settings, daemon: true, 'max-message': '1KB' }));
  process.kill(pidNow(), 'SIGHUP');
  while (!read(logFile).includes('reloaded changed="max-message 16MB → 1KB"')) await assertServes(port);
  await end();

  writeFileSync(file, JSON.stringify({ ...settings, daemon: true }));
  const env = { ...process.env, POLLYWOG_DAEMON: 'false', POLLYWOG_PORT: '-1' };
  assert.equal(spawnSync(process.execPath, command, { env, timeout: 60_000 }).status, 2);
});

test('a user’s daemon creates its PID file and its log in the user’s state folder', async t => {
  if (skipUnlessLinux(t, '/proc')) return;
  const home = temporaryFolder();
  const state = join(home, '.local', 'state');
  // Root's folders are the system's, so root becomes another user here.
  const isRoot = process.getuid?.() === 0;
  const user = isRoot ? { uid: 65534, gid: 65534 } : {};
  if (isRoot) {
    chmodSync(folder, 0o755);
    chownSync(home, 65534, 65534);
  }
  // The other user may not be able to read this checkout.
  const root = new URL('../../../', import.meta.url);
  for (const part of ['dist', 'package.json', 'node_modules/minimist']) {
    cpSync(new URL(part, root), join(folder, 'copy', part), { recursive: true });
  }
  const { status, stdout, stderr } = spawnSync(
    process.execPath,
    [join(folder, 'copy/dist/server.js'), '--daemon', '-p', '0', '--host', '127.0.0.1'],
    { encoding: 'utf8', timeout: 60_000, env: { PATH: process.env['PATH'], HOME: home }, cwd: home, ...user },
  );
  assert.deepEqual([status, stderr], [0, '']);
  const pid = Number(read(join(state, 'pollywog.pid')));
  assert.ok(stdout.includes(`(pid ${pid})`));
  process.kill(pid, 'SIGTERM');
  while (isAlive(pid)) await new Promise(setImmediate);
  assert.match(read(join(state, 'pollywog.log')), / stopped\n$/);
});
