/** PROXY headers before every protocol, from trusted proxies and from others. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect } from 'node:net';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { after, before, describe, test } from 'node:test';
import { certificateFolder, makeCertificate, tlsOptions } from '../support/certificates.ts';
import { badHeaders, goodHeaders } from '../support/proxyHeaders.ts';
import { connectRaw, connectTcp, connectTls, exchange, handshakeRequest } from '../support/rawClient.ts';
import { closeFrame, frame, opcode } from '../support/rawFrame.ts';
import {
  type ServerProcess,
  startServer,
  startServerFor,
  startServerWith,
} from '../support/serverProcess.ts';

const limit = { timeout: 120_000 };
const identity = makeCertificate('localhost');
const header = Buffer.from('PROXY TCP4 203.0.113.7 192.0.2.1 56636 443\r\n');
const key = Buffer.from([1, 2, 3, 4]);
/** A whole session, which is logged with its path. */
const session = (path: string) =>
  Buffer.concat([
    Buffer.from(handshakeRequest({ path: `/echo/${path}` })),
    frame(opcode.text, 'hi', { key }),
    closeFrame(1000),
  ]);

for (const sockets of ['auto', 'stream']) {
  describe(`behind a trusted proxy, --sockets ${sockets}`, limit, () => {
    let server: ServerProcess;
    let names = 0;
    before(async () => {
      const options = ['--trust-proxy', '127.0.0.0/8', '--log-level', 'debug', '--sockets', sockets];
      server = await startServer(...options, '--handshake-timeout', '2s', ...tlsOptions(identity));
    });
    test.after(() => server.kill());

    /** The address of the session that `send` opens. */
    async function addressSeen(send: (session: Buffer) => Promise<void>): Promise<string> {
      const path = `session-${names++}`;
      await send(session(path));
      const opened = await server.untilLogged(entry => entry['path'] === `/echo/${path}`);
      return String(opened['address']);
    }

    async function sendCut(bytes: Buffer, cut: number): Promise<void> {
      const socket = await connectTcp(server.port);
      socket.write(bytes.subarray(0, cut));
      await new Promise(setImmediate);
      socket.write(bytes.subarray(cut));
      assert.match(await text(socket), /^HTTP\/1\.1 101 /);
    }

    test('the address is that of the header, wherever the header is cut', async () => {
      for (const [name, header, address] of goodHeaders) {
        const cuts =
          header.length > 300 ? [1, 13, 16, 400, header.length] : [...header.keys(), header.length];
        const seen = await Promise.all(
          cuts.map(cut => addressSeen(session => sendCut(Buffer.concat([header, session]), cut))),
        );
        for (const one of seen) assert.match(one, address === undefined ? /^127\.0\.0\.1:\d+$/ : /./, name);
        if (address !== undefined) assert.deepEqual(new Set(seen), new Set([address]), name);
      }
    });

    test('without a header, the address is the peer’s', async () => {
      assert.match(await addressSeen(session => sendCut(session, 1)), /^127\.0\.0\.1:\d+$/);
    });

    test('a malformed header ends the connection with a reason', async () => {
      for (const [name, header] of badHeaders) {
        assert.match((await exchange(server.port, header)).toString(), /^HTTP\/1\.1 400 /, name);
      }
    });

    test('a second header is not believed: it is the client’s first line', async () => {
      for (const first of ['PROXY UNKNOWN\r\n', header.toString()]) {
        const socket = await connectTcp(server.port);
        socket.end(first + header.toString());
        const answer = await text(socket);
        assert.match(answer, /^\* this is Pollywog/, answer);
      }
    });

    test('TLS may follow the header, in one segment or in several', async () => {
      for (const header of goodHeaders.slice(0, 3).concat(goodHeaders.slice(8, 11))) {
        const [name, bytes, address] = header;
        const seen = await addressSeen(async session => {
          const socket = await connectTls(server.port, {}, bytes);
          socket.write(session);
          assert.match(await text(socket), /^HTTP\/1\.1 101 /);
        });
        assert.equal(seen, address, name);
      }
      // Corked: the header and the ClientHello leave in one write.
      const path = 'corked';
      const tcp = await connectTcp(server.port);
      tcp.cork();
      tcp.write(header);
      const { connect: connectSecurely } = await import('node:tls');
      const { Duplex } = await import('node:stream');
      let sent = 0;
      const through = new Duplex({
        read() {},
        write(bytes, _encoding, done) {
          tcp.write(bytes);
          if (sent++ === 0) tcp.uncork();
          done();
        },
      });
      tcp.on('data', bytes => through.push(bytes)).on('end', () => through.push(null));
      const socket = connectSecurely({ socket: through, rejectUnauthorized: false });
      await once(socket, 'secureConnect');
      socket.write(session(path));
      assert.match(await text(socket), /^HTTP\/1\.1 101 /);
      const opened = await server.untilLogged(entry => entry['path'] === `/echo/${path}`);
      assert.equal(opened['address'], '203.0.113.7:56636');
    });

    test('a header inside TLS is not believed: it is the client’s first line', async () => {
      const socket = await connectTls(server.port);
      socket.end(header);
      assert.match(await text(socket), /^\* this is Pollywog/);
    });

    test('an incomplete header is ended by the deadline', async () => {
      assert.match((await exchange(server.port, header.subarray(0, 20))).toString(), /^HTTP\/1\.1 408 /);
    });
  });
}

test('a header from an untrusted peer is refused', limit, async t => {
  const server = await startServerFor(t, '--trust-proxy', '192.0.2.0/24', '--trust-proxy', 'unix');
  for (const [name, header] of goodHeaders) {
    const answer = (await exchange(server.port, Buffer.concat([header, session('x')]))).toString();
    assert.match(answer, /^HTTP\/1\.1 403 .*from trusted proxies only\n$/s, name);
  }
  // An empty line from a terminal, which could start a header, is handled at once.
  const socket = await connectTcp(server.port);
  socket.write('\r\n');
  const [greeting] = (await once(socket, 'data')) as [Buffer];
  assert.match(greeting.toString(), /^\* this is Pollywog/);
  socket.destroy();
});

test('a trusted Unix socket may send a header', limit, async t => {
  const path = join(certificateFolder, 'proxied.sock');
  const listen = ['--listen', `unix:${path}`, '--trust-proxy', 'unix'];
  const server = await startServerWith([...listen, '--log-level', 'debug', '--log-format', 'json'], {
    test: t,
  });
  const socket = connect(path);
  socket.write(Buffer.concat([header, session('unix')]));
  assert.match(await text(socket), /^HTTP\/1\.1 101 /);
  const opened = await server.untilLogged(entry => entry['path'] === '/echo/unix');
  assert.equal(opened['address'], '203.0.113.7:56636');
});

describe('X-Forwarded-For', limit, () => {
  /** The trusted networks, the field, and the client's address; undefined means the proxy's own. */
  const cases: [trusted: string[], field: string, seen: string | undefined][] = [
    [['127.0.0.1'], '203.0.113.7', '203.0.113.7'],
    [['127.0.0.1'], '2001:db8::7', '2001:db8::7'],
    [['127.0.0.1'], '[2001:db8::7]:4711', '[2001:db8::7]:4711'],
    [['127.0.0.1'], '203.0.113.7:4711', '203.0.113.7:4711'],
    [['127.0.0.1'], '198.51.100.1, 203.0.113.7', '203.0.113.7'],
    [['127.0.0.1', '203.0.113.0/24'], '198.51.100.1, 203.0.113.7', '198.51.100.1'],
    [['127.0.0.1', '203.0.113.0/24'], '6.6.6.6, 198.51.100.1 ,203.0.113.7', '198.51.100.1'],
    [['127.0.0.1', '203.0.113.0/24'], '203.0.113.1, 203.0.113.7', '203.0.113.1'],
    [['127.0.0.1', '203.0.113.0/24'], 'unknown, 203.0.113.7', '203.0.113.7'],
    [['127.0.0.1'], 'unknown', undefined],
    // RFC 9110 §5.6.1.2: empty elements are ignored.
    [['127.0.0.1'], '203.0.113.7, ', '203.0.113.7'],
    [['127.0.0.1'], ', ,198.51.100.1,, 203.0.113.7 ,,', '203.0.113.7'],
    [['127.0.0.1', '203.0.113.0/24'], '198.51.100.1, , 203.0.113.7', '198.51.100.1'],
    [['127.0.0.1'], ' , ,', undefined],
    [['127.0.0.1'], 'a b\tc', undefined],
    [['192.0.2.1'], '203.0.113.7', undefined],
    [[], '203.0.113.7', undefined],
  ];
  /** One for each list of trusted networks. */
  const servers = new Map<string, Promise<ServerProcess>>();
  function serverThatTrusts(networks: readonly string[]): Promise<ServerProcess> {
    const key = networks.join();
    const options = networks.flatMap(one => ['--trust-proxy', one]);
    const started = servers.get(key) ?? startServer('--log-level', 'debug', ...options);
    servers.set(key, started);
    return started;
  }
  after(async () => {
    for (const started of servers.values()) await (await started).kill();
  });

  for (const [index, [trusted, field, seen]] of cases.entries()) {
    test(`${JSON.stringify(field)} gives ${seen ?? 'the proxy’s own address'} if ${trusted.join(' and ') || 'no address'} is trusted`, async () => {
      const server = await serverThatTrusts(trusted);
      const path = `/echo/${index}`;
      const client = await connectRaw(server.port, { path, headers: { 'X-Forwarded-For': field } });
      const { address } = await server.untilLogged(
        entry => entry['event'] === 'opened' && entry['path'] === path,
      );
      if (seen === undefined) assert.match(String(address), /^127\.0\.0\.1:\d+$/);
      else assert.equal(address, seen);
      client.destroy();
    });
  }

  test('several fields are one list, which continues the PROXY header', async t => {
    const options = [
      '--trust-proxy',
      '127.0.0.1',
      '--trust-proxy',
      '198.51.100.0/24',
      '--log-level',
      'debug',
    ];
    const server = await startServerFor(t, ...options);
    const ask = async (before: string, fields: string) => {
      const request = handshakeRequest().replace('\r\n\r\n', `\r\n${fields}\r\n`);
      const socket = await connectTcp(server.port);
      socket.write(before + request);
      await once(socket, 'data');
      socket.destroy();
    };
    const seen = async (count: number) => {
      const opened = () => server.logged().filter(({ event }) => event === 'opened');
      await server.untilLogged(() => opened().length === count);
      return opened().at(-1)!['address'];
    };
    await ask('', 'X-Forwarded-For: 203.0.113.7\r\nX-Forwarded-For: 198.51.100.3\r\n');
    assert.equal(await seen(1), '203.0.113.7');
    await ask('PROXY TCP4 198.51.100.3 192.0.2.1 1 443\r\n', 'X-Forwarded-For: 203.0.113.8\r\n');
    assert.equal(await seen(2), '203.0.113.8');
    await ask(header.toString(), 'X-Forwarded-For: 203.0.113.8\r\n');
    assert.equal(await seen(3), '203.0.113.7:56636');
  });
});
