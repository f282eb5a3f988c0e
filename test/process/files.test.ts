/** Each holder is a process of its own: a lock is a process's. */
import assert from 'node:assert/strict';
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { test } from 'node:test';
import { temporaryFolder } from '../support/temporaryFolder.ts';

const folder = temporaryFolder();
const module = new URL('../../src/process/files.js', import.meta.url).href;

/** Takes the file, says `held` or why not, and ends when its stdin does. */
const script = `import { holdPidFile } from ${JSON.stringify(module)};
try { holdPidFile(process.argv[1]); console.log('held'); } catch (error) { console.log(error.message); }
process.stdin.resume().on('end', () => process.exit());`;

interface Holder {
  readonly child: ChildProcess;
  readonly said: string;
  end(signal?: NodeJS.Signals): Promise<void>;
}

async function hold(path: string, env: NodeJS.ProcessEnv = process.env): Promise<Holder> {
  const child = spawn(process.execPath, ['--input-type=module', '-e', script, path], {
    stdio: ['pipe', 'pipe', 'inherit'],
    env,
  });
  const exited = once(child, 'exit');
  const [said] = await once(createInterface(child.stdout!), 'line');
  return {
    child,
    said,
    async end(signal) {
      if (signal === undefined) child.stdin!.end();
      else child.kill(signal);
      await exited;
    },
  };
}

test('a PID file holds one process’s ID, keeps others out, and is removed on exit', async () => {
  const path = join(folder, 'a.pid');
  const first = await hold(path);
  assert.equal(first.said, 'held');
  assert.equal(readFileSync(path, 'utf8'), `${first.child.pid}\n`);
  const second = await hold(path);
  assert.equal(
    second.said,
    `pollywog is already running (pid ${first.child.pid}, ${path}); stop it first, or choose another with --pid-file`,
  );
  await second.end();
  assert.ok(existsSync(path), 'only who holds it removes it');
  await first.end();
  assert.equal(existsSync(path), false);
});

test('a PID file left behind by a killed process is taken over, even if its number belongs to another process', async () => {
  const path = join(folder, 'b.pid');
  const killed = await hold(path);
  await killed.end('SIGKILL');
  // As if the system had given the number to another process: this one, which lives.
  writeFileSync(path, `${process.pid}\n`);
  const next = await hold(path);
  assert.equal(next.said, 'held');
  assert.equal(readFileSync(path, 'utf8'), `${next.child.pid}\n`);
  await next.end();
});

test('exactly one of many processes that start at once holds the PID file, stale or not', async () => {
  const path = join(folder, 'c.pid');
  for (let round = 0; round < 3; round++) {
    writeFileSync(path, '1\n');
    const all = await Promise.all(Array.from({ length: 8 }, () => hold(path)));
    const winners = all.filter(({ said }) => said === 'held');
    assert.equal(winners.length, 1);
    assert.equal(readFileSync(path, 'utf8'), `${winners[0]!.child.pid}\n`);
    await Promise.all(all.map(holder => holder.end()));
    assert.equal(existsSync(path), false);
  }
});

test('two processes never hold the PID file, even while one ends and others start', async () => {
  const path = join(folder, 'd.pid');
  let holder = await hold(path);
  for (let round = 0; round < 5; round++) {
    const [, ...next] = await Promise.all([holder.end(), hold(path), hold(path), hold(path)]);
    const winners = next.filter(({ said }) => said === 'held');
    assert.ok(winners.length <= 1);
    await Promise.all(next.filter(({ said }) => said !== 'held').map(loser => loser.end()));
    holder = winners[0] ?? (await hold(path));
    assert.equal(holder.said, 'held');
    assert.equal(readFileSync(path, 'utf8'), `${holder.child.pid}\n`);
  }
  await holder.end();
});

test('a PID file that its holder removes between our open and our lock is created again', async () => {
  const path = join(folder, 'f.pid');
  const bin = join(folder, 'bin');
  mkdirSync(bin);
  // The first lock is taken when the file has just lost its name.
  const command = `#!/bin/sh
mkdir '${bin}/once' 2>/dev/null && rm '${path}'
PATH='${process.env['PATH']}' exec flock "$@"
`;
  writeFileSync(join(bin, 'flock'), command, { mode: 0o755 });
  const holder = await hold(path, { ...process.env, PATH: `${bin}:${process.env['PATH']}` });
  assert.equal(holder.said, 'held');
  assert.equal(readFileSync(path, 'utf8'), `${holder.child.pid}\n`);
  const second = await hold(path);
  assert.match(second.said, /is already running/);
  await second.end();
  await holder.end();
});

test('a file that is not a PID file is not overwritten', async () => {
  const path = join(folder, 'diary');
  writeFileSync(path, 'dear diary');
  const link = join(folder, 'link');
  symlinkSync(path, link);
  for (const [place, sentence] of [
    [path, /is not a PID file/],
    [link, /cannot write .*; choose another with --pid-file/],
    [folder, /cannot write .*; choose another with --pid-file/],
    [
      join(folder, 'missing', 'a.pid'),
      /^cannot write .*a\.pid: there is no such folder; choose another with --pid-file$/,
    ],
  ] as const) {
    const holder = await hold(place);
    assert.match(holder.said, sentence);
    await holder.end();
  }
  assert.equal(readFileSync(path, 'utf8'), 'dear diary');
});

test('a full disk is reported with the path, and no file is left behind', () => {
  const path = join(folder, 'g.pid');
  // A file that may have no bytes stands for a full disk.
  const command = `ulimit -f 0; exec '${process.execPath}' --input-type=module -e "$0" "$1"`;
  const { stdout } = spawnSync('sh', ['-c', command, script, path], { encoding: 'utf8' });
  assert.match(stdout, /^cannot write .*g\.pid: EFBIG.*; choose another with --pid-file\n$/);
  assert.equal(existsSync(path), false);
});

test('without the command flock, the error names it and the remedy', () => {
  const { stdout } = spawnSync(
    process.execPath,
    ['--input-type=module', '-e', script, join(folder, 'e.pid')],
    { encoding: 'utf8', env: { PATH: folder } },
  );
  assert.match(
    stdout,
    /^cannot lock .*: the command flock \(util-linux\) is missing; start without with --pid-file none\n$/,
  );
});
