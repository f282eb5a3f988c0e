import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { test } from 'node:test';
import { assertServes } from '../support/echoProbe.ts';
import { connectRaw, statusLineAt } from '../support/rawClient.ts';
import { runToEnd, serverScript } from '../support/serverProcess.ts';
import { temporaryFolder } from '../support/temporaryFolder.ts';

const folder = temporaryFolder();

interface Started {
  readonly lines: readonly string[];
  end(signal?: NodeJS.Signals): Promise<number | null>;
}

/** Starts a server and waits for its ready lines. */
async function start(lineCount: number, ...commandLine: string[]): Promise<Started> {
  const child = spawn(process.execPath, [serverScript, ...commandLine], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const killChild = () => child.kill('SIGKILL');
  process.once('exit', killChild);
  const exited = once(child, 'close');
  const lines: string[] = [];
  for await (const line of createInterface(child.stdout)) {
    lines.push(line);
    if (lines.length === lineCount) break;
  }
  assert.equal(lines.length, lineCount, `it printed only ${JSON.stringify(lines)}`);
  return {
    lines,
    async end(signal = 'SIGTERM') {
      child.kill(signal);
      const [code] = await exited;
      process.off('exit', killChild);
      return code;
    },
  };
}

const quiet = ['--log-level', 'error'];
const portOf = (line: string) => Number(/:(\d+) \(pid/.exec(line)?.[1]);

test('each listener has a ready line with its URL and the process id', async () => {
  const server = await start(2, '-p', '0', '-p', '0', '--host', '127.0.0.1', ...quiet);
  const ports = server.lines.map(line => {
    assert.match(line, /^pollywog listens on http:\/\/127\.0\.0\.1:\d+ \(pid \d+\)$/);
    return portOf(line);
  });
  assert.notEqual(ports[0], ports[1]);
  for (const port of ports) await assertServes(port);
  assert.equal(await server.end(), 0);
});

test('with --log-format json each listener has a ready line as JSON, without a port for a Unix socket', async () => {
  const path = join(folder, 'ready.sock');
  const server = await start(
    2,
    '-p',
    '0',
    '--host',
    '127.0.0.1',
    '--listen',
    `unix:${path}`,
    '--log-format',
    'json',
    ...quiet,
  );
  const [tcp, unix] = server.lines.map(line => JSON.parse(line));
  assert.deepEqual(Object.keys(tcp), ['event', 'url', 'port', 'pid']);
  assert.deepEqual([tcp.event, tcp.url], ['listening', `ws://127.0.0.1:${tcp.port}`]);
  assert.deepEqual(unix, { event: 'listening', url: `unix:${path}`, pid: tcp.pid });
  await assertServes(tcp.port);
  assert.equal(await statusLineAt(path), 'HTTP/1.1 101 Switching Protocols');
  assert.equal(await server.end(), 0);
  assert.equal(existsSync(path), false, 'the server removes its socket file');
});

test('--host and --listen tcp:// accept IPv6 addresses', async () => {
  const server = await start(2, '-p', '0', '--host', '::1', '--listen', 'tcp://[::1]:0', ...quiet);
  for (const line of server.lines) {
    assert.match(line, /^pollywog listens on http:\/\/\[::1\]:\d+ /);
    const client = await connectRaw(portOf(line), { host: '::1' });
    await client.end();
  }
  assert.equal(await server.end(), 0);
});

test('without --host the server listens on every interface over IPv4 and IPv6', async () => {
  const server = await start(1, '-p', '0', ...quiet);
  assert.match(
    server.lines[0]!,
    /^pollywog listens on http:\/\/localhost:\d+ \(pid \d+\)$/,
    'a link to click',
  );
  for (const host of ['127.0.0.1', '::1']) await (await connectRaw(portOf(server.lines[0]!), { host })).end();
  assert.equal(await server.end(), 0);
});

test('the server replaces a socket file without a listener, and refuses one that is in use', async () => {
  const path = join(folder, 'stale.sock');
  const listen = ['--listen', `unix:${path}`, ...quiet];
  const killed = await start(1, ...listen);
  await killed.end('SIGKILL');
  assert.ok(statSync(path).isSocket());

  const server = await start(1, ...listen);
  assert.equal(server.lines[0]?.startsWith(`pollywog listens on unix:${path} `), true);
  const second = runToEnd(...listen);
  assert.deepEqual([second.status, second.stdout], [1, '']);
  assert.match(
    second.stderr,
    /^pollywog: cannot listen on unix:\S+: another program uses it; .* --listen\n$/,
  );
  const control = runToEnd('-p', '0', '--control', path, '--config', 'none');
  assert.match(control.stderr, /: another program uses it; .* --control\n$/);
  assert.equal(await statusLineAt(path), 'HTTP/1.1 101 Switching Protocols');
  assert.equal(await server.end(), 0);
});

test('the server refuses to replace a file that is no socket', () => {
  const path = join(folder, 'notes.txt');
  writeFileSync(path, 'dear diary');
  const ended = runToEnd('--listen', `unix:${path}`);
  assert.equal(ended.status, 1);
  assert.match(ended.stderr, /^pollywog: cannot listen on unix:\S+: .*not a socket.*\n$/);
  assert.equal(readFileSync(path, 'utf8'), 'dear diary');
});

test('a missing folder is reported as missing, not as a lack of permission', () => {
  const path = join(folder, 'missing', 'a.sock');
  for (const [option, value] of [
    ['--listen', `unix:${path}`],
    ['--control', path],
  ] as const) {
    const { status, stderr } = runToEnd('-p', '0', option, value, ...quiet);
    const sentence = `cannot listen on unix:${path}: there is no such folder; make it, or choose another with ${option}`;
    assert.deepEqual([status, stderr], [1, `pollywog: ${sentence}\n`]);
  }
});

test('a Unix socket has the mode and the group of its URL', async () => {
  const path = join(folder, 'shared.sock');
  const gid = process.getgid!();
  for (const [query, mode] of [
    ['mode=660', 0o660],
    ['mode=0600', 0o600],
    [`mode=620&group=${gid}`, 0o620],
    [`group=${gid}&lines`, 0o777 & ~process.umask()],
  ] as const) {
    const server = await start(1, '--listen', `unix:${path}?${query}`, ...quiet);
    assert.equal(server.lines[0]?.startsWith(`pollywog listens on unix:${path} `), true);
    const found = statSync(path);
    assert.deepEqual([found.mode & 0o777, found.gid], [mode, gid], query);
    assert.equal(await server.end(), 0);
  }
});

test('an error in the query of a listener’s URL is reported, with the nearest name', () => {
  const path = join(folder, 'query.sock');
  for (const [query, status, sentence] of [
    ['mod=660', 2, /^pollywog: --listen: a listener has no parameter "mod"; did you mean mode\?\n$/],
    ['colour=red', 2, /no parameter "colour"; the parameters are lines, greet, mode, group\n$/],
    ['mode=rw', 2, /mode must be three octal digits such as 660, not "rw"\n$/],
    ['mode=888', 2, /mode must be three octal digits/],
    ['mode=', 2, /mode must be three octal digits/],
    ['group=', 2, /group must be a name or a number, not ""\n$/],
    ['mode=660&mode=600', 2, /mode is given twice; keep one\n$/],
    ['lines=yes', 2, /lines takes no value; remove "yes"\n$/],
    ['lines&greet', 2, /cannot have both lines and greet; keep one\n$/],
    ['group=pollywog-nobody', 1, /cannot listen on unix:\S+: no group "pollywog-nobody" in \/etc\/group; /],
  ] as const) {
    const ended = runToEnd('--listen', `unix:${path}?${query}`, ...quiet);
    assert.equal(ended.status, status, query);
    assert.match(ended.stderr, sentence);
    assert.equal(existsSync(path), false, query);
  }
  const tcp = runToEnd('--listen', 'tcp://:0?mode=660');
  assert.match(tcp.stderr, /mode works for unix: listeners only; remove it\n$/);
});
