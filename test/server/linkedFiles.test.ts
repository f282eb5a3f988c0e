/** Files behind links that are switched, as in a volume that Kubernetes mounts: a reload reads the new version. */
import assert from 'node:assert/strict';
import { copyFileSync, mkdirSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { openTls } from '../../src/net/tls.ts';
import { makeCertificate } from '../support/certificates.ts';
import { commandWays } from '../support/commandWays.ts';
import { newFakeServer } from '../support/fakeSocket.ts';
import { connectTls } from '../support/rawClient.ts';
import { startServerFor } from '../support/serverProcess.ts';
import { temporaryFolder } from '../support/temporaryFolder.ts';
import { untilLogged } from '../support/untilLogged.ts';

const folder = temporaryFolder();
const at = (name: string) => join(folder, name);

const certificates = { one: makeCertificate('one'), two: makeCertificate('two') };
const token = (name: string) => `the-token-of-version-${name}`;

/** Writes the next version of the volume, switches the link `..data` to it, and removes the version before. */
function mount(name: 'one' | 'two', before?: string): void {
  const into = at(`..2026_${name}`);
  mkdirSync(join(into, 'handlers'), { recursive: true });
  writeFileSync(join(into, 'pollywog.json'), JSON.stringify({ history: name === 'one' ? 10 : 20 }));
  writeFileSync(join(into, 'token'), token(name), { mode: 0o600 });
  copyFileSync(certificates[name].cert, join(into, 'tls.crt'));
  copyFileSync(certificates[name].key, join(into, 'tls.key'));
  writeFileSync(
    join(into, 'handlers/mod.mjs'),
    `export const command = () => '${name}'; export function message() {}`,
  );
  symlinkSync(`..2026_${name}`, at('..new'));
  renameSync(at('..new'), at('..data'));
  if (before !== undefined) rmSync(at(`..2026_${before}`), { recursive: true });
}

test('a reload takes the configuration, token, certificates and handlers of a switched volume', async t => {
  mount('one');
  for (const name of ['pollywog.json', 'token', 'tls.crt', 'tls.key', 'handlers'])
    symlinkSync(`..data/${name}`, at(name));
  const server = await startServerFor(
    t,
    ...['--config', at('pollywog.json'), '--api-token', at('token'), '--handlers', at('handlers')],
    ...['--tls-cert', at('tls.crt'), '--tls-key', at('tls.key')],
  );
  const overHttp = commandWays.find(({ name }) => name === 'HTTP, as JSON')!;
  const state = async (version: string) => {
    const call = (...words: string[]) =>
      overHttp.call({ ...server, token: token(version) } as never, words).then(({ stdout }) => stdout);
    const socket = await connectTls(server.port);
    const { CN } = socket.getPeerCertificate().subject;
    socket.destroy();
    return [CN, /history.*\b(10|20)\b/.exec(await call('get', 'history'))?.[1], await call('call', 'mod')];
  };
  const [name, history, said] = await state('one');
  assert.deepEqual([name, history], ['one', '10']);
  assert.match(String(said), /one/);
  mount('two', 'one');
  server.child.kill('SIGHUP');
  await untilLogged(server, 'reloaded');
  const [nextName, nextHistory, nextSaid] = await state('two');
  assert.deepEqual([nextName, nextHistory], ['two', '20']);
  assert.match(String(nextSaid), /two/);
});

test('a certificate and its key are read from the same version, even if the link is switched meanwhile', async () => {
  const into = (name: string) => at(`pair-${name}`);
  for (const [name, { cert, key }] of Object.entries(certificates)) {
    mkdirSync(into(name));
    copyFileSync(cert, join(into(name), 'tls.crt'));
    copyFileSync(key, join(into(name), 'tls.key'));
  }
  const point = (name: string) => {
    symlinkSync(into(name), at('pair.new'));
    renameSync(at('pair.new'), at('pair'));
  };
  point('one');
  const files = ['--tls-cert', at('pair/tls.crt'), '--tls-key', at('pair/tls.key')];
  const server = newFakeServer('--log-level', 'error', ...files);
  await openTls(server);
  // Switches the link at each step of the reading.
  for (let steps = 0; steps < 60; steps++) {
    const prepared = server.reloadables[0]!.prepare(server.configuration);
    for (let step = 0; step < steps; step++) await new Promise(setImmediate);
    point(steps % 2 === 0 ? 'two' : 'one');
    await prepared;
  }
});

test('a certificate that is a folder or a device is refused', async () => {
  for (const file of [folder, '/dev/zero'])
    await assert.rejects(openTls(newFakeServer('--tls-cert', file, '--tls-key', certificates.one.key)), {
      message: `--tls-cert ${file} cannot be read: it is not a regular file; choose another`,
    });
});
