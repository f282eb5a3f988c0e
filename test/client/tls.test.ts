import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:https';
import { type AddressInfo, createServer as createTcpServer } from 'node:net';
import { join } from 'node:path';
import { describe, type TestContext, test } from 'node:test';
import { createServer as createTlsServer, type TlsOptions } from 'node:tls';
import { WebSocketServer } from 'ws';
import { readClientConfiguration } from '../../src/client/configuration.ts';
import { explainConnectFailure } from '../../src/client/dial.ts';
import { certificateFolder, makeCertificate as makeSigned, tlsOptions } from '../support/certificates.ts';
import { startServerFor } from '../support/serverProcess.ts';
import { temporaryFolder } from '../support/temporaryFolder.ts';
import { runClient } from './clientProcess.ts';

const limit = { timeout: 60_000 };
const folder = temporaryFolder();

/** A self-signed certificate for localhost. */
function makeCertificate(): { key: Buffer; cert: Buffer } {
  const [key, cert] = [join(folder, 'key.pem'), join(folder, 'cert.pem')];
  const kind = ['-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '2'];
  execFileSync('openssl', ['req', ...kind, '-subj', '/CN=localhost', '-keyout', key, '-out', cert], {
    stdio: 'ignore',
  });
  return { key: readFileSync(key), cert: readFileSync(cert) };
}

test('an untrusted certificate is refused, and accepted with -k [4.1-14, 4.1-16]', limit, async t => {
  const names: unknown[] = [];
  const server: Server = createServer(makeCertificate());
  server.on('secureConnection', socket => names.push((socket as { servername?: unknown }).servername));
  const webSockets = new WebSocketServer({ server });
  webSockets.on('connection', socket => socket.on('message', text => socket.send(`${text}`)));
  t.after(() => {
    for (const socket of webSockets.clients) socket.terminate();
    server.close();
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  for (const host of ['127.0.0.1', 'localhost']) {
    const refused = await runClient(t, [`wss://${host}:${port}/`, '--reconnect'], 'secret\n');
    assert.deepEqual([refused.status, refused.stdout.length], [1, 0]);
    assert.match(
      refused.stderr,
      /certificate of wss:.* is not trusted: .*self-signed.*; --ca FILE trusts its authority; --insecure accepts it/,
    );
    const taken = await runClient(t, [`wss://${host}:${port}/`, '-k'], 'secret\n');
    assert.deepEqual([taken.status, taken.stdout.toString(), taken.stderr], [0, 'secret\n', '']);
  }
  assert.deepEqual(names.filter(name => name === 'localhost').length > 0, true, 'the name was told (SNI)');
});

test('wss to a server without TLS ends with exit code 1 [4.1-13, 4.1-15]', limit, async t => {
  // The server answers the ClientHello with a fatal alert.
  const { port } = await startServerFor(t);
  const { status, stderr } = await runClient(t, [`wss://127.0.0.1:${port}/`, '--timeout', '5s']);
  assert.equal(status, 1);
  const reason = 'no TLS with wss:\\S+: [\\w/ ]+; try ws://, or give a client certificate \\(--cert\\)';
  assert.match(stderr, new RegExp(`^pollywog-client: ${reason}\n$`));
});

test('wss to a silent server ends with exit code 6', limit, async t => {
  const server = createTcpServer();
  t.after(() => server.close());
  server.on('connection', socket => t.after(() => socket.destroy()));
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const { status, stderr } = await runClient(t, [`wss://127.0.0.1:${port}/`, '--timeout', '100ms']);
  assert.equal(status, 6);
  assert.match(stderr, /within 100ms/);
});

/** A server that requires a client certificate, and verifies it in the handshake. @returns its URL */
async function startStrict(t: TestContext, options: TlsOptions): Promise<string> {
  const server = createTlsServer({ ...options, requestCert: true, rejectUnauthorized: true });
  server.on('tlsClientError', (_, socket) => socket.destroySoon());
  t.after(() => void server.close());
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return `wss://127.0.0.1:${(server.address() as AddressInfo).port}/`;
}

describe('a client certificate', limit, () => {
  const authority = makeSigned('Pond authority');
  const stranger = makeSigned('Stranger');
  const server = makeSigned('localhost', { names: ['localhost'], issuer: authority });
  const ada = makeSigned('ada', { issuer: authority });
  const required = ['--tls-client', 'require', '--tls-ca', authority.cert];

  test('is sent to a server that asks for one, and --ca trusts that server', async t => {
    const { port } = await startServerFor(t, '--host', 'localhost', ...tlsOptions(server), ...required);
    const url = `wss://localhost:${port}/echo`;
    const both = join(certificateFolder, 'both.pem');
    writeFileSync(both, `\ufeff${readFileSync(ada.cert, 'utf8')}${readFileSync(ada.key, 'utf8')}`);
    for (const words of [
      ['--cert', ada.cert, '--key', ada.key, '--ca', authority.cert],
      ['--cert', both, '--ca', stranger.cert, '--ca', authority.cert],
      ['--cert', both, '-k'],
    ]) {
      const { status, stdout, stderr } = await runClient(t, [url, ...words, '-x', 'hello', '-1']);
      assert.deepEqual([status, stdout.toString(), stderr], [0, 'hello\n', ''], words.join(' '));
    }
    const untrusted = await runClient(t, [url, '--ca', stranger.cert, '--cert', both]);
    assert.equal(untrusted.status, 1);
    assert.match(untrusted.stderr, /certificate of wss:\S+ is not trusted: /);
    for (const [words, sentence] of [
      [[], /^pollywog-client: refused: 403 Forbidden: .*client certificate/],
      [['--cert', stranger.cert, '--key', stranger.key], /^pollywog-client: refused: 403 Forbidden: /],
    ] as const) {
      const { status, stderr } = await runClient(t, [url, '-k', ...words]);
      assert.deepEqual([status, sentence.test(stderr)], [4, true], stderr);
    }
  });

  for (const version of ['TLSv1.2', 'TLSv1.3'] as const) {
    test(`that the server refuses during the TLS handshake is reported in a sentence (${version})`, async t => {
      const url = await startStrict(t, {
        key: readFileSync(server.key),
        cert: readFileSync(server.cert),
        ca: readFileSync(authority.cert),
        maxVersion: version,
      });
      const none = await runClient(t, [url, '-k']);
      assert.equal(none.status, 1);
      assert.match(
        none.stderr,
        /^pollywog-client: (wss:\S+ requires a client certificate|no TLS with wss:\S+) .*--cert/,
      );
      const wrong = await runClient(t, [url, '-k', '--cert', stranger.cert, '--key', stranger.key]);
      assert.equal(wrong.status, 1);
      assert.match(wrong.stderr, /^pollywog-client: wss:\S+ .* does not accept the client certificate/);
    });
  }

  test('that the server refuses with an alert is not reported as a fault of the server’s certificate', () => {
    for (const [code, alert, words, sentence] of [
      [
        'ERR_SSL_TLSV13_ALERT_CERTIFICATE_REQUIRED',
        'tlsv13 alert certificate required',
        [],
        /requires a client certificate .*--cert and --key$/,
      ],
      [
        'ERR_SSL_TLSV1_ALERT_UNKNOWN_CA',
        'tlsv1 alert unknown ca',
        ['--cert', 'x'],
        /does not accept the client certificate: unknown ca/,
      ],
      [
        'ERR_SSL_SSLV3_ALERT_CERTIFICATE_EXPIRED',
        'sslv3 alert certificate expired',
        ['--cert', 'x'],
        /does not accept the client certificate: certificate expired/,
      ],
      [
        'CERT_HAS_EXPIRED',
        'certificate has expired',
        [],
        /the certificate of wss:\S+ is not trusted: certificate has expired; --insecure accepts it/,
      ],
    ] as const) {
      const configuration = readClientConfiguration(['wss://127.0.0.1:1/', ...words]);
      assert.ok(typeof configuration === 'object');
      const message = `40E7:error:0A000418:SSL routines:ssl3_read_bytes:${alert}:../deps/openssl:1:`;
      const text = code.startsWith('ERR_SSL') ? message : alert;
      const outcome = explainConnectFailure(Object.assign(new Error(text), { code }), configuration);
      assert.equal(outcome.exit, 1);
      assert.match(outcome.sentence, sentence);
    }
  });

  test('that cannot be used ends with exit code 2, and names the option and the file', async t => {
    const missing = join(certificateFolder, 'missing.pem');
    const nonsense = join(certificateFolder, 'nonsense.pem');
    writeFileSync(nonsense, 'hello');
    const url = 'wss://127.0.0.1:1/';
    for (const [words, sentence] of [
      [
        ['--cert', missing, '--key', ada.key],
        `--cert ${missing} cannot be read: no such file; correct the path`,
      ],
      [['--cert', certificateFolder, '--key', ada.key], /^--cert \S+ cannot be read: /],
      [
        ['--cert', nonsense, '--key', ada.key],
        `--cert ${nonsense} contains no certificate in PEM format; choose another file, or convert it with openssl x509`,
      ],
      [
        ['--cert', ada.cert, '--key', nonsense],
        `--key ${nonsense} contains no private key in PEM format; choose another file, or convert it with openssl pkey`,
      ],
      [
        ['--cert', ada.cert],
        `--key ${ada.cert} contains no private key in PEM format; choose another file, or convert it with openssl pkey`,
      ],
      [
        ['--cert', ada.cert, '--key', stranger.key],
        `--key ${stranger.key} is not the key of --cert ${ada.cert}; give the key that the certificate was made for`,
      ],
      [['--ca', missing], `--ca ${missing} cannot be read: no such file; correct the path`],
      [
        ['--ca', ada.key],
        `--ca ${ada.key} contains no certificate in PEM format; choose another file, or convert it with openssl x509`,
      ],
      [['--key', ada.key], '--key needs --cert'],
      [['--ca', authority.cert, '-k'], '--insecure trusts every certificate; remove it or --ca'],
    ] as const) {
      const { status, stderr } = await runClient(t, [url, ...words]);
      assert.equal(status, 2, stderr);
      const said = stderr.replace(/^pollywog-client: /, '').trimEnd();
      if (typeof sentence === 'string') assert.equal(said, sentence);
      else assert.match(said, sentence);
    }
    const plain = await runClient(t, ['ws://127.0.0.1:1/', '--cert', ada.cert]);
    assert.deepEqual(
      [plain.status, plain.stderr],
      [2, 'pollywog-client: --cert is for TLS; use a wss:// URL, or remove it\n'],
    );
  });
});
