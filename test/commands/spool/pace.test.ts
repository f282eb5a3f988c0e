/** The pace of the spool's work: clients that talk come first, and where nobody does, nobody has to wait. */
import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { setImmediate } from 'node:timers/promises';
import { nextFile, nextLine, nextStep, setPace } from '../../../src/commands/spool/spoolFiles.ts';
import type { Server } from '../../../src/core/records.ts';
import { spoolFileInterval, spoolStepPause } from '../../../src/protocol/limits.ts';
import { newFakeServer } from '../../support/fakeSocket.ts';

/** Polls of the system that are more than enough for whatever waits for no timer. */
const enoughPolls = 10;

/** A server whose clock for the spool is the test's: nothing that waits for a time goes on by itself. */
function spoolBeside(t: TestContext): Server {
  t.mock.timers.enable({ apis: ['setTimeout'] });
  const server = newFakeServer();
  setPace(server);
  return server;
}

/** @returns whether it needs no more than the loop's turns */
async function needsNoTime(step: Promise<void>): Promise<boolean> {
  let isDone = false;
  void step.then(() => {
    isDone = true;
  });
  for (let i = 0; i < enoughPolls; i++) await setImmediate();
  return isDone;
}

test('where nobody talks, the next step comes when the system was polled', async t => {
  spoolBeside(t);
  assert.ok(await needsNoTime(nextStep()));
  assert.ok(await needsNoTime(nextLine()));
  assert.ok(await needsNoTime(nextFile(performance.now())));
});

test('a message came: the loop sleeps between two steps', async t => {
  const server = spoolBeside(t);
  server.counters.messagesIn++;
  const step = nextStep();
  assert.ok(!(await needsNoTime(step)));
  t.mock.timers.tick(spoolStepPause);
  assert.ok(await needsNoTime(step));
});

test('a message came: the next file has to wait for longer', async t => {
  const server = spoolBeside(t);
  server.counters.messagesIn++;
  const file = nextFile(performance.now());
  t.mock.timers.tick(spoolStepPause);
  assert.ok(!(await needsNoTime(file)));
  t.mock.timers.tick(spoolFileInterval);
  assert.ok(!(await needsNoTime(file)));
  t.mock.timers.tick(spoolStepPause);
  assert.ok(await needsNoTime(file));
});

test('another server begins with what its own clients say', async t => {
  const server = spoolBeside(t);
  server.counters.messagesIn++;
  setPace(server);
  assert.ok(await needsNoTime(nextStep()));
});
