/** The spool's folder is removed, recreated, replaced, or switched by a link while the server runs. */
import assert from 'node:assert/strict';
import { chmodSync, existsSync, mkdirSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { connectRaw } from '../../support/rawClient.ts';
import type { ServerProcess } from '../../support/serverProcess.ts';
import {
  newSpoolFolder,
  type SpoolFolder,
  spoolFolder,
  startSpooling,
  untilThrough,
} from '../../support/spool.ts';
import { untilLogged } from '../../support/untilLogged.ts';

async function assertServed(server: ServerProcess, spool: SpoolFolder, name: string): Promise<void> {
  spool.put(name, 'rooms\n');
  const { failed, said } = await untilThrough(server, spool, name);
  assert.deepEqual([failed, said.slice(0, 4)], [false, 'room'], said);
}

const remove = (path: string) => rmSync(path, { recursive: true });
const make = (path: string) => mkdirSync(path, { mode: 0o700 });

test('a removed folder is reported once, and works again when it is recreated', async t => {
  const spool = newSpoolFolder(t);
  const server = await startSpooling(spool);
  await assertServed(server, spool, 'before');
  for (const count of [1, 2]) {
    remove(spool.path);
    await untilLogged(server, 'spool error', count);
    assert.ok(!existsSync(spool.path), 'the script that removed it can make it again');
    make(spool.path);
    await assertServed(server, spool, `again${count}`);
    await untilLogged(server, 'spool works again', count);
  }
  const [trouble] = server.logged().filter(({ event }) => event === 'spool error');
  assert.equal(
    trouble?.['reason'],
    `the folder ${spool.path} does not exist (or a link to it is broken); create it again`,
  );
});

test('a folder that is replaced by another works', async t => {
  const spool = newSpoolFolder(t);
  const server = await startSpooling(spool);
  remove(spool.path);
  make(spool.path);
  await assertServed(server, spool, '1');
  make(`${spool.path}.new`);
  spoolFolder(`${spool.path}.new`).put('2', 'rooms\n');
  renameSync(spool.path, `${spool.path}.old`);
  renameSync(`${spool.path}.new`, spool.path);
  assert.equal((await untilThrough(server, spool, '2')).failed, false);
});

test('a folder works again after its parent was removed and recreated', async t => {
  const parent = newSpoolFolder(t);
  make(parent.path);
  const spool = spoolFolder(join(parent.path, 'inner'));
  const server = await startSpooling(spool);
  parent.servers.push(server);
  remove(parent.path);
  await untilLogged(server, 'spool error');
  make(parent.path);
  make(spool.path);
  await assertServed(server, spool, '1');
});

test('missing subfolders are recreated when a file is to run or to fail', async t => {
  const spool = newSpoolFolder(t);
  const server = await startSpooling(spool);
  for (const gone of [['running'], ['failed'], ['running', 'failed']]) {
    for (const folder of gone) remove(join(spool.path, folder));
    await assertServed(server, spool, gone.join('-'));
    for (const folder of gone) remove(join(spool.path, folder));
    spool.put(`bad-${gone.join('-')}`, 'nonsense\n');
    assert.equal((await untilThrough(server, spool, `bad-${gone.join('-')}`)).failed, true);
    assert.deepEqual(spool.names('.cmd', 'failed'), [`bad-${gone.join('-')}`]);
  }
});

test('a file that fails after failed/ was removed still moves there', async t => {
  const spool = newSpoolFolder(t);
  const server = await startSpooling(spool);
  const client = await connectRaw(server.port);
  spool.put('1', 'ping 1\n');
  await client.nextFrame();
  remove(join(spool.path, 'failed'));
  client.destroy();
  assert.equal((await untilThrough(server, spool, '1')).failed, true);
  assert.equal(spool.read('failed/1.cmd'), 'ping 1\n');
  assert.deepEqual(spool.names('', 'running'), []);
});

test('a folder removed while a file runs loses only the answer', async t => {
  const spool = newSpoolFolder(t);
  const server = await startSpooling(spool);
  const client = await connectRaw(server.port);
  spool.put('1', 'ping 1\n');
  await client.nextFrame();
  remove(spool.path);
  client.destroy();
  await server.untilLogged(({ event, name }) => event === 'spool file failed' && name === '1');
  make(spool.path);
  await assertServed(server, spool, '2');
});

test('after a link is switched the new folder works, and files in its running/ move to failed/', async t => {
  const parent = newSpoolFolder(t);
  make(parent.path);
  const at = (name: string) => spoolFolder(join(parent.path, name));
  for (const name of ['a', 'b']) make(at(name).path);
  make(join(at('b').path, 'running'));
  writeFileSync(join(at('b').path, 'running/left.cmd'), 'broadcast twice\n');
  const link = at('link');
  symlinkSync('a', link.path);
  const server = await startSpooling(link);
  parent.servers.push(server);
  await assertServed(server, link, '1');
  symlinkSync('b', `${link.path}.new`);
  renameSync(`${link.path}.new`, link.path);
  await assertServed(server, link, '2');
  assert.deepEqual([at('a').has('2.out'), at('b').has('2.out')], [false, true]);
  assert.equal(at('b').read('failed/left.cmd'), 'broadcast twice\n');
});

test('a folder recreated writable for everyone is ignored until its mode is fixed', async t => {
  const spool = newSpoolFolder(t);
  const server = await startSpooling(spool);
  remove(spool.path);
  make(spool.path);
  chmodSync(spool.path, 0o777);
  spool.put('1', 'rooms\n');
  await server.untilLogged(
    ({ event, reason }) => event === 'spool error' && /everyone can write/.test(String(reason)),
  );
  assert.ok(!spool.has('1.out'));
  chmodSync(spool.path, 0o700);
  assert.equal((await untilThrough(server, spool, '1')).failed, false);
});
