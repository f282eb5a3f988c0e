/** `pollywog COMMAND`: its errors, its input, and the control socket. */
import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, statSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { maxCommandBody } from '../../src/protocol/limits.ts';
import { commandWays, openServer, run } from '../support/commandWays.ts';
import { connectRaw, connectTcp } from '../support/rawClient.ts';
import { serverScript } from '../support/serverProcess.ts';
import { temporaryFolder } from '../support/temporaryFolder.ts';

const folder = temporaryFolder();

describe('without a running server', () => {
  const noServer = (path: string) =>
    `pollywog: no server is running at ${path}; start one, or name its socket with --control\n`;

  test('a command says so, and exits with 3', async () => {
    const path = join(folder, 'nobody.sock');
    assert.deepEqual(await run(['--control', path, 'list']), { exit: 3, stdout: '', stderr: noServer(path) });
  });

  test('a socket that a killed server left behind counts as no server', async t => {
    const server = await openServer(t);
    await server.kill();
    assert.ok(statSync(server.control).isSocket());
    const told = await run(['--control', server.control, 'list']);
    assert.deepEqual(told, { exit: 3, stdout: '', stderr: noServer(server.control) });
  });

  test('wrong usage is reported before the server is contacted', async () => {
    const path = join(folder, 'nobody.sock');
    const wrong: [string[], RegExp][] = [
      [['lsit'], /^pollywog: unknown command "lsit"; did you mean list\?\n$/],
      [['help', 'lsit'], /^pollywog: unknown command or subject "lsit"; did you mean list\?\n$/],
      [['send', 'x', 'y'], /^pollywog: id must be a connection id/],
      [['list', '--port', '1'], /--port is not an option of list; see pollywog help list/],
      [['broadcast', '--binary', join(folder, 'missing')], /^pollywog: cannot read .*missing: no such file/],
      [['list', '--control', 'none'], /^pollywog: .*--control/],
    ];
    for (const [words, sentence] of wrong) {
      const where = words.includes('--control') ? [] : ['--control', path];
      const { exit, stdout, stderr } = await run([...where, ...words]);
      assert.deepEqual([exit, stdout], [2, ''], stderr);
      assert.match(stderr, sentence);
    }
  });

  test('help works', async () => {
    const [help, more] = await Promise.all([run(['help', 'send']), run(['send', '--help'])]);
    assert.match(help.stdout, /^Usage: pollywog send ID\|@NICK TEXT\n/);
    assert.deepEqual(help, more);
    for (const name of ['check', 'allowed', 'defaultconfig'])
      assert.deepEqual(await run([name, '--help']), await run(['help', name]));
    assert.match((await run(['check', '--help'])).stdout, /\n {2}--token FILE {4}publish a message /);
    assert.equal(help.exit, 0);
  });
});

describe('a server that goes away', () => {
  /** Something that answers with `bytes`, and is gone. */
  async function fakeServer(t: { after(hook: () => void): void }, bytes: string): Promise<string> {
    const path = join(folder, `fake-${bytes.length}.sock`);
    const fake = createServer(socket => {
      socket.on('error', () => {});
      socket.once('data', () => (bytes === '' ? socket.destroy() : socket.end(bytes)));
    });
    fake.listen(path);
    await once(fake, 'listening');
    t.after(() => void fake.close());
    return path;
  }

  test('before its reply gives an error that says so', async t => {
    const path = await fakeServer(t, '');
    const told = await run(['--control', path, 'list']);
    assert.deepEqual(told, {
      exit: 1,
      stdout: '',
      stderr:
        'pollywog: the server closed the connection without a reply: it ended, or cannot open more files (ulimit -n)\n',
    });
  });

  test('in the middle of its reply gives an error that says so', async t => {
    const head = 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n';
    const path = await fakeServer(t, `${head}5\r\nhello\r\n`);
    assert.deepEqual(await run(['--control', path, 'list']), {
      exit: 1,
      stdout: 'hello',
      stderr: 'pollywog: the server ended before its reply was complete\n',
    });
  });

  test('by kill -9 during a ping gives an error that says so', async t => {
    const server = await openServer(t);
    const client = await connectRaw(server.port);
    const asking = run(['--control', server.control, 'ping', '2']);
    await client.nextFrame();
    await server.kill();
    const { exit, stdout, stderr } = await asking;
    assert.deepEqual([exit, stdout], [1, ''], stderr);
    assert.match(stderr, /^pollywog: the server (ended before|closed the connection)/);
  });

  test('by stop during a ping gives an error that says so', async t => {
    const server = await openServer(t);
    const client = await connectRaw(server.port);
    const asking = run(['--control', server.control, 'ping', '2']);
    await client.nextFrame();
    await run(['--control', server.control, 'stop']);
    const { exit, stderr } = await asking;
    assert.equal(exit, 1);
    assert.match(stderr, /^pollywog: (connection 2 ended before its pong came|the server .*)\n$/);
    assert.equal(await server.exited, 0);
  });
});

describe('the command line', () => {
  test('is quiet when its reader closes the pipe', async t => {
    const server = await openServer(t);
    const clients = await Promise.all(Array.from({ length: 2000 }, () => connectTcp(server.port)));
    const whole = await run(['--control', server.control, 'list']);
    assert.equal(whole.stdout.split('\n').length, clients.length + 2);
    const rows = JSON.parse((await run(['--control', server.control, 'list', '--json'])).stdout);
    assert.equal(rows.length, clients.length);

    const child = spawn(process.execPath, [serverScript, '--control', server.control, 'list']);
    let stderr = '';
    child.stderr.on('data', text => {
      stderr += text;
    });
    child.stdout.once('data', () => child.stdout.destroy());
    const [exit] = await once(child, 'close');
    assert.deepEqual([exit, stderr], [0, '']);
    for (const client of clients) client.destroy();
  });

  test('reads a text from stdin for -, and bytes from a file or stdin', async t => {
    const server = await openServer(t);
    const client = await connectRaw(server.port);
    const at = ['--control', server.control];
    const heard = async () => (await client.nextFrame())!.payload;
    await run([...at, 'broadcast', '-'], 'several\nlines\n');
    assert.equal((await heard()).toString(), 'several\nlines');
    await run([...at, 'broadcast', '-'], '\ufeffno mark\r\n');
    assert.equal((await heard()).toString(), 'no mark');
    const latin1 = await run([...at, 'broadcast', '-'], Buffer.from('caf\u00e9\n', 'latin1'));
    assert.deepEqual(latin1, {
      exit: 2,
      stdout: '',
      stderr:
        'pollywog: stdin is not UTF-8: byte 0xe9 at offset 3; convert it, or send bytes with --binary -\n',
    });
    await run([...at, 'send', '2', '-'], '');
    assert.equal((await heard()).toString(), '');
    const bytes = Buffer.from(Array.from({ length: 256 }, (_, byte) => byte));
    await run([...at, 'broadcast', '--binary', '-'], bytes);
    assert.deepEqual(await heard(), bytes);
    const file = join(folder, 'bytes');
    writeFileSync(file, bytes);
    await run([...at, '--binary', file, 'send', '2']);
    assert.deepEqual(await heard(), bytes);
    client.destroy();
  });

  test('sends a body up to the limit, and reports the refusal of a longer one', async t => {
    const server = await openServer(t);
    const client = await connectRaw(server.port, { path: '/broadcast' });
    const at = ['--control', server.control, 'broadcast', '-'];
    const most = 'x'.repeat(maxCommandBody - '{"text":""}'.length);
    assert.deepEqual(await run(at, most), { exit: 0, stdout: 'sent: 1\n', stderr: '' });
    assert.equal((await client.nextFrame())?.payload.length, most.length);
    const { exit, stderr } = await run(at, `${most}x`);
    assert.deepEqual([exit, stderr], [1, `pollywog: the body is longer than ${maxCommandBody} bytes\n`]);
    assert.equal((await run(at, 'x'.repeat(20 * maxCommandBody))).exit, 1);
    client.destroy();
  });

  test('finds the server by the environment and the configuration file', async t => {
    const server = await openServer(t);
    const file = join(folder, 'pollywog.json');
    writeFileSync(file, JSON.stringify({ control: server.control }));
    assert.equal((await run(['--config', file, 'list'])).exit, 0);
    const env = { ...process.env, POLLYWOG_CONTROL: server.control };
    execFileSync(process.execPath, [serverScript, 'list'], { env, stdio: 'ignore' });
  });
});

describe('the control socket', () => {
  test('is open to its user only', async t => {
    const server = await openServer(t);
    assert.equal(statSync(server.control).mode & 0o777, 0o600);
    const { exit, stdout } = await commandWays[0]!.call(server, ['list']);
    assert.deepEqual([exit, stdout.split('\n').length], [0, 2]);
    if (process.getuid?.() !== 0) {
      t.diagnostic('not root: only the mode was looked at, no other user tried');
      return;
    }
    // The folder is everyone's, so that only the socket itself keeps them out.
    chmodSync(server.folder, 0o755);
    const asNobody = ['--reuid=65534', '--regid=65534', '--clear-groups'];
    const ask = ['curl', '-sS', '--unix-socket', server.control, '-X', 'POST', 'http://localhost/api/stop'];
    const child = spawn('setpriv', [...asNobody, ...ask]);
    let said = '';
    for (const stream of [child.stdout, child.stderr]) {
      stream.on('data', text => {
        said += text;
      });
    }
    const [code] = await once(child, 'close');
    assert.equal(code, 7, said);
    assert.equal((await commandWays[0]!.call(server, ['list'])).exit, 0, 'it was not stopped');
  });

  test('needs no token, and speaks HTTP with its owner', async t => {
    const server = await openServer(t);
    const ask = (...words: string[]) =>
      execFileSync('curl', ['-sS', '--unix-socket', server.control, ...words], { encoding: 'utf8' });
    assert.equal(ask('-X', 'POST', 'http://localhost/api/list'), '[]\n');
    assert.match(
      ask('--data', 'room=pond&text=a%26b', 'http://localhost/api/publish'),
      /^\{"sent":0,"id":"[a-z\d]+-1"\}\n$/,
    );
    assert.match(
      ask('-H', 'Accept: text/plain', '--data', 'room=pond', 'http://localhost/api/history'),
      /^id +time +from +event +text +data +base64\n\S+-1 +\S+Z +- +- +a&b +- +-\n$/,
    );
    assert.match(ask('http://localhost/api'), /"openapi": "3\.1\.0"/);
  });
});
