/** The pace of the spool: active clients come first, and without them files do not wait. */
import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { setImmediate } from 'node:timers/promises';
import { nextFile, nextLine, nextStep, setPace } from '../../../src/commands/spool/spoolFiles.ts';
import { spoolFileInterval, spoolStepPause } from '../../../src/protocol/limits.ts';
import type { Server } from '../../../src/records/records.ts';
import { newFakeServer } from '../../support/fakeSocket.ts';

/** Turns of the event loop, more than enough for anything that waits for no timer. */
const enoughPolls = 10;

/** A server with a mocked clock: nothing that waits for a timer proceeds by itself. */
function spoolBeside(t: TestContext): Server {
  t.mock.timers.enable({ apis: ['setTimeout'] });
  const server = newFakeServer();
  setPace(server);
  return server;
}

/** @returns whether it settles without a timer */
async function needsNoTime(step: Promise<void>): Promise<boolean> {
  let isDone = false;
  void step.then(() => {
    isDone = true;
  });
  for (let i = 0; i < enoughPolls; i++) await setImmediate();
  return isDone;
}

test('without client messages, the next step comes after a poll', async t => {
  spoolBeside(t);
  assert.ok(await needsNoTime(nextStep()));
  assert.ok(await needsNoTime(nextLine()));
  assert.ok(await needsNoTime(nextFile(performance.now())));
});

test('after a client message, the spool sleeps between two steps', async t => {
  const server = spoolBeside(t);
  server.counters.messagesIn++;
  const step = nextStep();
  assert.ok(!(await needsNoTime(step)));
  t.mock.timers.tick(spoolStepPause);
  assert.ok(await needsNoTime(step));
});

test('after a client message, the next file waits longer than a step', async t => {
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

test('setPace starts from the message counter of its server', async t => {
  const server = spoolBeside(t);
  server.counters.messagesIn++;
  setPace(server);
  assert.ok(await needsNoTime(nextStep()));
});
