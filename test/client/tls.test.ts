import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createServer, type Server } from 'node:https';
import { type AddressInfo, createServer as createTcpServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { WebSocketServer } from 'ws';
import { startServerFor } from '../support/serverProcess.ts';
import { runClient } from './clientProcess.ts';

const limit = { timeout: 60_000 };
const folder = mkdtempSync(join(tmpdir(), 'pollywog-'));
after(() => rmSync(folder, { recursive: true }));

/** A certificate for localhost that nobody has signed but itself. */
function makeCertificate(): { key: Buffer; cert: Buffer } {
  const [key, cert] = [join(folder, 'key.pem'), join(folder, 'cert.pem')];
  const kind = ['-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '2'];
  execFileSync('openssl', ['req', ...kind, '-subj', '/CN=localhost', '-keyout', key, '-out', cert], {
    stdio: 'ignore',
  });
  return { key: readFileSync(key), cert: readFileSync(cert) };
}

test('wss: a certificate that is not trusted is refused, and taken with -k', limit, async t => {
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
      /certificate of wss:.* is not trusted: .*self-signed.*; --insecure takes it/,
    );
    const taken = await runClient(t, [`wss://${host}:${port}/`, '-k'], 'secret\n');
    assert.deepEqual([taken.status, taken.stdout.toString(), taken.stderr], [0, 'secret\n', '']);
  }
  assert.deepEqual(names.filter(name => name === 'localhost').length > 0, true, 'the name was told (SNI)');
});

test('wss to a server that speaks no TLS ends with 1', limit, async t => {
  // It takes TLS's hello for a request, and refuses that.
  const { port } = await startServerFor(t);
  const { status, stderr } = await runClient(t, [`wss://127.0.0.1:${port}/`]);
  assert.equal(status, 1);
  const reason = 'does not speak TLS as we do: [\\w ]+; perhaps it is to be ws://';
  assert.match(stderr, new RegExp(`^pollywog-client: wss:\\S+ ${reason}\n$`));
});

test('wss to a server that says nothing ends with 6', limit, async t => {
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
