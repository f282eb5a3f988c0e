/** A small program in the part of systemd: it passes sockets that listen, and is told how it goes. */
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { after, test } from 'node:test';
import { assertServes } from '../support/echoProbe.ts';
import { serverScript } from '../support/serverProcess.ts';

const folder = mkdtempSync(join(tmpdir(), 'pollywog-systemd-'));
after(() => rmSync(folder, { recursive: true }));

interface Started {
  readonly child: ChildProcess;
  /** Its lines on stdout. */
  next(): Promise<string>;
  stop(): Promise<number | null>;
}

/** @param pid what LISTEN_PID is to be: `$$` is the server's own */
function start(
  sockets: readonly Server[],
  pid: string,
  env: NodeJS.ProcessEnv,
  ...options: string[]
): Started {
  const script = `export LISTEN_PID=${pid}; exec "$@"`;
  const command = [process.execPath, serverScript, '--log-format', 'json', ...options];
  const fds = sockets.map(socket => (socket as unknown as { _handle: { fd: number } })._handle.fd);
  const child = spawn('sh', ['-c', script, 'sh', ...command], {
    stdio: ['ignore', 'pipe', 'pipe', ...fds],
    env: { ...process.env, LISTEN_FDS: String(sockets.length), ...env },
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
    async next() {
      const { value } = await lines.next();
      return value;
    },
    stop() {
      child.kill('SIGTERM');
      return exited;
    },
  };
}

async function listen(place: object): Promise<Server> {
  const server = createServer().listen(place);
  await once(server, 'listening');
  after(() => server.close());
  return server;
}

const portOf = (server: Server) => (server.address() as { port: number }).port;

test('sockets that were passed are listened at, and the usual port is not', async () => {
  const tcp = await listen({ port: 0, host: '127.0.0.1' });
  const unix = await listen({ path: join(folder, 'a.sock') });
  const server = start([tcp, unix], '$$', {});
  assert.equal(JSON.parse(await server.next()).url, `ws://127.0.0.1:${portOf(tcp)}`);
  assert.equal(JSON.parse(await server.next()).url, 'fd:4');
  await assertServes(portOf(tcp));
  assert.equal(await server.stop(), 0);
});

test('besides them, it listens where it is told to', async () => {
  const tcp = await listen({ port: 0, host: '127.0.0.1' });
  const server = start([tcp], '$$', {}, '-p', '0', '--host', '127.0.0.1');
  const ports = [JSON.parse(await server.next()).port, JSON.parse(await server.next()).port];
  assert.ok(ports.includes(portOf(tcp)) && ports[0] !== ports[1]);
  for (const port of ports) await assertServes(port);
  assert.equal(await server.stop(), 0);
});

test('those that are meant for another process are left alone', async () => {
  const tcp = await listen({ port: 0, host: '127.0.0.1' });
  const server = start([tcp], '1', {}, '-p', '0', '--host', '127.0.0.1');
  assert.notEqual(JSON.parse(await server.next()).port, portOf(tcp));
  assert.equal(await server.stop(), 0);
});

test('--listen fd:3 takes one that anybody passes; one that does not listen is refused', async () => {
  const tcp = await listen({ port: 0, host: '127.0.0.1' });
  const server = start([tcp], '', {}, '--listen', 'fd:3');
  assert.equal(JSON.parse(await server.next()).port, portOf(tcp));
  assert.equal(await server.stop(), 0);

  const none = start([], '', {}, '--listen', 'fd:77');
  const [said] = await once(none.child.stderr!.setEncoding('utf8'), 'data');
  assert.match(
    said,
    /^pollywog: cannot listen on fd:77: .*; it is to be a socket that listens, left open by whoever/,
  );
  assert.equal(await none.stop(), 1);
});

/** Prints each datagram that comes to the socket, as one line. */
const receiver = `import socket, sys
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
s.bind(sys.argv[1])
print('bound', flush=True)
while True:
    print(s.recv(65536).decode().replace('\\n', ' '), flush=True)
`;

test('systemd is told when it is ready, reloads and stops', async t => {
  const path = join(folder, 'notify.sock');
  const systemd = spawn('/usr/bin/python3', ['-c', receiver, path], { stdio: ['ignore', 'pipe', 'inherit'] });
  t.after(() => systemd.kill('SIGKILL'));
  const told = createInterface(systemd.stdout)[Symbol.asyncIterator]();
  /** What is said beside, such as systemd-notify's own barrier, is passed over. */
  const untilTold = async (words: RegExp): Promise<string> => {
    for (;;) {
      const { value } = await told.next();
      if (words.test(value)) return value;
    }
  };
  await untilTold(/^bound$/);
  const server = start([], '', { NOTIFY_SOCKET: path }, '-p', '0', '--host', '127.0.0.1');
  const { url } = JSON.parse(await server.next());
  assert.equal(await untilTold(/^READY=1/), `READY=1 STATUS=listens on ${url}`);
  const before = process.hrtime.bigint() / 1000n;
  server.child.kill('SIGHUP');
  const reloading = await untilTold(/^RELOADING=1 MONOTONIC_USEC=\d+$/);
  assert.ok(BigInt(reloading.split('MONOTONIC_USEC=')[1]!) >= before);
  await untilTold(/^READY=1$/);
  server.child.kill('SIGTERM');
  await untilTold(/^STOPPING=1$/);
  assert.equal(await server.stop(), 0);
});
