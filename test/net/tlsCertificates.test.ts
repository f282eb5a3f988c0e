/** Server certificates and SNI, client certificates, reload, and unusable files. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { copyFileSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { test } from 'node:test';
import { certificateFolder, makeCertificate, tlsOptions } from '../support/certificates.ts';
import { roundTrip } from '../support/echoProbe.ts';
import { connectRaw, connectTls, handshakeRequest } from '../support/rawClient.ts';
import { runToEnd, startServerFor } from '../support/serverProcess.ts';

const limit = { timeout: 60_000 };
const authority = makeCertificate('Pond authority');
const request = 'GET /healthz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n';

/** The CN of the certificate that the server sends for this `servername`. */
async function shownTo(port: number, servername?: string): Promise<string> {
  const socket = await connectTls(port, servername === undefined ? {} : { servername });
  const name = String(socket.getPeerCertificate().subject.CN);
  socket.destroy();
  return name;
}

test(
  'the server sends the certificate that matches the server name (SNI), or the first one',
  limit,
  async t => {
    const first = makeCertificate('first.example', { names: ['first.example', 'www.first.example'] });
    const second = makeCertificate('second', { names: ['second.example', '*.second.example'] });
    const third = makeCertificate('third.example');
    const server = await startServerFor(t, ...tlsOptions(first, second, third));
    const names: [string | undefined, string][] = [
      [undefined, 'first.example'],
      ['first.example', 'first.example'],
      ['www.first.example', 'first.example'],
      ['second.example', 'second'],
      ['SECOND.example', 'second'],
      ['a.second.example', 'second'],
      ['a.b.second.example', 'first.example'],
      ['second', 'first.example'],
      ['third.example', 'third.example'],
      ['other.example', 'first.example'],
    ];
    for (const [name, shown] of names)
      assert.equal(await shownTo(server.port, name), shown, name ?? 'no name');
  },
);

for (const version of ['TLSv1.2', 'TLSv1.3'] as const) {
  test(
    `--tls-client accepts trusted certificates, and refuses untrusted and missing ones with a reason, ${version}`,
    limit,
    async t => {
      const identity = makeCertificate('localhost');
      const ada = makeCertificate('ada', { issuer: authority });
      const stranger = makeCertificate('ada');
      const withCertificate = ({ cert, key }: typeof ada) => ({
        cert: readFileSync(cert),
        key: readFileSync(key),
        maxVersion: version,
      });
      const options = ['--tls-ca', authority.cert, '--log-level', 'debug', ...tlsOptions(identity)];

      for (const word of ['ask', 'require']) {
        const server = await startServerFor(t, '--tls-client', word, ...options);
        const known = await connectRaw(server.port, { path: '/echo', tls: withCertificate(ada) });
        await roundTrip(known);
        const opened = await server.untilLogged(({ event }) => event === 'opened');
        assert.deepEqual([opened['tls'], opened['subject']], [version, 'O=Pond, CN=ada']);

        const distrusted = await connectTls(server.port, withCertificate(stranger));
        distrusted.write(request);
        const answer = await text(distrusted);
        assert.match(answer, /^HTTP\/1\.1 403 .*the client certificate is not trusted: self-signed/s);
        const lines = await connectTls(server.port, withCertificate(stranger));
        lines.write('ada\n');
        assert.match(await text(lines), /^\* the client certificate is not trusted: self-signed.*\n$/);

        if (word === 'ask') {
          const unknown = await connectRaw(server.port, { path: '/echo', tls: { maxVersion: version } });
          await roundTrip(unknown);
          unknown.destroy();
        } else {
          const unknown = await connectTls(server.port, { maxVersion: version });
          unknown.write(request);
          const refused = await text(unknown);
          assert.match(
            refused,
            /^HTTP\/1\.1 403 .*a client certificate is required, but the client sent none\n$/s,
          );
        }
        known.destroy();
      }
    },
  );
}

test('a resumed TLS session keeps its client certificate', limit, async t => {
  const ada = makeCertificate('ada', { issuer: authority });
  const options = ['--tls-client', 'require', '--tls-ca', authority.cert, '--log-level', 'debug'];
  const server = await startServerFor(t, ...options, ...tlsOptions(makeCertificate('localhost')));
  const identity = { cert: readFileSync(ada.cert), key: readFileSync(ada.key) };
  const first = await connectTls(server.port, identity);
  const session = new Promise<Buffer>(resolve => first.once('session', resolve));
  first.resume();
  const again = { ...identity, session: await session };
  first.destroy();
  const second = await connectTls(server.port, again);
  assert.ok(second.isSessionReused());
  second.write(handshakeRequest({ path: '/echo' }));
  const opened = await server.untilLogged(({ event }) => event === 'opened');
  assert.equal(opened['subject'], 'O=Pond, CN=ada');
  second.destroy();
});

test('SIGHUP reads the files again, and open connections stay', limit, async t => {
  const used = { cert: join(certificateFolder, 'hup.crt'), key: join(certificateFolder, 'hup.key') };
  const put = ({ cert, key }: typeof used) => {
    copyFileSync(cert, used.cert);
    copyFileSync(key, used.key);
  };
  put(makeCertificate('before'));
  const server = await startServerFor(t, ...tlsOptions(used));
  const old = await connectRaw(server.port, { path: '/echo', tls: {} });
  put(makeCertificate('after'));
  server.child.kill('SIGHUP');
  const { changed } = await server.untilLogged(({ event }) => event === 'reloaded');
  assert.match(
    String(changed),
    /certificate added: O=Pond, CN=after .*certificate removed: O=Pond, CN=before /,
  );
  assert.equal(await shownTo(server.port), 'after');
  await roundTrip(old);

  copyFileSync(makeCertificate('other').key, used.key);
  server.child.kill('SIGHUP');
  const failed = await server.untilLogged(({ event }) => event === 'reload failed');
  assert.match(JSON.stringify(failed), /is not the key of --tls-cert/);
  assert.equal(await shownTo(server.port), 'after');
  await roundTrip(old);
  old.destroy();
});

/** The stderr and the exit code of a server that does not start. */
function refusedStart(...options: string[]): [number | null, string] {
  const { status, stderr } = runToEnd('-p', '0', ...options);
  return [status, stderr.trim()];
}

test('the server does not start with unusable files, and names them', limit, () => {
  const one = makeCertificate('one');
  const other = makeCertificate('other');
  const missing = join(certificateFolder, 'missing.pem');
  const empty = join(certificateFolder, 'empty.pem');
  writeFileSync(empty, 'nothing\n');
  const locked = join(certificateFolder, 'locked.pem');
  const cipher = ['pkey', '-in', one.key, '-aes256', '-passout', 'pass:secret', '-out', locked];
  execFileSync('openssl', cipher);
  const ofOtherKind = join(certificateFolder, 'rsa.key');
  execFileSync('openssl', ['genpkey', '-algorithm', 'RSA', '-out', ofOtherKind], { stdio: 'pipe' });
  const pair = (cert: string, key: string) => ['--tls-cert', cert, '--tls-key', key];
  const good = pair(one.cert, one.key);
  const cases: [string[], RegExp][] = [
    [pair(missing, one.key), /^pollywog: --tls-cert \S+missing\.pem cannot be read: no such file/],
    [pair(one.cert, missing), /^pollywog: --tls-key \S+missing\.pem cannot be read: no such file/],
    [pair(one.cert, certificateFolder), /^pollywog: --tls-key \S+ cannot be read: it is not a regular file/],
    [
      pair(empty, one.key),
      /^pollywog: --tls-cert \S+empty\.pem contains no certificate in PEM format; choose/,
    ],
    [
      pair(one.cert, empty),
      /^pollywog: --tls-key \S+empty\.pem contains no private key in PEM format; choose/,
    ],
    [
      pair(one.cert, locked),
      /^pollywog: --tls-key \S+locked\.pem is encrypted, and the server cannot ask for a passphrase; decrypt it/,
    ],
    [pair(one.cert, other.key), /^pollywog: --tls-key \S+ is not the key of --tls-cert \S+; give/],
    [pair(one.cert, ofOtherKind), /^pollywog: --tls-key \S+rsa\.key is not the key of --tls-cert \S+; give/],
    [
      ['--tls-cert', one.cert],
      /^pollywog: --tls-cert and --tls-key come in pairs, but 1 and 0 are given; give/,
    ],
    [['--tls-only'], /^pollywog: --tls-only needs a certificate/],
    [['--tls-client', 'ask'], /^pollywog: --tls-client ask needs a certificate/],
    [
      [...good, '--tls-client', 'require'],
      /^pollywog: --tls-client require needs the CA that signs client certificates/,
    ],
    [[...good, '--tls-ca', one.cert], /^pollywog: --tls-ca is for client certificates/],
    [
      [...good, '--tls-client', 'ask', '--tls-ca', empty],
      /^pollywog: --tls-ca \S+empty\.pem contains no certificate/,
    ],
  ];
  for (const [options, sentence] of cases) {
    const [status, said] = refusedStart(...options);
    assert.match(said, sentence);
    assert.equal(status, 2, said);
  }
});
