/** What the options send to the server, and when the client closes. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { FrameReader, frame, opcode } from '../support/rawFrame.ts';
import { startServerFor } from '../support/serverProcess.ts';
import { temporaryFolder } from '../support/temporaryFolder.ts';
import { runClient, startClient, startRaw, startWs } from './clientProcess.ts';

const limit = { timeout: 60_000 };

describe('the handshake request', limit, () => {
  test('has the given headers, origin and subprotocols [4.1-2, 4.1-10, 4.1-17]', async t => {
    let headers: NodeJS.Dict<string | string[]> = {};
    const url = await startWs(t, (_, sent) => {
      headers = sent;
    });
    const words = ['-H', 'X-One: 1', '-H', 'Cookie: a=b', '-H', 'cookie:c=d', '--header=Host: example.com'];
    const more = ['-o', 'https://example.com', '-s', 'first', '-s', 'second', '--compress', 'off'];
    assert.equal((await runClient(t, [...words, ...more, url])).status, 0);
    assert.equal(headers['x-one'], '1');
    assert.equal(headers['cookie'], 'a=b; c=d');
    assert.equal(headers['host'], 'example.com');
    assert.equal(headers['origin'], 'https://example.com');
    assert.equal(headers['sec-websocket-protocol'], 'first, second');
    assert.equal(headers['sec-websocket-extensions'], undefined);
  });

  test('offers compression, and sends the credentials of the URL', async t => {
    let headers: NodeJS.Dict<string | string[]> = {};
    const url = await startWs(t, (_, sent) => {
      headers = sent;
    });
    await runClient(t, [url.replace('//', '//ada:pass%20word@')]);
    assert.match(String(headers['sec-websocket-extensions']), /^permessage-deflate/);
    assert.equal(headers['authorization'], `Basic ${Buffer.from('ada:pass word').toString('base64')}`);
  });

  test('reaches a Unix socket by each spelling of its URL', async t => {
    const folder = temporaryFolder();
    const path = join(folder, 'socket');
    await startServerFor(t, '--listen', `unix:${path}`);
    for (const url of [`ws+unix:${path}:/echo`, `ws+unix://${path}:/echo`, `unix:${path}`]) {
      const { status, stdout } = await runClient(t, [url], 'hello');
      assert.deepEqual([status, stdout.toString()], [0, 'hello\n'], url);
    }
  });

  test('leads to a notice if the server chooses no subprotocol', async t => {
    const url = await startWs(t, () => {}, { handleProtocols: () => false });
    const { status, stderr } = await runClient(t, [url, '-s', 'mine']);
    assert.deepEqual(
      [status, stderr],
      [0, 'pollywog-client: the server chose none of the offered subprotocols\n'],
    );
  });
});

test('every frame is masked with a fresh key [5.1-1, 5.3-2, 5.3-3, 6.1-8, 10.3-1]', limit, async t => {
  const keys = new Set<string>();
  const reader = new FrameReader();
  const texts: string[] = [];
  const url = await startRaw(t, ({ socket, response }) => {
    socket.on('data', chunk => {
      // The key follows two bytes of header: all of these frames are short.
      for (reader.add(chunk); ; ) {
        const head = Buffer.from(reader.rest().subarray(0, 6));
        const next = reader.next();
        if (next === undefined) return;
        assert.ok(next.isMasked);
        keys.add(head.subarray(2).toString('hex'));
        if (next.opcode === opcode.close) socket.end(frame(opcode.close, next.payload, { key: null }));
        else texts.push(next.payload.toString());
      }
    });
    socket.write(response);
  });
  const lines = Array.from({ length: 3000 }, (_, index) => `line ${index}`);
  assert.equal((await runClient(t, [url], `${lines.join('\n')}\n`)).status, 0);
  assert.deepEqual(texts, lines);
  // Of 3,001 random 32-bit keys, two are equal once in a thousand runs; three pairs never are.
  assert.ok(keys.size >= 2999, `${keys.size} keys for 3001 frames`);
});

describe('the client', limit, () => {
  const sendThree = (t: Parameters<typeof startWs>[0]) =>
    startWs(t, socket => {
      for (const text of ['one', 'two', 'three']) socket.send(text);
    });

  test('closes after one message with -1, after two with -n 2, and prints no more', async t => {
    const url = await sendThree(t);
    for (const [words, lines] of [
      [['-1'], 'one\n'],
      [['-n', '2'], 'one\ntwo\n'],
    ] as const) {
      const client = startClient(t, url, ...words);
      const { status, stdout } = await client.result;
      assert.deepEqual([status, stdout.toString()], [0, lines]);
    }
  });

  test('ends with exit code 6 if -n messages do not arrive within -w', async t => {
    const { status, stderr } = await runClient(t, [await sendThree(t), '-n', '4', '-w', '300ms']);
    assert.deepEqual([status, stderr], [6, 'pollywog-client: 3 of 4 messages came within 300ms (--wait)\n']);
  });

  test('ends with exit code 5 if the server closes before -n messages', async t => {
    const url = await startWs(t, socket => {
      socket.send('one');
      socket.close(1000);
    });
    const { status, stderr } = await runClient(t, [url, '-n', '2']);
    assert.deepEqual([status, stderr], [5, 'pollywog-client: closed after 1 of 2 messages\n']);
  });

  test('waits for -w after the last message sent, then ends with 0', async t => {
    const url = await startWs(t, socket =>
      socket.on('message', () => setTimeout(() => socket.send('late'), 20)),
    );
    const { status, stdout } = await runClient(t, [url, '-x', 'hello', '-w', '1s']);
    assert.deepEqual([status, stdout.toString()], [0, 'late\n']);
  });

  test('waits at the end of stdin until no message has arrived for a second', async t => {
    const url = await startWs(t, socket => {
      const ping = setInterval(() => socket.ping(), 50);
      socket.on('close', () => clearInterval(ping));
      socket.on('message', text => {
        // Each answer restarts the wait; together they take longer than a second.
        for (const part of [1, 2, 3, 4]) setTimeout(() => socket.send(`${text} ${part}`), part * 350);
      });
    });
    for (const [words, stdin] of [
      [[], 'hello\n'],
      [['-x', 'hello'], ''],
    ] as const) {
      const { status, stdout, stderr } = await runClient(t, [url, ...words], stdin);
      assert.deepEqual([status, stdout.toString(), stderr], [0, 'hello 1\nhello 2\nhello 3\nhello 4\n', '']);
    }
  });

  test('does not close while a message is still arriving', async t => {
    const url = await startRaw(t, ({ socket, response }) => {
      socket.write(response);
      const pieces = [
        frame(opcode.text, 'a', { fin: false, key: null }),
        frame(0, 'b', { fin: false, key: null }),
        frame(0, 'c', { key: null }),
      ];
      for (const [index, piece] of pieces.entries()) setTimeout(() => socket.write(piece), 600 * (index + 1));
      socket.on('end', () => socket.end());
      socket.on('data', chunk => {
        // The first byte of the client's close frame.
        if (chunk[0] === 0x88) socket.end(frame(opcode.close, Buffer.from([3, 232]), { key: null }));
      });
    });
    const { status, stdout } = await runClient(t, [url, '-x', 'hello']);
    assert.deepEqual([status, stdout.toString()], [0, 'abc\n']);
  });

  test('closes at once with -w 0, and prints only messages that arrive before the server closes', async t => {
    const url = await startWs(t, socket =>
      socket.on('message', () =>
        setTimeout(() => socket.readyState === socket.OPEN && socket.send('late'), 300),
      ),
    );
    const { status, stdout } = await runClient(t, [url, '-w', '0'], 'hello\n');
    assert.deepEqual([status, stdout.toString()], [0, '']);
  });

  test('sends the texts of -x in order, and does not read stdin', async t => {
    const { port } = await startServerFor(t);
    const words = ['-x', 'one', '--send=-two', '-x', '', `ws://127.0.0.1:${port}/echo`];
    const { status, stdout } = await runClient(t, words, 'not this\n');
    assert.deepEqual([status, stdout.toString()], [0, 'one\n-two\n\n']);
  });
});

describe('--ping', limit, () => {
  test('keeps a connection whose pings are answered [5.5.2-4]', async t => {
    const url = await startWs(t, socket => {
      let pings = 0;
      socket.on('ping', () => {
        if (++pings === 3) socket.send('three pings');
      });
    });
    const client = startClient(t, url, '--ping', '20ms', '-1');
    assert.deepEqual([(await client.result).status, client.stdout()], [0, 'three pings\n']);
  });

  test('ends with exit code 6 if the server does not answer', async t => {
    const url = await startRaw(t, ({ socket, response }) => {
      socket.write(response);
      socket.resume();
    });
    const client = startClient(t, url, '--ping', '20ms');
    assert.deepEqual([(await client.result).status], [6]);
    assert.equal(client.stderr(), 'pollywog-client: no sign of life within 20ms of a ping (--ping)\n');
  });
});

test(
  '-v shows the handshake and each frame on stderr, wherever the bytes are cut [5.5.1-6, 5.5.2-2]',
  limit,
  async t => {
    const url = await startRaw(t, ({ socket, response }) => {
      const bytes = Buffer.concat([
        Buffer.from(response),
        frame(opcode.text, 'x'.repeat(300), { key: null, fin: false }),
        frame(opcode.ping, 'now', { key: null }),
        frame(opcode.continuation, 'end', { key: null }),
        frame(opcode.close, Buffer.from([3, 232]), { key: null }),
      ]);
      socket.setNoDelay();
      socket.on('end', () => socket.end());
      const next = async () => {
        for (const byte of bytes) {
          socket.write(Buffer.from([byte]));
          await new Promise(resolve => setImmediate(resolve));
        }
      };
      void next();
    });
    const { status, stdout, stderr } = await runClient(t, [url, '-v', '-w', 'forever']);
    assert.deepEqual([status, stdout.length], [0, 304]);
    assert.match(stderr, /^> GET \/ HTTP\/1\.1\n> Host: .*\n< HTTP\/1\.1 101 Switching Protocols\n/s);
    const frames = stderr.split('\n').filter(line => /bytes/.test(line));
    const received = frames.filter(line => line.startsWith('<'));
    // How much of a payload arrived with its header depends on the network.
    assert.deepEqual(
      received.map(line => line.replace(/("x*"|"end"|…|: | )+(?= \[|$)/, '')),
      [
        '< text, 300 bytes, first fragment',
        '< ping, 3 bytes: "now" [final]',
        '< continuation, 3 bytes, last fragment [final]',
        '< message of 2 frames: text, 303 bytes',
        '< close, 2 bytes: 1000 (normal closure) [final]',
      ],
    );
    assert.ok(received[3]?.endsWith(`: "${'x'.repeat(48)}" …`), received[3]);
    assert.deepEqual(
      frames.filter(line => line.startsWith('>')),
      ['> pong, 3 bytes: "now" [final, masked]', '> close, 2 bytes: 1000 (normal closure) [final, masked]'],
    );
  },
);

test('large messages are compressed if the server accepts permessage-deflate', limit, async t => {
  const url = await startWs(
    t,
    socket => socket.on('message', (data, isBinary) => socket.send(data, { binary: isBinary })),
    { perMessageDeflate: { threshold: 0 } },
  );
  const text = 'compressible '.repeat(10_000);
  const { stdout, stderr } = await runClient(t, [url, '-v'], text);
  assert.equal(stdout.toString(), `${text}\n`);
  const beginning =
    '130000 bytes \\(\\d{3,4} deflated\\): "(?:compressible ){3}compressi" … \\[final, compressed';
  assert.match(stderr, new RegExp(`^> text, ${beginning}, masked\\]$`, 'm'));
  assert.match(stderr, new RegExp(`^< text, ${beginning}\\]$`, 'm'));
});

test('a large stdin is sent while answers arrive: neither direction blocks the other', limit, async t => {
  const { port } = await startServerFor(t);
  const client = startClient(t, `ws://127.0.0.1:${port}/echo`);
  const line = `${'y'.repeat(1000)}\n`;
  for (let sent = 0; sent < 20_000; sent++) {
    if (!client.child.stdin.write(line)) await once(client.child.stdin, 'drain');
  }
  client.child.stdin.end();
  const { status, stdout } = await client.result;
  assert.deepEqual([status, stdout.length], [0, 20_000 * line.length]);
});
