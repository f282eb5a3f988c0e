/** Exit codes and their sentences: closes, refusals, silence, and servers that violate the protocol. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { describe, type TestContext, test } from 'node:test';
import { closePayload, type FrameOptions, frame, opcode } from '../support/rawFrame.ts';
import { startServerFor } from '../support/serverProcess.ts';
import { runClient, startClient, startRaw, startWs } from './clientProcess.ts';

const limit = { timeout: 60_000 };
const plain: FrameOptions = { key: null };
const awaiting = ['-w', 'forever'];

async function expectEnd(
  t: TestContext,
  commandLine: readonly string[],
  status: number,
  sentence: RegExp | string,
): Promise<void> {
  const result = await runClient(t, commandLine);
  assert.equal(result.status, status, result.stderr);
  if (typeof sentence === 'string') assert.equal(result.stderr, sentence);
  else assert.match(result.stderr, sentence);
}

describe('a close by the server', limit, () => {
  for (const [code, status] of [
    [1000, 0],
    [1001, 0],
    [1002, 5],
    [1008, 5],
    [1011, 5],
    [3000, 5],
    [4999, 5],
  ] as const) {
    test(`with code ${code} ends the client with exit code ${status}`, async t => {
      const url = await startWs(t, socket => socket.close(code, 'the reason'));
      const said = status === 0 ? '' : `pollywog-client: closed ${code}: the reason\n`;
      await expectEnd(t, [url, ...awaiting], status, said);
    });
  }

  test('without a code ends the client with 0', async t => {
    await expectEnd(t, [await startWs(t, socket => socket.close()), ...awaiting], 0, '');
  });

  test('without a close frame ends the client with exit code 5 and reports 1006 [7.1.5-b, 7.2.1-3]', async t => {
    const url = await startWs(t, socket => socket.terminate());
    await expectEnd(t, [url, ...awaiting], 5, /^pollywog-client: closed 1006: the connection was lost/);
  });

  test('shows its reason without control characters', async t => {
    const url = await startWs(t, socket => socket.close(4000, '\u001b[2Jgone'));
    await expectEnd(t, [url, ...awaiting], 5, 'pollywog-client: closed 4000: ·[2Jgone\n');
  });

  test('shows its reason on one line, so that a server cannot forge another', async t => {
    const url = await startWs(t, socket => socket.close(4000, 'gone\npollywog-client: all is well'));
    const said = 'pollywog-client: closed 4000: gone·pollywog-client: all is well\n';
    await expectEnd(t, [url, ...awaiting], 5, said);
  });
});

describe('a close by the client', limit, () => {
  for (const [words, code, reason] of [
    [[], 1000, ''],
    [['--close', '1001'], 1001, ''],
    [['--close', '4001:so: long'], 4001, 'so: long'],
  ] as const) {
    test(`sends code ${code} and the reason "${reason}" [7.1.2-1]`, async t => {
      const closed: unknown[] = [];
      const url = await startWs(t, socket =>
        socket.on('close', (...how) => closed.push([how[0], `${how[1]}`])),
      );
      await expectEnd(t, [url, ...words], 0, '');
      assert.deepEqual(closed, [[code, reason]]);
    });
  }

  test('ends with exit code 5 if the server ends TCP without a close frame', async t => {
    const url = await startRaw(t, ({ socket, response }) => {
      socket.write(response);
      socket.on('data', () => socket.destroy());
    });
    await expectEnd(t, [url], 5, /closed 1006/);
  });

  test('ends with exit code 6 if the server does not answer', async t => {
    const url = await startRaw(t, ({ socket, response }) => socket.write(response));
    await expectEnd(t, [url], 6, 'pollywog-client: the server did not close within 10s of the close frame\n');
  });

  test('after SIGINT or SIGTERM has code 1001 [7.4.1-b]', async t => {
    let code = 0;
    const url = await startWs(t, socket => {
      socket.on('close', how => {
        code = how;
      });
      socket.send('hello');
    });
    for (const [signal, status] of [
      ['SIGINT', 130],
      ['SIGTERM', 143],
    ] as const) {
      const client = startClient(t, url);
      await client.untilPrinted('hello');
      client.child.kill(signal);
      assert.equal((await client.result).status, status);
      assert.equal(code, 1001);
    }
  });
});

describe('a failed connection', limit, () => {
  test('ends with exit code 3 if nothing listens at the address [4.1-12]', async t => {
    await expectEnd(
      t,
      ['ws://127.0.0.1:1/'],
      3,
      /^pollywog-client: nothing listens at ws:\/\/127.0.0.1:1\/; /,
    );
    await expectEnd(t, ['unix:/nonexistent/socket'], 3, /nothing listens at \/nonexistent\/socket/);
  });

  test('ends with exit code 1 if the host is unknown', async t => {
    // RFC 6761 §6.4: no name in .invalid exists.
    await expectEnd(t, ['ws://pollywog.invalid/'], 1, /pollywog\.invalid/);
  });

  test('ends with exit code 4 and shows the status and the reason of a refusal', async t => {
    const server = await startServerFor(t, '--origin', 'https://example.com');
    const url = `ws://127.0.0.1:${server.port}/echo`;
    await expectEnd(
      t,
      [url, '-o', 'https://evil.example'],
      4,
      /^pollywog-client: refused: 403 Forbidden: .*origin.*\n$/i,
    );
    await expectEnd(t, [url, '-o', 'https://example.com'], 0, '');
  });

  for (const [response, sentence] of [
    ['HTTP/1.1 404 Not Found\r\nContent-Length: 6\r\n\r\nno\nway', 'refused: 404 Not Found: no'],
    [
      'HTTP/1.1 301 Moved\r\nLocation: /x\r\nContent-Length: 0\r\n\r\n',
      'refused: 301 Moved: redirects to /x',
    ],
    ['HTTP/1.0 503 Busy\r\n\r\n', 'refused: 503 Busy'],
    ['HTTP/1.1 500 \u001b[2J\r\n\r\n', undefined],
    ['HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 6\r\n\r\n<html>', 'refused: 200 OK'],
  ] as const) {
    test(`explains the response ${JSON.stringify(response)}`, async t => {
      const url = await startRaw(t, ({ socket }) => socket.end(response));
      if (sentence === undefined) await expectEnd(t, [url], 7, /control character/);
      else await expectEnd(t, [url], 4, `pollywog-client: ${sentence}\n`);
    });
  }

  test('ends with exit code 6 if the handshake is not answered in time', async t => {
    const url = await startRaw(t, () => {});
    await expectEnd(t, [url, '--timeout', '50ms'], 6, /no handshake with .* within 50ms \(--timeout\)/);
  });

  test('ends with exit code 1 if the server closes without an answer', async t => {
    await expectEnd(t, [await startRaw(t, ({ socket }) => socket.end())], 1, /without an answer/);
  });
});

describe('a server that violates the protocol', limit, () => {
  const handshakes: [string, (response: string) => string, RegExp][] = [
    ['a wrong accept', response => response.replace(/Accept: .*/, 'Accept: x'), /Sec-WebSocket-Accept/],
    ['no upgrade', response => response.replace('Upgrade: websocket\r\n', ''), /Upgrade/],
    ['a huge head', () => `HTTP/1.1 101 OK\r\n${'X: y\r\n'.repeat(10_000)}`, /longer than|header fields/],
    ['another protocol', () => 'SSH-2.0-OpenSSH\r\n', /not an HTTP/],
    ['a subprotocol of its own', add('Sec-WebSocket-Protocol: mine'), /not one that was offered/],
    ['an extension of its own', add('Sec-WebSocket-Extensions: mine'), /not offered/],
  ];
  for (const [what, spoil, sentence] of handshakes) {
    test(`in its handshake ends the client with exit code 7: ${what} [4.1-36, 7.2.1-1, 7.2.1-2]`, async t => {
      let hasServerEnded = false;
      const url = await startRaw(t, ({ socket, response }) => {
        socket.write(spoil(response));
        const endLate = () => {
          hasServerEnded = true;
          socket.end();
        };
        setTimeout(endLate, 10_000).unref();
      });
      await expectEnd(t, [url, ...awaiting], 7, sentence);
      assert.equal(hasServerEnded, false, 'the client ends the connection');
    });
  }

  const frames: [string, Buffer, number, RegExp][] = [
    ['masks', frame(opcode.text, 'hello'), 1002, /must not mask/],
    ['sets RSV1', frame(opcode.text, 'hello', { ...plain, rsv: 4 }), 1002, /RSV1/],
    ['uses an unknown opcode', frame(3, '', plain), 1002, /opcode 3/],
    ['sends invalid UTF-8', frame(opcode.text, Buffer.from([0xff]), plain), 1007, /UTF-8/],
    [
      'sends too much',
      frame(opcode.binary, '', { ...plain, announcedLength: 2 ** 40 }),
      1009,
      /at most 100 bytes/,
    ],
    ['closes with 1005', frame(opcode.close, closePayload(1005), plain), 1002, /1005/],
    ['closes with half a code', frame(opcode.close, 'x', plain), 1002, /half/],
    ['fragments a ping', frame(opcode.ping, '', { ...plain, fin: false }), 1002, /fragmented/],
    ['continues nothing', frame(opcode.continuation, 'x', plain), 1002, /continu/],
  ];
  for (const [what, bytes, code, sentence] of frames) {
    test(`gets code ${code} and exit code 7 if it ${what} [7.1.7-2, 7.1.7-4]`, async t => {
      let said = Buffer.alloc(0);
      const url = await startRaw(t, ({ socket, response }) => {
        socket.on('data', chunk => {
          said = Buffer.concat([said, chunk]);
        });
        socket.on('end', () => socket.end());
        socket.write(response);
        socket.write(bytes);
      });
      await expectEnd(t, [url, ...awaiting, '--max-message', '100', '--compress', 'off'], 7, sentence);
      assert.equal(said[0], 0x88);
      const masked = said.readUInt16BE(6);
      assert.equal(masked ^ said.readUInt16BE(2), code);
    });
  }
});

test('a message that arrives with the handshake is printed', limit, async t => {
  const url = await startRaw(t, ({ socket, response }) => {
    const hello = frame(opcode.text, 'hello', plain);
    socket.write(
      Buffer.concat([Buffer.from(response), hello, frame(opcode.close, closePayload(1000), plain)]),
    );
    socket.on('end', () => socket.end());
  });
  const { status, stdout } = await runClient(t, [url, ...awaiting]);
  assert.deepEqual([status, stdout.toString()], [0, 'hello\n']);
});

test('wrong usage ends with exit code 2 and a sentence [7.4.1-3]', async t => {
  const url = 'ws://127.0.0.1:1/';
  for (const [words, sentence] of [
    [[], /^pollywog-client: no URL; give a URL such as/],
    [['localhost'], /the URL must be a URL such as/],
    [['http://localhost/'], /the URL must be/],
    [['ws://localhost/#x'], /the URL must be/],
    [[url, url], /give one URL/],
    [[url, '--subprotocl', 'x'], /did you mean --subprotocol\?/],
    [[url, '-s', 'a b'], /--subprotocol must be a name/],
    [[url, '-s', 'a', '-s', 'a'], /distinct tokens/],
    [[url, '-H', 'no colon'], /--header must be/],
    [[url, '-H', 'Upgrade: x'], /reserved for the handshake/],
    [[url, '--close', '1005'], /--close must be a close code/],
    [[url, '-w', 'long'], /--wait must be .* or forever/],
    [[url, '--json', '--null'], /cannot be combined/],
    [[url, '-1', '-n', '2'], /remove one of them/],
    [[url, '--room', 'pond'], /--nick/],
    [[url, '--nick', 'ada', '--json'], /remove --json/],
    [[url, '--binary', '--reconnect'], /only once/],
  ] as const) {
    const result = await runClient(t, words);
    assert.deepEqual([result.status, result.stdout.length], [2, 0], words.join(' '));
    assert.match(result.stderr, sentence);
  }
});

test('--help lists every exit code, and --version prints the version of package.json', async t => {
  const help = await runClient(t, ['-h']);
  assert.match(help.stdout.toString(), /Exit codes: 0 done .* 3 no\s+server/s);
  for (const line of help.stdout.toString().split('\n'))
    assert.ok(line.length <= 80 && line === line.trimEnd(), line);
  const about = JSON.parse(readFileSync(new URL('../../../package.json', import.meta.url), 'utf8'));
  const version = await runClient(t, ['--version']);
  assert.deepEqual([version.status, version.stdout.toString()], [0, `${about.version}\n`]);
});

function add(field: string): (response: string) => string {
  return response => response.replace(/\r\n\r\n$/, `\r\n${field}\r\n\r\n`);
}
