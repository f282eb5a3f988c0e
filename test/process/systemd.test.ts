/** systemd's socket activation and notifications, with a small program in the part of systemd. */
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { test } from 'node:test';
import { assertServes } from '../support/echoProbe.ts';
import { skipUnlessLinux } from '../support/linux.ts';
import { handshakeRequest } from '../support/rawClient.ts';
import { serverScript } from '../support/serverProcess.ts';
import { temporaryFolder } from '../support/temporaryFolder.ts';

const folder = temporaryFolder();

interface Started {
  readonly child: ChildProcess;
  /** The server's next ready line. */
  next(): Promise<{ readonly url: string; readonly port?: number }>;
  readonly exited: Promise<number | null>;
  stop(): Promise<number | null>;
}

/**
 * Listens on the ports of 127.0.0.1 and the paths before `--`, passes the sockets from descriptor 3 on, and executes the
 * command behind it. `{pid}` in the environment becomes the process id, which is also the server's.
 */
const activator = `import os, socket, sys
end = sys.argv.index('--')
for at, place in enumerate(sys.argv[1:end]):
    s = socket.socket(socket.AF_UNIX if '/' in place else socket.AF_INET)
    s.bind(place if '/' in place else ('127.0.0.1', int(place)))
    s.listen()
    os.dup2(s.fileno(), 100 + at)
for at in range(end - 1):
    os.dup2(100 + at, 3 + at)
env = {name: value.replace('{pid}', str(os.getpid())) for name, value in os.environ.items()}
os.execvpe(sys.argv[end + 1], sys.argv[end + 1:], env)
`;

function start(places: readonly string[], env: NodeJS.ProcessEnv, ...options: string[]): Started {
  const command = [process.execPath, serverScript, '--log-format', 'json', '--control', 'none', ...options];
  const child = spawn('/usr/bin/python3', ['-c', activator, ...places, '--', ...command], {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, ...env },
  });
  const kill = () => child.kill('SIGKILL');
  process.once('exit', kill);
  const exited = once(child, 'exit').then(([code]) => {
    process.off('exit', kill);
    return code as number | null;
  });
  const lines = createInterface(child.stdout!)[Symbol.asyncIterator]();
  return {
    child,
    exited,
    async next() {
      const { value } = await lines.next();
      return JSON.parse(value);
    },
    stop() {
      child.kill('SIGTERM');
      return exited;
    },
  };
}

const loopback = ['--host', '127.0.0.1'];

test('the server listens on passed sockets instead of the default port', async () => {
  const path = join(folder, 'a.sock');
  const server = start(['0', path], { LISTEN_FDS: '2', LISTEN_PID: '{pid}' });
  const [tcp, unix] = [await server.next(), await server.next()];
  assert.equal(tcp.url, `ws://127.0.0.1:${tcp.port}`);
  assert.deepEqual([unix.url, unix.port], ['fd:4', undefined]);
  await assertServes(tcp.port!);
  const socket = connect(path);
  socket.write(handshakeRequest());
  assert.match(String((await once(socket, 'data'))[0]), /^HTTP\/1\.1 101 /);
  socket.destroy();
  assert.equal(await server.stop(), 0);
  assert.ok(existsSync(path), 'the server leaves the socket file to systemd');
});

test('the server listens on passed sockets and on the ports of its options', async () => {
  const env = { LISTEN_FDS: '1', LISTEN_PID: '{pid}' };
  const server = start([join(folder, 'b.sock')], env, '-p', '0', ...loopback);
  const ready = [await server.next(), await server.next()];
  const told = ready.find(({ port }) => port !== undefined);
  assert.ok(ready.some(({ url }) => url === 'fd:3') && told !== undefined);
  await assertServes(told.port!);
  assert.equal(await server.stop(), 0);
});

test('sockets with another process id in LISTEN_PID are ignored', async () => {
  const env = { LISTEN_FDS: '1', LISTEN_PID: '1' };
  const server = start([join(folder, 'c.sock')], env, '-p', '0', ...loopback);
  assert.match((await server.next()).url, /^ws:/);
  assert.equal(await server.stop(), 0);
});

test('--listen fd:N takes any listening socket, and other descriptors are refused', async () => {
  const server = start(['0'], {}, '--listen', 'fd:3');
  await assertServes((await server.next()).port!);
  assert.equal(await server.stop(), 0);

  for (const [env, options] of [
    [{}, ['--listen', 'fd:77']],
    [{ LISTEN_FDS: '5', LISTEN_PID: '{pid}' }, []],
  ] as const) {
    const none = start([], env, ...options);
    const [said] = await once(none.child.stderr!.setEncoding('utf8'), 'data');
    assert.match(
      said,
      /^pollywog: cannot listen on fd:\d+: .*; it must be a listening socket that the parent process has left open\n$/,
    );
    assert.equal(await none.exited, 1);
  }
});

test('a LISTEN_FDS that is not a number is refused', async () => {
  const server = start([], { LISTEN_FDS: 'two', LISTEN_PID: '{pid}' });
  const [said] = await once(server.child.stderr!.setEncoding('utf8'), 'data');
  assert.equal(said, 'pollywog: LISTEN_FDS must be a number of sockets, not "two"\n');
  assert.equal(await server.exited, 2);
});

/** Prints each datagram that arrives at the socket as one line. */
const receiver = `import socket, sys
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
s.bind(sys.argv[1])
print('bound', flush=True)
while True:
    print(s.recv(65536).decode().replace('\\n', ' '), flush=True)
`;

test('the server notifies systemd when it is ready, reloads and stops', async t => {
  if (skipUnlessLinux(t, 'systemd')) return;
  const path = join(folder, 'notify.sock');
  const systemd = spawn('/usr/bin/python3', ['-c', receiver, path], { stdio: ['ignore', 'pipe', 'inherit'] });
  t.after(() => systemd.kill('SIGKILL'));
  const told = createInterface(systemd.stdout)[Symbol.asyncIterator]();
  /** Ignores other notifications, such as the barrier of systemd-notify. */
  const untilTold = async (words: RegExp): Promise<string> => {
    for (;;) {
      const { value, done } = await told.next();
      assert.ok(!done, `${words} was not told`);
      if (words.test(value)) return value;
    }
  };
  await untilTold(/^bound$/);
  const server = start([], { NOTIFY_SOCKET: path }, '-p', '0', ...loopback);
  const { url } = await server.next();
  assert.equal(await untilTold(/^READY=1/), `READY=1 STATUS=listens on ${url}`);
  const before = process.hrtime.bigint() / 1000n;
  server.child.kill('SIGHUP');
  const reloading = await untilTold(/^RELOADING=1 MONOTONIC_USEC=\d+$/);
  assert.ok(BigInt(reloading.split('MONOTONIC_USEC=')[1]!) >= before);
  await untilTold(/^READY=1$/);
  server.child.kill('SIGTERM');
  await untilTold(/^STOPPING=1$/);
  assert.equal(await server.exited, 0);
});
