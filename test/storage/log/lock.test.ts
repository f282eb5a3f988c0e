/** The lock of a folder: one server has it, and a killed one has not. */
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  renameSync,
  rmSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout as wait } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { lockFolder } from '../../../src/storage/log/lock.ts';
import { openMessageLog } from '../../../src/storage/log/openLog.ts';
import { captureLog, scratchDirectory } from '../scratch.ts';
import { logOptions, numbered } from './scratchLog.ts';

const script = fileURLToPath(new URL('./lockByName.js', import.meta.url));

/** Starts a process that locks the folder. @returns what it said first */
async function lockInChild(directory: string): Promise<{ child: ChildProcess; said: string }> {
  const child = spawn(process.execPath, [script, directory], { stdio: ['pipe', 'pipe', 'inherit'] });
  child.stdout!.setEncoding('utf8');
  let said = '';
  for await (const text of child.stdout!.iterator({ destroyOnReturn: false })) {
    said += text;
    if (said.endsWith('\n')) break;
  }
  return { child, said: said.trimEnd() };
}

async function end(child: ChildProcess, signal?: 'SIGKILL'): Promise<void> {
  if (child.exitCode !== null) return;
  const closed = once(child, 'close');
  if (signal === undefined) child.stdin!.end();
  else child.kill(signal);
  await closed;
}

const taken = /^another server uses \S+; stop that server, or choose another directory with --data$/;

test('a locked folder is refused with a sentence until its lock is released', async t => {
  captureLog(t);
  const directory = scratchDirectory();
  const lock = await lockFolder(directory);
  await assert.rejects(lockFolder(directory), { message: taken });
  await assert.rejects(openMessageLog(logOptions({ directory })), { message: taken });
  lock.release();
  assert.deepEqual(readdirSync(directory), []);
  const { log } = await openMessageLog(logOptions({ directory }));
  log.append(numbered(1, 1));
  await assert.rejects(lockFolder(directory), { message: taken });
  log.close();
  (await lockFolder(directory)).release();
  assert.deepEqual(readdirSync(directory), ['messages.jsonl']);
});

test('a folder that was removed and created again is locked again', { timeout: 30_000 }, async t => {
  captureLog(t);
  const directory = scratchDirectory();
  const lock = await lockFolder(directory);
  rmSync(directory, { recursive: true });
  mkdirSync(directory);
  while (readdirSync(directory).every(name => !name.startsWith('lock-'))) await wait(20);
  await assert.rejects(lockFolder(directory), { message: taken });
  lock.release();
  assert.deepEqual(readdirSync(directory), []);
});

test('a server whose lock was removed writes nothing while another server has the folder', {
  timeout: 30_000,
}, async t => {
  captureLog(t);
  const directory = scratchDirectory();
  const { log } = await openMessageLog(logOptions({ directory }));
  for (const name of readdirSync(directory)) if (name.startsWith('lock-')) rmSync(join(directory, name));
  const other = await lockFolder(directory);
  const attempt = (): string | undefined => {
    try {
      log.append(numbered(1, 1));
      return undefined;
    } catch (error) {
      return (error as Error).message;
    }
  };
  while (attempt() === undefined) await wait(20);
  assert.match(attempt()!, taken);
  await assert.rejects(log.purge('pond', 1), { message: taken });
  other.release();
  while (attempt() !== undefined) await wait(20);
  await assert.rejects(lockFolder(directory), { message: taken });
  log.close();
});

test('a server that ends without its lock writes nothing to the folder of another server', {
  timeout: 30_000,
}, async t => {
  const lines = captureLog(t);
  const directory = scratchDirectory();
  const { log } = await openMessageLog(logOptions({ directory }));
  for (const name of readdirSync(directory)) if (name.startsWith('lock-')) rmSync(join(directory, name));
  const other = await lockFolder(directory);
  while (!lines.some(line => line.includes('folder not locked again'))) await wait(20);
  const path = join(directory, 'messages.jsonl');
  const before = readFileSync(path, 'utf8');
  log.close();
  assert.equal(readFileSync(path, 'utf8'), before);
  other.release();
});

test('the lock of a killed process is stale at once', async () => {
  const directory = scratchDirectory();
  for (let round = 0; round < 3; round++) {
    const { child, said } = await lockInChild(directory);
    assert.equal(said, 'locked');
    assert.match((await lockInChild(directory)).said, taken);
    await end(child, 'SIGKILL');
  }
  (await lockFolder(directory)).release();
  assert.deepEqual(readdirSync(directory), []);
});

test('a stopped process keeps its lock', async () => {
  const directory = scratchDirectory();
  const { child } = await lockInChild(directory);
  child.kill('SIGSTOP');
  await assert.rejects(lockFolder(directory), { message: taken });
  await end(child, 'SIGKILL');
});

test('of servers that start at the same moment exactly one gets the folder', async () => {
  const directory = scratchDirectory();
  for (let round = 0; round < 20; round++) {
    const outcomes = await Promise.allSettled(Array.from({ length: 6 }, () => lockFolder(directory)));
    const locks = outcomes.flatMap(outcome => (outcome.status === 'fulfilled' ? [outcome.value] : []));
    assert.equal(locks.length, 1);
    locks[0]!.release();
  }
});

test('of processes that start at the same moment exactly one gets the folder, and after its end another', async () => {
  const directory = scratchDirectory();
  for (let round = 0; round < 3; round++) {
    const all = await Promise.all(Array.from({ length: 4 }, () => lockInChild(directory)));
    assert.equal(
      all.filter(({ said }) => said === 'locked').length,
      1,
      all.map(({ said }) => said).join(', '),
    );
    for (const { child } of all) await end(child, round === 0 ? 'SIGKILL' : undefined);
  }
});

test('a folder with a path that is too long for a socket can be locked', async t => {
  const logged = captureLog(t);
  const directory = join(scratchDirectory(), 'x'.repeat(120));
  mkdirSync(directory);
  const lock = await lockFolder(directory);
  if (process.platform === 'linux') {
    await assert.rejects(lockFolder(directory), { message: taken });
    assert.deepEqual(logged, []);
  }
  lock.release();
  if (process.platform !== 'linux') return;
  const open = readdirSync('/proc/self/fd').map(descriptor => {
    // The descriptor of the listing itself is gone.
    const path = join('/proc/self/fd', descriptor);
    return existsSync(path) ? readlinkSync(path) : '';
  });
  assert.ok(!open.includes(directory), 'the folder is still open');
});

test('a socket that was never published is removed when it is old, and other files are left alone', async () => {
  const directory = scratchDirectory();
  const unpublished = join(directory, '.lock-00112233445566ff');
  const server = createServer().listen(unpublished);
  await once(server, 'listening');
  // Renamed, so that Node does not remove it.
  renameSync(unpublished, `${unpublished}.kept`);
  server.close();
  await once(server, 'close');
  renameSync(`${unpublished}.kept`, unpublished);
  writeFileSync(join(directory, 'lock-of-mine'), '');
  (await lockFolder(directory)).release();
  assert.equal(readdirSync(directory).length, 2);
  utimesSync(unpublished, 1, 1);
  (await lockFolder(directory)).release();
  assert.deepEqual(readdirSync(directory), ['lock-of-mine']);
});

test('a folder that this user cannot write to is refused with a sentence', async t => {
  captureLog(t);
  await assert.rejects(
    openMessageLog(logOptions({ directory: '/proc/self/none' })),
    /cannot keep messages in/,
  );
});
