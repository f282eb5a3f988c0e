/** Every protocol of a port works over TLS on the same port, with both kinds of sockets. */
import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { text } from 'node:stream/consumers';
import { after, before, describe, test } from 'node:test';
import { connect as connectSecurely } from 'node:tls';
import { WebSocket } from 'ws';
import { runClient } from '../client/clientProcess.ts';
import { launchBrowser } from '../support/browser.ts';
import { makeCertificate, tlsOptions } from '../support/certificates.ts';
import { roundTrip } from '../support/echoProbe.ts';
import { connectRaw, connectTcp, connectTls, handshakeRequest } from '../support/rawClient.ts';
import { closeFrame, frame, opcode } from '../support/rawFrame.ts';
import { type ServerProcess, startServer, startServerWith } from '../support/serverProcess.ts';

const identity = makeCertificate('localhost');
const limit = { timeout: 60_000 };
const linesOnly = ['--control', 'none', '--config', 'none', '--log-format', 'json'];
const key = Buffer.from([1, 2, 3, 4]);

/** Bytes without repetition, so that a shift is detected. */
function pattern(size: number): Buffer {
  const bytes = Buffer.alloc(size);
  for (let at = 0; at + 4 <= size; at += 4) bytes.writeUInt32LE(Math.imul(at, 2_654_435_761) >>> 0, at);
  return bytes;
}

for (const sockets of ['auto', 'stream']) {
  describe(`TLS, --sockets ${sockets}`, limit, () => {
    let server: ServerProcess;
    before(async () => {
      server = await startServer('--sockets', sockets, ...tlsOptions(identity));
    });
    after(async () => {
      assert.deepEqual(
        server.logged().filter(({ level }) => level === 'error'),
        [],
      );
      assert.equal(await server.stop(), 0);
    });

    test('curl gets the page by https and by http on one port', () => {
      for (const scheme of ['https', 'http']) {
        const url = `${scheme}://127.0.0.1:${server.port}/`;
        assert.match(execFileSync('curl', ['-sk', '--fail', url], { encoding: 'utf8' }), /^<!doctype html>/i);
      }
    });

    test('a plain GET of a WebSocket endpoint is answered with the wss: URL', async () => {
      const ask = (scheme: string) =>
        execFileSync('curl', ['-sk', `${scheme}://127.0.0.1:${server.port}/echo`], { encoding: 'utf8' });
      assert.match(ask('https'), /connect with wss:\/\/ instead of https:\/\//);
      assert.match(ask('http'), /connect with ws:\/\/ instead of http:\/\//);
    });

    test("npm's ws connects by wss [4.2.2-2, 10.6-1]", async () => {
      const client = new WebSocket(`wss://localhost:${server.port}/echo`, { rejectUnauthorized: false });
      await once(client, 'open');
      client.send('grüß dich');
      const [data] = (await once(client, 'message')) as [Buffer];
      assert.equal(data.toString(), 'grüß dich');
      client.close(1000, 'enough');
      const [code] = await once(client, 'close');
      assert.equal(code, 1000);
    });

    test('pollywog-client connects by wss', async t => {
      const done = await runClient(t, [`wss://127.0.0.1:${server.port}/echo`, '-k'], 'one\ntwo\n');
      assert.deepEqual([done.status, done.stdout.toString(), done.stderr], [0, 'one\ntwo\n', '']);
    });

    test('openssl s_client joins the chat after an empty line', async () => {
      const client = spawn('openssl', ['s_client', '-quiet', '-connect', `127.0.0.1:${server.port}`]);
      let said = '';
      client.stdout.setEncoding('utf8').on('data', chunk => {
        said += chunk;
      });
      client.stdin.write('\n');
      while (!said.includes('which nick do you want?\n')) await once(client.stdout, 'data');
      client.stdin.write('ada\n/quit\n');
      await once(client, 'close');
      assert.match(said, /\* welcome, ada;.*\n\* this is lobby\n\* ada is here\n\* goodbye\n$/s);
    });

    test('plain and TLS connections work side by side', async () => {
      const plain = await connectRaw(server.port, { path: '/echo' });
      const secure = await connectRaw(server.port, { path: '/echo', tls: {} });
      for (let round = 0; round < 100; round++) await Promise.all([roundTrip(plain), roundTrip(secure)]);
      await Promise.all([plain.end(), secure.end()]);
    });

    test('the answers are the same wherever TLS records and TCP segments are cut', async () => {
      const sent = Buffer.concat([
        Buffer.from(handshakeRequest({ path: '/echo' })),
        frame(opcode.text, 'hello', { key }),
        frame(opcode.ping, '?', { key }),
        closeFrame(1000),
      ]);
      const answers: string[] = [];
      const answerTo = async (cut: number) => {
        const socket = await connectTls(server.port);
        socket.write(sent.subarray(0, cut));
        await new Promise(setImmediate);
        socket.write(sent.subarray(cut));
        return text(socket);
      };
      // A few at a time: the TLS handshake has a deadline.
      for (let from = 1; from < sent.length; from += 10) {
        const cuts = Array.from({ length: Math.min(10, sent.length - from) }, (_, at) => from + at);
        answers.push(...(await Promise.all(cuts.map(answerTo))));
      }
      assert.match(answers[0]!, /^HTTP\/1\.1 101 /);
      for (const [cut, answer] of answers.entries()) assert.equal(answer, answers[0], `cut at ${cut + 1}`);
    });

    test('a message of 16 MiB comes back', async () => {
      const client = await connectRaw(server.port, { path: '/echo', tls: {} });
      const large = pattern(16 * 1024 * 1024);
      client.send(frame(opcode.binary, large), frame(opcode.text, 'and then'));
      assert.ok((await client.nextFrame())!.payload.equals(large));
      assert.equal((await client.nextFrame())!.payload.toString(), 'and then');
      client.send(closeFrame(1000));
      await client.remainingFrames();
      assert.equal(await client.ended, 'FIN');
    });

    test('a peer that ends its direction before it reads gets all answers, and then the end', async () => {
      const client = await connectRaw(server.port, { path: '/echo', tls: {} });
      client.socket.pause();
      const large = pattern(3_000_000);
      client.send(frame(opcode.binary, large), frame(opcode.binary, large));
      client.socket.end();
      client.socket.resume();
      const frames = await client.remainingFrames();
      assert.equal(await client.ended, 'FIN');
      assert.equal(frames.length, 2);
      for (const { payload } of frames) assert.ok(payload.equals(large));
    });

    test('many small messages at once reach many clients unchanged and in order', async () => {
      const clients = await Promise.all(
        Array.from({ length: 20 }, () => connectRaw(server.port, { path: '/broadcast', tls: {} })),
      );
      const messages = Array.from({ length: 500 }, (_, at) => `${at} `.repeat(1 + (at % 40)));
      for (const message of messages) clients[0]!.send(frame(opcode.text, message, { key }));
      for (const client of clients) {
        for (const message of messages) assert.equal((await client.nextFrame())!.payload.toString(), message);
        client.destroy();
      }
    });

    test('a slow consumer is closed, and its queued output stays within the limit', async () => {
      const deaf = await connectRaw(server.port, { path: '/broadcast', tls: {} });
      deaf.socket.pause();
      const speaker = await connectRaw(server.port, { path: '/broadcast', tls: {} });
      const message = frame(opcode.binary, Buffer.alloc(60_000), { key });
      const isGone = () => server.logged().some(({ event }) => event === 'slow consumer closed');
      let said = 0;
      for (; !isGone(); said++) {
        speaker.send(message);
        await speaker.nextFrame();
      }
      // The buffers of the system and of Node hold some of the output.
      assert.ok(said * 60_000 < 40_000_000, `after ${said} messages`);
      deaf.destroy();
      speaker.destroy();
    });

    test('a reset during a write affects no other connection', async () => {
      const other = await connectRaw(server.port, { path: '/echo', tls: {} });
      for (let round = 0; round < 30; round++) {
        const client = await connectRaw(server.port, { path: '/echo', tls: {} });
        client.send(frame(opcode.binary, Buffer.alloc(1_000_000), { key }));
        await roundTrip(other);
        // Unread input turns the close into a reset.
        client.socket.pause();
        client.destroy();
        await roundTrip(other);
      }
      other.destroy();
    });

    test('TLS inside TLS is refused', async () => {
      const socket = await connectTls(server.port);
      socket.write(Buffer.from('1603010005', 'hex'));
      assert.match(await text(socket), /^HTTP\/1\.1 400 /);
    });
  });
}

test('the chat page from https connects by wss in a browser', limit, async t => {
  const server = await startServer(...tlsOptions(identity));
  const browser = await launchBrowser();
  t.after(async () => {
    await browser.close();
    await server.kill();
  });
  const page = await browser.newPage({ ignoreHTTPSErrors: true });
  await page.goto(`https://127.0.0.1:${server.port}/`);
  const answer = await page.evaluate(
    () =>
      new Promise(resolve => {
        const socket = new WebSocket(`wss://${location.host}/echo`);
        socket.onopen = () => socket.send('from a page');
        socket.onmessage = ({ data }) => resolve(data);
        socket.onclose = ({ code }) => resolve(code);
      }),
  );
  assert.equal(answer, 'from a page');
  await page.goto(`https://127.0.0.1:${server.port}/?nick=ada&room=pond`);
  await page.getByText('ada').first().waitFor();
});

test('with --tls-only, plain connections are refused in their own protocol', limit, async t => {
  const server = await startServer('--tls-only', ...tlsOptions(identity));
  t.after(() => server.kill());
  assert.equal(server.url, `wss://127.0.0.1:${server.port}`);
  const sentence = 'this server speaks TLS only: connect with https:// or wss://';
  const plain: [string, RegExp][] = [
    ['GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n', /^HTTP\/1\.1 426 /],
    [handshakeRequest(), /^HTTP\/1\.1 426 .*Upgrade: TLS\/1\.2, HTTP\/1\.1\r\n/s],
    ['ada\n', /^\* /],
    ['Ej8@', /^Ej8@/],
  ];
  for (const [bytes, answer] of plain) {
    const socket = await connectTcp(server.port);
    socket.write(bytes);
    const got = await text(socket);
    assert.match(got, answer);
    assert.ok(got.includes(sentence), got);
  }
  const client = await connectRaw(server.port, { path: '/echo', tls: {} });
  await roundTrip(client);
  client.destroy();
});

test(
  'with --tls-only, a listener for lines greets at once inside TLS, and never in plain text',
  limit,
  async t => {
    const options = ['--tls-only', '--listen', 'tcp://127.0.0.1:0?lines', ...tlsOptions(identity)];
    const server = await startServerWith([...linesOnly, ...options], { test: t });
    const late = await connectTcp(server.port);
    const early = await connectTls(server.port);
    assert.match(String((await once(early, 'data'))[0]), /^\* this is Pollywog/);
    assert.equal(late.bytesRead, 0);
    const secure = connectSecurely({ socket: late, rejectUnauthorized: false });
    await once(secure, 'secureConnect');
    assert.match(String((await once(secure, 'data'))[0]), /^\* this is Pollywog/);
    early.destroy();
    secure.destroy();
  },
);
