import assert from 'node:assert/strict';
import { test } from 'node:test';
import { startServerWith } from '../support/serverProcess.ts';

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
