import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { captureLog, everything, openRoom, scratchDirectory, scratchStore } from './scratch.ts';

const script = fileURLToPath(new URL('./appendForever.js', import.meta.url));

/** @returns the last number it acknowledged before it was killed, `after` acknowledgements or a few more */
async function appendAndKill(directory: string, after: number): Promise<number> {
  const child = spawn(process.execPath, [script, directory], { stdio: ['ignore', 'pipe', 'inherit'] });
  let output = '';
  let count = 0;
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    output += text;
    count += text.split('\n').length - 1;
    if (count >= after) child.kill('SIGKILL');
  });
  const [code, signal] = await once(child, 'close');
  assert.equal(signal, 'SIGKILL', `the child ended by itself (${code})`);
  const whole = output.slice(0, output.lastIndexOf('\n')).split('\n');
  return Number(whole.at(-1));
}

test('killed at any moment, all that was acknowledged is there', async t => {
  const logged = captureLog(t);
  const directory = scratchDirectory();
  let acknowledged = 0;
  for (let round = 0; round < 20; round++) {
    acknowledged = await appendAndKill(directory, 1 + ((round * 37) % 100));
    const store = scratchStore(t, { directory });
    const { messages } = openRoom(store, 'lobby', everything);
    assert.ok(messages.length >= acknowledged, `${messages.length} of ${acknowledged} are there`);
    for (const [index, { uid }] of messages.entries()) assert.equal(uid, index + 1);
  }
  assert.ok(acknowledged > 100);
  assert.deepEqual(logged, []);
});
