import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync } from 'node:fs';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { captureLog, scratchDirectory } from '../scratch.ts';
import { numbersOf, openScratchLog, recordLines, upTo } from './scratchLog.ts';

const script = fileURLToPath(new URL('./logForever.js', import.meta.url));

/** @returns the last number it acknowledged before it was killed, after `count` acknowledgements or a few more */
async function appendAndKill(directory: string, count: number): Promise<number> {
  const child = spawn(process.execPath, [script, directory], { stdio: ['ignore', 'pipe', 'ignore'] });
  let output = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    output += text;
    if (output.split('\n').length > count) child.kill('SIGKILL');
  });
  const [code, signal] = await once(child, 'close');
  assert.equal(signal, 'SIGKILL', `the child ended by itself (${code})`);
  return Number(output.slice(0, output.lastIndexOf('\n')).split('\n').at(-1));
}

test('killed at any moment, every acknowledged message is in the log once, ids ascend, and nothing counts as lost', async t => {
  captureLog(t);
  const directory = scratchDirectory();
  let last = 0;
  for (let round = 0; round < 20; round++) {
    const acknowledged = await appendAndKill(directory, 1 + ((round * 37) % 100));
    const log = openScratchLog(t, { directory, rotateAt: 2000 });
    assert.ok(log.lastSeq >= acknowledged && acknowledged > last, `${log.lastSeq} of ${acknowledged}`);
    assert.deepEqual(numbersOf(log.records), upTo(log.lastSeq));
    assert.equal(log.unreadSeq, 0);
    last = log.lastSeq;
    const names = readdirSync(directory).filter(name => name.endsWith('.jsonl'));
    const lines = names.flatMap(name => recordLines({ directory }, name));
    assert.equal(lines.length, last);
    assert.equal(new Set(lines.map(({ id }) => id)).size, last);
    log.log.close();
  }
  assert.ok(last > 100);
});
