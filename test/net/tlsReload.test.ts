/** A reload reads the certificates again, within one process: new connections get the new ones, open connections go on. */
import assert from 'node:assert/strict';
import { copyFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { serverLoop } from '../../src/core/serverLoop.ts';
import { closeListeners } from '../../src/core/shutdown.ts';
import { openChannels } from '../../src/handlers/channels/channels.ts';
import { newChat } from '../../src/handlers/chat/chat.ts';
import { addHandlers } from '../../src/handlers/handlers.ts';
import { openListener } from '../../src/net/listeners.ts';
import { openTls } from '../../src/net/tls.ts';
import { newDetectWire } from '../../src/wires/detectWire.ts';
import { newHttpWire } from '../../src/wires/http.ts';
import { newLinesWire } from '../../src/wires/lines.ts';
import { certificateFolder, type Identity, makeCertificate, tlsOptions } from '../support/certificates.ts';
import { roundTrip } from '../support/echoProbe.ts';
import { newFakeServer } from '../support/fakeSocket.ts';
import { connectRaw, connectTls } from '../support/rawClient.ts';

async function shown(port: number): Promise<string> {
  const socket = await connectTls(port);
  const { CN } = socket.getPeerCertificate().subject;
  socket.destroy();
  return String(CN);
}

test('new connections get the new certificate after a reload is committed, and not before', {
  timeout: 60_000,
}, async t => {
  const used: Identity = {
    cert: join(certificateFolder, 'used.crt'),
    key: join(certificateFolder, 'used.key'),
  };
  const put = ({ cert, key }: Identity) => {
    copyFileSync(cert, used.cert);
    copyFileSync(key, used.key);
  };
  const [before, after] = [makeCertificate('before'), makeCertificate('after')];
  put(before);
  const server = newFakeServer('--log-level', 'error', ...tlsOptions(used));
  const channels = await openChannels(server);
  const chat = newChat(server, channels, ['*']);
  await addHandlers(server, chat, channels);
  const http = newHttpWire(server, []);
  const lines = newLinesWire(chat);
  const secure = await openTls(server);
  const firstWire = newDetectWire(
    [{ wires: [http, lines] }],
    http,
    { wire: () => undefined, isImmediate: false },
    secure,
  );
  const { port } = await openListener(server, { transport: 'tcp', host: '127.0.0.1', port: 0 }, firstWire);
  const over = serverLoop(server, () => {});
  const reloadable = server.reloadables.at(-1);
  const reload = async () => (await reloadable!.prepare(server.configuration))();

  const old = await connectRaw(port!, { path: '/echo', tls: {} });
  await roundTrip(old);
  assert.deepEqual(await reload(), [], 'nothing has changed');
  put(after);
  assert.equal(await shown(port!), 'before', 'not before the reload');
  const [added, removed] = await reload();
  assert.match(added!, /^certificate added: O=Pond, CN=after \(until /);
  assert.match(removed!, /^certificate removed: O=Pond, CN=before /);
  assert.equal(await shown(port!), 'after');
  await roundTrip(old, 'still there');

  // A prepared reload has no effect before its commit.
  put(before);
  const commit = await reloadable!.prepare(server.configuration);
  assert.equal(await shown(port!), 'after');
  commit();
  assert.equal(await shown(port!), 'before');

  writeFileSync(used.key, 'half of a k');
  await assert.rejects(reload(), /--tls-key \S+used\.key contains no private key/);
  copyFileSync(after.key, used.key);
  await assert.rejects(reload(), /is not the key of --tls-cert/);
  assert.equal(await shown(port!), 'before', 'nothing changes where anything is wrong');
  await roundTrip(old, 'still there');

  old.destroy();
  t.after(() => over);
  server.isDraining = true;
  closeListeners(server);
});
