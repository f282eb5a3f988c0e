/** The access log: what its lines say, and that no client can forge one or put a secret in it. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { fstatSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { appendLine, closeLineFile, openLineFile, reopenLineFile } from '../../src/log/lineFile.ts';
import { watchLog } from '../../src/log/log.ts';
import { maxPendingLines, maxShownField } from '../../src/protocol/limits.ts';
import { skipUnlessLinux } from '../support/linux.ts';
import { connectRaw, connectTcp, exchange } from '../support/rawClient.ts';
import { frame, opcode } from '../support/rawFrame.ts';
import { type Hooks, reload, startServerFor } from '../support/serverProcess.ts';
import { temporaryFolder } from '../support/temporaryFolder.ts';
import { siteSecret, tokenOf } from '../support/tokens.ts';

async function startLogged(t: Hooks, ...options: string[]) {
  const path = join(temporaryFolder(), 'access.log');
  return { path, server: await startServerFor(t, '--access-log', path, ...options) };
}

/** Waits until the file has this many lines. */
async function untilLines(path: string, count: number): Promise<string[]> {
  for (;;) {
    const lines = readFileSync(path, 'utf8').split('\n').slice(0, -1);
    if (lines.length >= count) return lines;
    await new Promise(resolve => setImmediate(resolve));
  }
}

/** The combined form, as log analyzers parse it. */
const combined =
  /^(\S+) - (\S+) \[(\d\d\/[A-Z][a-z]{2}\/\d{4}:\d\d:\d\d:\d\d \+0000)\] "((?:[^"\\]|\\.)*)" (\d{3}) (\d+|-) "((?:[^"\\]|\\.)*)" "((?:[^"\\]|\\.)*)"$/;

function parse(line: string): string[] {
  const found = combined.exec(line);
  assert.ok(found !== null, line);
  return found.slice(1);
}

const get = (target: string, fields: readonly string[] = []) =>
  `${[`GET ${target} HTTP/1.1`, 'Host: a', ...fields, 'Connection: close'].join('\r\n')}\r\n\r\n`;

async function lineFor(port: number, path: string, request: string): Promise<string[]> {
  await exchange(port, request);
  return parse((await untilLines(path, 1)).at(-1)!);
}

describe('a line of the access log', () => {
  test('describes a request and its answer in the combined form', async t => {
    const { server, path } = await startLogged(t);
    const request = get('/healthz?a=1', ['Referer: https://example.com/', 'User-Agent: curl/8']);
    const answer = (await exchange(server.port, request)).toString();
    const body = answer.slice(answer.indexOf('\r\n\r\n') + 4);
    const [host, user, , line, status, size, referer, agent] = parse((await untilLines(path, 1))[0]!);
    assert.deepEqual([host, user, line], ['127.0.0.1', '-', 'GET /healthz?a=1 HTTP/1.1']);
    assert.deepEqual([status, size], ['200', String(body.length)]);
    assert.deepEqual([referer, agent], ['https://example.com/', 'curl/8']);
  });

  test('describes a WebSocket when it has ended, with the bytes sent after the handshake', async t => {
    const { server, path } = await startLogged(t);
    const client = await connectRaw(server.port, { path: '/echo' });
    client.send(frame(opcode.text, 'hello'));
    await client.nextFrame();
    assert.deepEqual(await untilLines(path, 0), []);
    client.send(frame(opcode.close, Buffer.from([3, 232])));
    await client.remainingFrames();
    client.destroy();
    const [, , , line, status, size] = parse((await untilLines(path, 1))[0]!);
    // The echo has 2 bytes of header, the close frame 4 bytes.
    assert.deepEqual([line, status, size], ['GET /echo HTTP/1.1', '101', String(2 + 5 + 4)]);
  });

  test('is written for each request of a connection, for refusals, and for what is not HTTP', async t => {
    const { server, path } = await startLogged(t);
    const kept = 'GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n';
    await exchange(server.port, `${kept}${kept}${get('/nothing')}`);
    await exchange(server.port, 'GET /a b c HTTP/1.1\r\n\r\n');
    const lines = (await untilLines(path, 4)).map(line => parse(line));
    assert.deepEqual(
      lines.map(([, , , line, status]) => `${status} ${line}`),
      ['200 GET /healthz HTTP/1.1', '200 GET /healthz HTTP/1.1', '404 GET /nothing HTTP/1.1', '400 -'],
    );
  });

  test('has 499 for a client that left before its answer', async t => {
    const { server, path } = await startLogged(t);
    const socket = await connectTcp(server.port);
    socket.write('POST /poll/echo HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nab');
    await exchange(server.port, get('/healthz'));
    socket.destroy();
    const lines = (await untilLines(path, 2)).map(line => parse(line));
    assert.deepEqual(lines.map(([, , , , status]) => status).sort(), ['200', '499']);
  });

  test('hides tokens and signatures, also in the field Referer', async t => {
    const { server, path } = await startLogged(t);
    const line = await lineFor(
      server.port,
      path,
      get('/x?token=hunter2&sign=abc123&a=1', ['Referer: http://a/?token=hunter3']),
    );
    assert.equal(line[3], 'GET /x?token=***&sign=***&a=1 HTTP/1.1');
    assert.equal(line[6], 'http://a/?token=***');
  });

  const forged: [string, string, string][] = [
    ['a quotation mark', 'a" 200 1 "b', 'a\\" 200 1 \\"b'],
    ['a backslash', 'a\\', 'a\\\\'],
    ['a byte that is not ASCII', 'caf\u00e9', 'caf\\xe9'],
    ['more than a line can show', 'x'.repeat(2 * maxShownField), 'x'.repeat(maxShownField)],
  ];
  for (const [what, agent, shown] of forged) {
    test(`is one line in the combined form, whatever a client sends: ${what}`, async t => {
      const { server, path } = await startLogged(t);
      await exchange(server.port, Buffer.from(get('/x', [`User-Agent: ${agent}`]), 'latin1'));
      assert.equal(parse((await untilLines(path, 1))[0]!)[7], shown);
    });
  }

  const users: [string, string][] = [
    ['ada', 'ada'],
    ['a b"c', 'a\\x20b\\"c'],
    // In Latin-1, the bytes would be those of `A`.
    ['\u0141', '\\xc5\\x81'],
    ['\u{1f438}', '\\xf0\\x9f\\x90\\xb8'],
    ['-', '\\x2d'],
  ];
  for (const [user, shown] of users) {
    test(`names the user ${JSON.stringify(user)}, who cannot pass for another`, async t => {
      const key = join(temporaryFolder(), 'key');
      writeFileSync(key, siteSecret, { mode: 0o600 });
      const { server, path } = await startLogged(t, '--auth-key', key);
      const token = tokenOf({ sub: user, exp: Math.floor(Date.now() / 1000) + 600 });
      const line = await lineFor(server.port, path, get('/healthz', [`Authorization: Bearer ${token}`]));
      assert.equal(line[1], shown);
    });
  }

  test('has the address that a trusted proxy gives', async t => {
    const { server, path } = await startLogged(t, '--trust-proxy', '127.0.0.1');
    const line = await lineFor(server.port, path, get('/healthz', ['X-Forwarded-For: 203.0.113.7']));
    assert.equal(line[0], '203.0.113.7');
  });
});

describe('the file', () => {
  test('is opened again by SIGHUP, and no line is lost', async t => {
    const { server, path } = await startLogged(t);
    await exchange(server.port, get('/one'));
    await untilLines(path, 1);
    renameSync(path, `${path}.1`);
    await exchange(server.port, get('/two'));
    await untilLines(`${path}.1`, 2);
    await reload(server);
    await exchange(server.port, get('/three'));
    const [line] = await untilLines(path, 1);
    assert.match(line!, /"GET \/three /);
    assert.equal((await untilLines(`${path}.1`, 2)).length, 2);
  });

  test('has all lines when the server has ended', async t => {
    const { server, path } = await startLogged(t, '--close-timeout', '100ms');
    const client = await connectRaw(server.port, { path: '/echo' });
    server.child.kill('SIGTERM');
    await client.remainingFrames();
    client.destroy();
    await server.exited;
    assert.match(readFileSync(path, 'utf8'), /"GET \/echo HTTP\/1\.1" 101 /);
  });

  test('must be writable: otherwise the server does not start, and a reload changes nothing', async t => {
    const missing = join(temporaryFolder(), 'missing', 'access.log');
    await assert.rejects(startServerFor(t, '--access-log', missing), /choose another with --access-log/);
  });

  test('loses lines rather than memory if the disk is too slow, and the log says how many', async () => {
    const file = openLineFile(join(temporaryFolder(), 'lines'), '--access-log');
    const line = `${'x'.repeat(1023)}\n`;
    const fitting = maxPendingLines / line.length;
    for (let i = 0; i < fitting + 5; i++) appendLine(file, line);
    assert.deepEqual([file.lost, file.pending.length], [5, fitting]);
    await closeLineFile(file);
    assert.equal(readFileSync(file.path, 'utf8').length, maxPendingLines);
    assert.equal(file.lost, 0);
  });

  test('counts the lines that a full disk loses, and the log says how many when it can be written again', async t => {
    if (skipUnlessLinux(t, '/dev/full')) return;
    const heard: string[] = [];
    t.after(watchLog(line => heard.push(line) > 0));
    const file = openLineFile('/dev/full', '--access-log');
    for (const line of ['a\n', 'b\n', 'c\n']) appendLine(file, line);
    await new Promise<void>(resolve => {
      file.onDrained = resolve;
    });
    const path = join(temporaryFolder(), 'lines');
    reopenLineFile(file, path, '--access-log');
    appendLine(file, 'd\n');
    await closeLineFile(file);
    assert.equal(readFileSync(path, 'utf8'), 'd\n');
    assert.deepEqual(
      heard.map(line =>
        line
          .replace(/^\S+ /, '')
          .replace(/path=\S+/, 'path=')
          .trimEnd(),
      ),
      [
        'error access log not written path= reason="the disk is full"',
        'info  access log written again path=',
        'warn  access log lines lost path= count=3',
      ],
    );
  });

  test('closes the file from before when its write ends, even if lines keep coming', async () => {
    const file = openLineFile(join(temporaryFolder(), 'before'), '--access-log');
    const before = file.descriptor;
    appendLine(file, 'a\n');
    while (file.inUse === undefined) await new Promise(resolve => setImmediate(resolve));
    reopenLineFile(file, join(temporaryFolder(), 'after'), '--access-log');
    while (isOpen(before)) {
      appendLine(file, 'b\n');
      await new Promise(resolve => setImmediate(resolve));
    }
    assert.ok(file.isWriting);
    await closeLineFile(file);
  });

  function isOpen(descriptor: number): boolean {
    try {
      return fstatSync(descriptor).isFile();
    } catch {
      return false;
    }
  }
});

test('the server refuses to start with an access log that is a named pipe without a reader', async t => {
  const path = join(temporaryFolder(), 'pipe');
  assert.equal(spawnSync('mkfifo', [path]).status, 0);
  await assert.rejects(startServerFor(t, '--access-log', path), /cannot log to .*pipe/);
});
