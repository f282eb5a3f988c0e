/** What the manual says of clients without WebSockets, run as it stands there. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { test } from 'node:test';
import { promisify } from 'node:util';
import { firstExample } from '../support/documents.ts';
import { startServerFor } from '../support/serverProcess.ts';

test('curl is enough to take part', { timeout: 60_000 }, async t => {
  const { port } = await startServerFor(t);
  const recipe = firstExample('polling', 'sh');
  const expected = [...recipe.matchAll(/# (\{.*\})$/gm)].map(([, answer]) => `${answer}\n`);
  assert.equal(expected.length, 4);
  const commands = recipe.replaceAll('localhost:8080', `127.0.0.1:${port}`);
  const { stdout } = await promisify(execFile)('sh', ['-eu', '-c', commands], {
    env: { PATH: process.env['PATH'], NO_PROXY: '*' },
  });
  assert.equal(stdout, expected.join(''));
});
