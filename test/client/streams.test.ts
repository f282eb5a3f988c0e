/** Pipes: every byte of stdin comes back, in order, and no faster than stdout is read. */
import assert from 'node:assert/strict';
import { execFile, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { closeSync, openSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { text } from 'node:stream/consumers';
import { describe, type TestContext, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { findPythonWithWebsockets } from '../support/install.ts';
import { startServerFor } from '../support/serverProcess.ts';
import { temporaryFolder } from '../support/temporaryFolder.ts';
import { clientScript, runClient, startClient, startRaw, startWs } from './clientProcess.ts';

const count = 100_000;
const numbered = Array.from({ length: count }, (_, index) => `line ${index} ${'é'.repeat(index % 7)}\n`).join(
  '',
);
const limit = { timeout: 120_000 };

async function startEcho(t: TestContext, ...options: string[]): Promise<string> {
  return `ws://127.0.0.1:${(await startServerFor(t, ...options)).port}/echo`;
}

function startWsEcho(t: TestContext, options: object = {}): Promise<string> {
  return startWs(
    t,
    socket => socket.on('message', (data, isBinary) => socket.send(data, { binary: isBinary })),
    {
      maxPayload: 0,
      ...options,
    },
  );
}

function assertSame(actual: Buffer, expected: string | Buffer): void {
  // deepEqual would print megabytes.
  assert.ok(
    actual.equals(Buffer.from(expected)),
    `${actual.length} bytes came back, other than what was sent`,
  );
}

describe('100,000 lines', limit, () => {
  for (const compress of ['on', 'off']) {
    test(`come back from the project's own server, --compress ${compress}`, async t => {
      const { status, stdout, stderr } = await runClient(
        t,
        [await startEcho(t), '--compress', compress],
        numbered,
      );
      assert.deepEqual([status, stderr], [0, '']);
      assertSame(stdout, numbered);
    });
  }

  test("come back from npm's ws", async t => {
    const { status, stdout } = await runClient(t, [await startWsEcho(t)], numbered);
    assert.equal(status, 0);
    assertSame(stdout, numbered);
  });
});

test("--count waits for all answers of Python's websockets, which stops answering after a close frame", {
  timeout: 15 * 60_000,
}, async t => {
  const echo = [
    'import asyncio, websockets',
    'async def echo(socket, *path):',
    '    async for message in socket: await socket.send(message)',
    'async def main():',
    '    async with websockets.serve(echo, "127.0.0.1", 0) as server:',
    '        print(server.sockets[0].getsockname()[1], flush=True)',
    '        await asyncio.Future()',
    'asyncio.run(main())',
  ].join('\n');
  const python = spawn(findPythonWithWebsockets(), ['-c', echo], { stdio: ['ignore', 'pipe', 'ignore'] });
  t.after(() => python.kill('SIGKILL'));
  const [port] = (await once(createInterface(python.stdout), 'line')) as [string];
  const lines = numbered.slice(0, numbered.indexOf('line 5000'));
  const { status, stdout } = await runClient(t, [`ws://127.0.0.1:${port}/`, '-n', '5000'], lines);
  assert.equal(status, 0);
  assertSame(stdout, lines);
});

test('5 MiB of binary come back in one message [5.2-a, 5.4-6, 6.1-5]', limit, async t => {
  const bytes = randomBytes(5 * 1024 * 1024);
  for (const url of [
    await startEcho(t),
    await startWsEcho(t),
    await startWsEcho(t, { perMessageDeflate: true }),
  ]) {
    const { status, stdout } = await runClient(t, [url, '--binary'], bytes);
    assert.equal(status, 0);
    assertSame(stdout, bytes);
  }
});

describe('framing', () => {
  test('lines may be empty, the last one may lack its newline, and a CR is part of its line', async t => {
    const { stdout } = await runClient(t, [await startEcho(t)], '\n\nä\r\nlast');
    assert.equal(stdout.toString(), '\n\nä\r\nlast\n');
  });

  test('with --null, messages may contain newlines', async t => {
    const { stdout } = await runClient(t, [await startEcho(t), '--null'], 'one\ntwo\0\0three');
    assert.equal(stdout.toString(), 'one\ntwo\0\0three\0');
  });

  test('with --json, each line is a JSON string in both directions', async t => {
    const lines = `${JSON.stringify('one\ntwo "é" \u0000')}\n""\n`;
    const { status, stdout } = await runClient(t, [await startEcho(t), '--json'], lines);
    assert.deepEqual([status, stdout.toString()], [0, lines]);
  });

  test('--binary with an empty stdin sends one empty message', async t => {
    const messages: unknown[] = [];
    const url = await startWs(t, socket =>
      socket.on('message', (data, isBinary) => messages.push([`${data}`, isBinary])),
    );
    await runClient(t, [url, '--binary']);
    assert.deepEqual(messages, [['', true]]);
  });

  test('a binary message is described on stderr, unless --binary prints it', async t => {
    const url = await startWs(t, socket => {
      socket.send('text');
      socket.send(Buffer.from('00ff', 'hex'));
      socket.send(Buffer.alloc(40));
      socket.close(1000);
    });
    const plain = await runClient(t, [url, '-w', 'forever']);
    assert.equal(plain.stdout.toString(), 'text\n');
    assert.equal(plain.stderr, `<binary 2 bytes: 00ff>\n<binary 40 bytes: ${'00'.repeat(32)}...>\n`);
    const raw = await runClient(t, [url, '--binary', '-w', 'forever']);
    assert.deepEqual(
      raw.stdout,
      Buffer.concat([Buffer.from('text\u0000\u00ff', 'latin1'), Buffer.alloc(40)]),
    );
  });

  test('a stdin that is a folder is refused before the client connects, unless it is not read', async t => {
    let connections = 0;
    const url = await startWs(t, socket => {
      connections++;
      socket.close(1000);
    });
    const folder = openSync(temporaryFolder(), 'r');
    t.after(() => closeSync(folder));
    const run = async (...words: string[]) => {
      const child = spawn(process.execPath, [clientScript, url, ...words], {
        stdio: [folder, 'pipe', 'pipe'],
      });
      const said = text(child.stderr!);
      child.stdout!.resume();
      const [status] = await once(child, 'close');
      return { status, stderr: await said };
    };
    const sentence = 'stdin cannot be read: it is a folder; redirect it from a file or a pipe';
    for (const words of [[], ['--binary'], ['--null'], ['--nick', 'ada']])
      assert.deepEqual(await run(...words), { status: 2, stderr: `pollywog-client: ${sentence}\n` });
    assert.equal(connections, 0);
    assert.equal((await run('-x', 'hello')).status, 0);
  });

  for (const [options, stdin, sentence] of [
    [[], Buffer.from('good\nbad \xff\n', 'latin1'), /^pollywog-client: line 2 of stdin is not UTF-8/],
    [['--json'], '"good"\n{}\n', /^pollywog-client: line 2 of stdin is not a JSON string: "\{\}"\n$/],
    [['--json'], '"good"\n"\\ud800"\n', /^pollywog-client: line 2 of stdin is not a JSON string/],
    [['--max-message', '10'], `good\n${'x'.repeat(11)}`, /longer than 10 bytes \(--max-message\)/],
  ] as const) {
    test(`invalid input ends with exit code 1: ${sentence.source}`, async t => {
      const { status, stdout, stderr } = await runClient(t, [await startEcho(t), ...options], stdin);
      assert.equal(status, 1);
      assert.equal(stdout.toString().replaceAll('"', ''), 'good\n', 'what came before it was sent');
      assert.match(stderr, sentence);
    });
  }
});

/** Resolves when the value of `read` has not changed for a while. */
async function untilStill(read: () => number): Promise<number> {
  for (let last = read(), same = 0; ; ) {
    await delay(2);
    const now = read();
    same = now === last ? same + 1 : 0;
    last = now;
    if (same === 200) return last;
  }
}

describe('backpressure', limit, () => {
  const total = 64 * 1024 * 1024;

  test('a stdout that is not read pauses the server, and no message is lost', async t => {
    let buffered = () => 0;
    const url = await startWs(t, socket => {
      buffered = () => socket.bufferedAmount;
      for (let sent = 0; sent < total; sent += 65_536) socket.send(Buffer.alloc(65_536, 'x').toString());
      socket.close(1000);
    });
    const { child, result } = startClient(t, url, '-w', 'forever', '--compress', 'off');
    child.stdout.pause();
    child.stdin.end();
    while (buffered() === 0) await delay(1);
    assert.ok((await untilStill(buffered)) > total / 2, 'most of it waits at the server');
    child.stdout.resume();
    const { status, stdout } = await result;
    assert.deepEqual([status, stdout.length], [0, total + total / 65_536]);
  });

  test('a server that does not read pauses stdin, and no message is lost', async t => {
    let received = 0;
    let go: (() => void) | undefined;
    const url = await startRaw(t, ({ socket, response }) => {
      socket.pause();
      socket.on('data', chunk => {
        received += chunk.length;
      });
      socket.on('end', () => socket.end());
      socket.write(response);
      socket.pause();
      go = () => socket.resume();
    });
    const { child, result } = startClient(t, url, '--binary');
    child.stdin.write(Buffer.alloc(total));
    child.stdin.end();
    while (go === undefined) await delay(1);
    assert.ok((await untilStill(() => child.stdin.writableLength)) > 0);
    go();
    while (received < total) await delay(1);
    // The server will not answer the close frame.
    child.kill('SIGKILL');
    await result;
  });
});

test('the client ends without an error if the reader of its stdout goes away', limit, async t => {
  const url = await startWs(t, socket => {
    const more = () => socket.send('more', error => error ?? setImmediate(more));
    more();
  });
  const command = `"$0" "$1" "$2" -w forever < /dev/null | head -n 2`;
  const run = new Promise<[string, string]>((resolve, reject) => {
    execFile('/bin/sh', ['-c', command, process.execPath, clientScript, url], (error, stdout, stderr) =>
      error ? reject(error) : resolve([stdout, stderr]),
    );
  });
  assert.deepEqual(await run, ['more\nmore\n', '']);
});
