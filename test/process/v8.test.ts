import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { getPriority } from 'node:os';
import { test } from 'node:test';
import { startServerFor, startServerWith } from '../support/serverProcess.ts';

const MiB = 1024 * 1024;

/** At the exit, objects that survive make V8 enlarge the young generation if it may. */
const observer = `
  import { getHeapSpaceStatistics } from 'node:v8';
  process.on('exit', () => {
    for (let round = 0; round < 10; round++) Array.from({ length: 200_000 }, (_, value) => ({ value }));
    const { space_size } = getHeapSpaceStatistics().find(({ space_name }) => space_name === 'new_space');
    process.stderr.write('young generation: ' + space_size + '\\n');
  });
`;

test('the young generation of the server does not grow to the 32 MiB that V8 allows', async t => {
  const encoded = Buffer.from(observer).toString('base64');
  const environment = { ...process.env, NODE_OPTIONS: `--import=data:text/javascript;base64,${encoded}` };
  const words = ['-p', '0', '--host', '127.0.0.1', '--control', 'none', '--log-format', 'json'];
  const server = await startServerWith(words, { test: t, environment });
  await server.stop();
  const [, size] = /young generation: (\d+)/.exec(server.stderr()) ?? [];
  assert.ok(Number(size) <= 16 * MiB, `${size} bytes`);
});

/** Calls a function of about 500 bytes of bytecode a thousand times, and prints its optimization status. */
const compilerProgram = `
  import { compileLater } from ${JSON.stringify(import.meta.resolve('../../src/process/v8.js'))};
  compileLater();
  const sum = new Function('x', 'let y = x;' + 'y = (y + x) | 0;'.repeat(64) + 'return y;');
  const status = new Function('f', 'return %GetOptimizationStatus(f)');
  for (let calls = 0; calls < 1000; calls++) sum(calls);
  console.log(status(sum));
`;

/** Bits of `%GetOptimizationStatus` in Node 20: optimized by TurboFan, and marked for it. Later versions wait for 3,000 calls. */
const turboFanBits = (1 << 6) | (1 << 10);

test('V8 does not optimize a function after only a thousand calls', () => {
  const words = ['--allow-natives-syntax', '--input-type=module', '-e', compilerProgram];
  const { stdout, stderr } = spawnSync(process.execPath, words, { encoding: 'utf8' });
  assert.equal(stderr, '', 'V8 knows the setting');
  assert.equal(Number(stdout) & turboFanBits, 0, `status ${stdout}`);
});

test("the loop's thread comes before V8's helper threads: their nice value is higher by 5", async t => {
  const server = await startServerFor(t);
  const nice = getPriority(server.pid);
  const helpers = readdirSync(`/proc/${server.pid}/task`)
    .map(Number)
    .filter(thread => thread !== server.pid);
  assert.equal(nice, getPriority(), 'that of the process which started it');
  assert.ok(helpers.length >= 4, `${helpers.length} threads`);
  for (const thread of helpers) assert.equal(getPriority(thread), Math.min(nice + 5, 19));
});
