/** The limits of a spool file, tested with commands made for it. */
import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import type { Command, Control, Reply } from '../../../src/commands/command.ts';
import { newCommandQueue, runCommands } from '../../../src/commands/commandQueue.ts';
import { commands } from '../../../src/commands/commands.ts';
import { allOf, newSpoolRun, runLines, type SpoolRun } from '../../../src/commands/spool/spoolRun.ts';
import { maxSpoolOutput, spoolLineTimeout } from '../../../src/protocol/limits.ts';
import { newFakeServer } from '../../support/fakeSocket.ts';

const control = { server: newFakeServer(), queue: newCommandQueue() } as Control;
const folders = { spool: '/nowhere', running: '/nowhere/running', failed: '/nowhere/failed' };

/** Adds a command until the test ends. */
function addCommand(t: TestContext, name: string, run: (reply: Reply) => void): void {
  const command: Command = { name, parameters: {}, help: '', run: (_, __, reply) => run(reply) };
  (commands as Map<string, Command>).set(name, command);
  t.after(() => (commands as Map<string, Command>).delete(name));
}

function start(text: string): { run: SpoolRun; done: Promise<void>; ending: AbortController } {
  const ending = new AbortController();
  const run = newSpoolRun('file', control, folders, ending.signal);
  return { run, done: runLines(run, Buffer.from(text)), ending };
}

/** Lets the line be parsed and submitted, and then runs commands. */
async function turn(): Promise<void> {
  await new Promise(resolve => process.nextTick(resolve));
  runCommands(control);
}

test('the output of a file is limited, and the part before the limit is kept', async t => {
  let isAborted = false;
  addCommand(t, 'blather', reply => {
    reply.onAbort(() => {
      isAborted = true;
    });
    while (!reply.isClosed) reply.write('blah '.repeat(1000));
    reply.end();
  });
  const { run, done } = start('blather\nblather\n');
  await turn();
  await assert.rejects(done, /^Error: line 1: the output is longer than 16\.0M, the limit for one file$/);
  assert.ok(isAborted);
  const size = Buffer.concat(allOf(run.output)).length;
  assert.equal(size, maxSpoolOutput - (maxSpoolOutput % 5000));
});

test('many short writes are stored as a few pieces', async t => {
  addCommand(t, 'chatter', reply => {
    for (let i = 0; i < 100_000; i++) reply.write('word ');
    reply.end();
  });
  const { run, done } = start('chatter\n');
  await turn();
  await done;
  const pieces = allOf(run.output, 'last\n');
  assert.ok(pieces.length < 10);
  assert.equal(Buffer.concat(pieces).toString(), `${'word '.repeat(100_000)}last\n`);
});

test('a command that does not answer fails after the timeout', async t => {
  t.mock.timers.enable({ apis: ['setTimeout'] });
  let late: Reply | undefined;
  addCommand(t, 'ponder', reply => {
    late = reply;
  });
  const { done } = start('ponder\nponder\n');
  await turn();
  t.mock.timers.tick(spoolLineTimeout - 1);
  assert.equal(late?.isClosed, false);
  t.mock.timers.tick(1);
  await assert.rejects(done, /^Error: line 1: no answer within 60 s; the command may still finish$/);
  // Later output is ignored.
  assert.equal(late.isClosed, true);
  late.write('oh');
  late.end();
});

test('when the server ends, the running command is abandoned and the rest is not started', async t => {
  let begun = 0;
  addCommand(t, 'ponder', () => {
    begun++;
  });
  const { done, ending } = start('ponder\nponder\n');
  await turn();
  ending.abort();
  await assert.rejects(done, /^Error: line 1: the server ended during this command/);
  assert.equal(begun, 1);
  addCommand(t, 'end', reply => {
    reply.end();
    second.ending.abort();
  });
  const second = start('end\nponder\n');
  await turn();
  await assert.rejects(second.done, /^Error: line 2: the server ended before this command ran$/);
  assert.equal(begun, 1);
});
