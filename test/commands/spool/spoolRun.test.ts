/** What bounds a file in the spool, with commands made for it. */
import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import type { Answer, Command, Control } from '../../../src/commands/command.ts';
import { newCommandQueue, observe } from '../../../src/commands/commandQueue.ts';
import { commands } from '../../../src/commands/commands.ts';
import { allOf, newRun, type Run, runLines } from '../../../src/commands/spool/spoolRun.ts';
import { maxSpoolOutput, spoolLineTimeout } from '../../../src/protocol/limits.ts';
import { newFakeServer } from '../../support/fakeSocket.ts';

const control = { server: newFakeServer(), queue: newCommandQueue() } as Control;
const folders = { spool: '/nowhere', running: '/nowhere/running', failed: '/nowhere/failed' };

/** A command that is there until the test ends, and speaks by itself. */
function addCommand(t: TestContext, name: string, run: (answer: Answer) => void): void {
  const command: Command = { name, parameters: {}, help: '', run: (_, __, answer) => run(answer) };
  (commands as Map<string, Command>).set(name, command);
  t.after(() => (commands as Map<string, Command>).delete(name));
}

function start(text: string): { run: Run; done: Promise<void>; ending: AbortController } {
  const ending = new AbortController();
  const run = newRun('file', control, folders, ending.signal);
  return { run, done: runLines(run, Buffer.from(text)), ending };
}

/** The line is read in its own time; then it is the observer's turn. */
async function turn(): Promise<void> {
  await new Promise(resolve => process.nextTick(resolve));
  observe(control);
}

test('what commands say is bounded, and what was said up to there is kept', async t => {
  let isTold = false;
  addCommand(t, 'blather', answer => {
    answer.whenGone(() => {
      isTold = true;
    });
    while (!answer.isGone) answer.write('blah '.repeat(1000));
    answer.end();
  });
  const { run, done } = start('blather\nblather\n');
  await turn();
  await assert.rejects(done, /^Error: line 1: it says more than the 16\.0M that an answer may have$/);
  assert.ok(isTold);
  const size = Buffer.concat(allOf(run.output)).length;
  assert.equal(size, maxSpoolOutput - (maxSpoolOutput % 5000));
});

test('many short answers are kept in few pieces', async t => {
  addCommand(t, 'chatter', answer => {
    for (let i = 0; i < 100_000; i++) answer.write('word ');
    answer.end();
  });
  const { run, done } = start('chatter\n');
  await turn();
  await done;
  const pieces = allOf(run.output, 'last\n');
  assert.ok(pieces.length < 10);
  assert.equal(Buffer.concat(pieces).toString(), `${'word '.repeat(100_000)}last\n`);
});

test('nobody waits for an answer for ever', async t => {
  t.mock.timers.enable({ apis: ['setTimeout'] });
  let late: Answer | undefined;
  addCommand(t, 'ponder', answer => {
    late = answer;
  });
  const { done } = start('ponder\nponder\n');
  await turn();
  t.mock.timers.tick(spoolLineTimeout - 1);
  assert.equal(late?.isGone, false);
  t.mock.timers.tick(1);
  await assert.rejects(done, /^Error: line 1: no answer within 60 s; it may still be done$/);
  // What it says now, nobody hears.
  assert.equal(late.isGone, true);
  late.write('oh');
  late.end();
});

test('when the server ends, what runs is not waited for, and what is left is not begun', async t => {
  let begun = 0;
  addCommand(t, 'ponder', () => {
    begun++;
  });
  const { done, ending } = start('ponder\nponder\n');
  await turn();
  ending.abort();
  await assert.rejects(done, /^Error: line 1: the server ended while this was running/);
  assert.equal(begun, 1);
  addCommand(t, 'end', answer => {
    answer.end();
    second.ending.abort();
  });
  const second = start('end\nponder\n');
  await turn();
  await assert.rejects(second.done, /^Error: line 2: the server ended before this was run$/);
  assert.equal(begun, 1);
});
