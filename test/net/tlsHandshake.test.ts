/** Failed TLS handshakes: each is logged once with its reason, and ends at the deadline or before. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { after, before, describe, test } from 'node:test';
import { connect as connectSecurely } from 'node:tls';
import { makeCertificate, tlsOptions } from '../support/certificates.ts';
import { skipUnlessLinux } from '../support/linux.ts';
import { newRandom } from '../support/random.ts';
import { connectTcp, connectTls } from '../support/rawClient.ts';
import { type ServerProcess, startServer, startServerFor } from '../support/serverProcess.ts';
import { baselineOf, grownSince, untilBack } from '../support/untilBack.ts';

const identity = makeCertificate('localhost');
const limit = { timeout: 120_000 };
const MiB = 1024 * 1024;

/** A ClientHello of Node's client. */
async function recordHello(): Promise<Buffer> {
  const { createServer } = await import('node:net');
  const server = createServer();
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as { port: number };
  const client = connectSecurely({
    port,
    host: '127.0.0.1',
    servername: 'localhost',
    ALPNProtocols: ['http/1.1'],
  });
  client.on('error', () => {});
  const [socket] = (await once(server, 'connection')) as [Socket];
  const [hello] = (await once(socket, 'data')) as [Buffer];
  socket.destroy();
  client.destroy();
  server.close();
  return hello;
}

/** All bytes that the server sends, in hexadecimal, and how the connection ended. */
async function outcome(socket: Socket): Promise<string> {
  let got = '';
  try {
    for await (const bytes of socket) got += (bytes as Buffer).toString('hex');
  } catch (error) {
    got += (error as NodeJS.ErrnoException).code;
  }
  return got;
}

const reasonsOf = (server: ServerProcess) =>
  server
    .logged()
    .filter(({ event }) => event === 'refused')
    .map(({ reason }) => String(reason));

for (const sockets of ['auto', 'stream']) {
  describe(`a TLS handshake fails, --sockets ${sockets}`, limit, () => {
    let server: ServerProcess;
    let hello: Buffer;
    before(async () => {
      hello = await recordHello();
      server = await startServer(
        '--sockets',
        sockets,
        '--handshake-timeout',
        '700ms',
        '--log-level',
        'debug',
        ...tlsOptions(identity),
      );
    });
    after(() => server.kill());

    /** Sends the pieces one after the other. @returns the answer, and the reason in the log */
    async function tryHandshake(pieces: readonly Buffer[], isEnded: boolean): Promise<[string, string]> {
      const socket = await connectTcp(server.port);
      const { port } = socket.address() as { port: number };
      const got = outcome(socket);
      socket.on('error', () => {});
      for (const piece of pieces) {
        socket.write(piece);
        await new Promise(setImmediate);
      }
      if (isEnded) socket.end();
      const { reason } = await server.untilLogged(
        ({ event, address }) => event === 'refused' && address === `127.0.0.1:${port}`,
      );
      socket.end();
      const answer = await got;
      const lines = server
        .logged()
        .filter(({ event, address }) => event === 'refused' && address === `127.0.0.1:${port}`);
      assert.equal(lines.length, 1, 'logged once');
      return [answer, String(reason)];
    }

    test('after garbage that follows the start of a ClientHello', async () => {
      const [answer, reason] = await tryHandshake(
        [Buffer.from('160301003200', 'hex'), Buffer.alloc(60, 7)],
        false,
      );
      assert.match(answer, /^15030[13]0002/, 'an alert');
      assert.match(reason, /^the TLS handshake failed: [a-z ]+$/);
    });

    test('after garbage that follows a whole ClientHello', async () => {
      const [, reason] = await tryHandshake([hello, Buffer.alloc(3000, 'x')], false);
      assert.match(reason, /^the TLS handshake failed: [a-z ]+$/);
    });

    test('if the peer ends TCP within its ClientHello', async () => {
      for (const size of [2, 5, 6, 100, hello.length - 1]) {
        const [, reason] = await tryHandshake([hello.subarray(0, size)], true);
        assert.match(reason, /^the TLS handshake failed: /);
      }
    });

    test('at the deadline, if the peer is silent after its ClientHello', async () => {
      for (const piece of [hello, hello.subarray(0, 50)]) {
        const [, reason] = await tryHandshake([piece], false);
        assert.equal(reason, 'no TLS handshake within 0.7 s');
      }
    });

    test('if the peer resets the connection', async () => {
      const socket = await connectTcp(server.port);
      const { port } = socket.address() as { port: number };
      socket.write(hello);
      await once(socket, 'data');
      socket.resetAndDestroy();
      const { reason } = await server.untilLogged(
        ({ event, address }) => event === 'refused' && address === `127.0.0.1:${port}`,
      );
      assert.equal(reason, 'the TLS handshake failed: ECONNRESET');
    });

    test('with an old version, with an unknown ALPN protocol, and if the client does not trust the server', async () => {
      const cases = [
        [
          { maxVersion: 'TLSv1.1', minVersion: 'TLSv1', ciphers: 'DEFAULT:@SECLEVEL=0' },
          /unsupported protocol/,
        ],
        [{ ALPNProtocols: ['h2'] }, /no application protocol; the client does not offer HTTP\/1\.1 in ALPN/],
        [{ rejectUnauthorized: true }, /./],
      ] as const;
      for (const [options, expected] of cases) {
        const before = reasonsOf(server).length;
        const attempt = connectTls(server.port, { maxVersion: 'TLSv1.2', ...options } as object);
        if (expected.source === '.') {
          await assert.rejects(attempt);
          continue;
        }
        await assert.rejects(attempt);
        while (reasonsOf(server).length === before) await once(server.child.stderr!, 'data');
        assert.match(reasonsOf(server)[before]!, expected);
      }
    });

    test('in plain words if the client does not trust the certificate', async () => {
      const before = reasonsOf(server).length;
      const connectTo = ['-connect', `127.0.0.1:${server.port}`];
      spawnSync('openssl', ['s_client', ...connectTo, '-verify_return_error'], { input: '' });
      while (reasonsOf(server).length === before) await once(server.child.stderr!, 'data');
      assert.match(reasonsOf(server)[before]!, /alert [a-z ]+; the client does not trust the certificate$/);
    });

    test('not because its ClientHello arrives byte by byte', async () => {
      const dripping = connect(server.port, '127.0.0.1');
      await once(dripping, 'connect');
      const { Duplex } = await import('node:stream');
      // Each byte of TLS is sent as a segment of its own.
      const byByte = new Duplex({
        read() {
          dripping.resume();
        },
        async write(bytes: Buffer, _encoding, done) {
          for (const byte of bytes) {
            dripping.write(Buffer.of(byte));
            await new Promise(setImmediate);
          }
          done();
        },
      });
      dripping.on('data', bytes => byByte.push(bytes)).on('end', () => byByte.push(null));
      const client = connectSecurely({ socket: byByte, rejectUnauthorized: false });
      await once(client, 'secureConnect');
      client.write('GET /healthz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n');
      const [answer] = (await once(client, 'data')) as [Buffer];
      assert.match(answer.toString(), /^HTTP\/1\.1 200 /);
      client.destroy();
      dripping.destroy();
    });

    test('without a hang or a leak if the ClientHello is damaged and cut anywhere', async t => {
      if (skipUnlessLinux(t, '/proc')) return;
      const baseline = await baselineOf(server);
      const seed = Date.now() | 0;
      t.diagnostic(`seed ${seed}`);
      const random = newRandom(seed);
      for (let round = 0; round < 4; round++) {
        await Promise.all(
          Array.from({ length: 100 }, async () => {
            const bytes = Buffer.from(hello);
            for (let left = 1 + random.below(8); left > 0; left--) {
              bytes[2 + random.below(bytes.length - 2)] = random.below(256);
            }
            const rest = random.bytes(random.below(10_000));
            const cut = random.below(bytes.length);
            const socket = await connectTcp(server.port);
            socket.on('error', () => {});
            const ended = outcome(socket);
            socket.write(bytes.subarray(0, cut));
            await new Promise(setImmediate);
            socket.write(Buffer.concat([bytes.subarray(cut), rest]));
            await ended;
            socket.destroy();
          }),
        );
      }
      await untilBack(baseline);
    });
  });

  test(`1,000 TLS connections leak no memory, --sockets ${sockets}`, limit, async t => {
    if (skipUnlessLinux(t, '/proc')) return;
    const server = await startServerFor(t, '--sockets', sockets, ...tlsOptions(identity));
    const comeAndGo = async (total: number) => {
      let left = total;
      const one = async () => {
        while (left-- > 0) {
          const client = await connectTls(server.port);
          client.write('GET /healthz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n');
          assert.match(await (await import('node:stream/consumers')).text(client), /^HTTP\/1\.1 200 /);
          client.destroy();
        }
      };
      await Promise.all(Array.from({ length: 50 }, one));
    };
    // The first thousand fill the allocators' free lists; the next thousand reuse them.
    await comeAndGo(1000);
    const baseline = await baselineOf(server);
    await comeAndGo(1000);
    await untilBack(baseline);
    t.diagnostic(`grown by ${Math.round(grownSince(baseline) / 1024)} KiB`);
    assert.ok(grownSince(baseline) < 24 * MiB, `${grownSince(baseline)} bytes more`);
  });
}

test('without a certificate, a ClientHello gets an alert, and the connection ends', limit, async t => {
  const server = await startServerFor(t);
  const socket = await connectTcp(server.port);
  socket.write(await recordHello());
  assert.equal(await outcome(socket), '15030100020228');
  assert.deepEqual(reasonsOf(server), [
    'the client speaks TLS, but no certificate is configured (--tls-cert)',
  ]);
  await assert.rejects(connectTls(server.port), /handshake failure/);
});

test(
  'a ClientHello that announces 131,000 bytes, for which OpenSSL would reserve them, gets an alert',
  limit,
  async t => {
    const server = await startServerFor(t, ...tlsOptions(identity));
    const socket = await connectTcp(server.port);
    socket.write(Buffer.from('16030100060101ffb80303', 'hex'));
    assert.equal(await outcome(socket), '15030100020228');
    assert.deepEqual(reasonsOf(server), [
      'the TLS handshake failed: the first message has 131000 bytes; the limit is 16384',
    ]);
  },
);

test(
  'connections that stop after their ClientHello count as TLS connections towards --max-memory',
  limit,
  async t => {
    const server = await startServerFor(t, ...tlsOptions(identity), '--max-memory', '1MB');
    const hello = await recordHello();
    const sockets: Socket[] = [];
    const isShort = () => server.logged().some(({ event }) => event === 'closed to free memory');
    while (!isShort() && sockets.length < 100) {
      const socket = await connectTcp(server.port);
      socket.on('error', () => {}).write(hello);
      sockets.push(socket);
      await once(socket, 'data');
    }
    await server.untilLogged(({ event }) => event === 'closed to free memory');
    for (const socket of sockets) socket.destroy();
  },
);
