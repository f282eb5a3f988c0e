/** The stage of the turn that runs commands, and its budget. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { Control, Reply } from '../../src/commands/command.ts';
import { newCommandQueue, runCommands, submit } from '../../src/commands/commandQueue.ts';
import { findCommand } from '../../src/commands/commands.ts';
import { newChannels } from '../../src/handlers/channels/channels.ts';
import { newChat } from '../../src/handlers/chat/chat.ts';
import { configureLog } from '../../src/log/log.ts';
import { commandBudget } from '../../src/protocol/limits.ts';
import { workUnits } from '../../src/protocol/workUnits.ts';
import { newFakeServer, openFakeConnection } from '../support/fakeSocket.ts';

configureLog('error', 'text');

const retention = { messages: 10, bytes: 1000, age: 0, memory: 10_000 };

function newFakeControl(connections = 0): Control {
  const server = newFakeServer();
  const channels = newChannels(server, retention, undefined);
  for (let i = 0; i < connections; i++) openFakeConnection(server, undefined);
  const never = () => assert.fail('not expected');
  return {
    server,
    queue: newCommandQueue(),
    chat: newChat(server, channels, ['*']),
    channels,
    version: '1.2.3',
    startedAt: 0,
    places: {} as Control['places'],
    reload: never,
    drain: never,
    stop: never,
  };
}

interface FakeReply extends Reply {
  isClosed: boolean;
  output: string;
  error: Error | undefined;
  hasEnded: boolean;
}

function newFakeReply(isJson = false): FakeReply {
  const reply: FakeReply = {
    via: 'test',
    isJson,
    isClosed: false,
    output: '',
    error: undefined,
    hasEnded: false,
    write: text => {
      reply.output += text;
    },
    flush: () => {},
    unsent: () => 0,
    end(error) {
      assert.ok(!reply.hasEnded, 'ended once');
      reply.hasEnded = true;
      reply.error = error;
    },
    onAbort: () => {},
    onDone: () => {},
  };
  return reply;
}

const list = { command: findCommand('list'), parameters: {} };

/** @returns the work units that commands used in one turn */
function turn(control: Control): number {
  control.server.schedule.isWanted = false;
  const before = workUnits.spent;
  runCommands(control);
  return workUnits.spent - before;
}

/** The most that a turn can use beyond the budget: the batch that was begun within it. */
const overdraft = 33 * 64;

describe('the command queue', () => {
  test('writes a long list over several turns, a bounded part in each, and completes it', () => {
    const control = newFakeControl(20_000);
    const reply = newFakeReply();
    submit(control, list, reply);
    let turns = 0;
    for (let before = 0; !reply.hasEnded; turns++) {
      assert.ok(control.server.schedule.isWanted, 'a turn is scheduled');
      assert.ok(turn(control) <= commandBudget + overdraft);
      assert.ok(reply.hasEnded || reply.output.length > before, 'every turn writes some of it');
      before = reply.output.length;
    }
    assert.ok(turns >= 20, `it took ${turns} turns`);
    assert.equal(reply.output.split('\n').length, 20_000 + 2);
    assert.equal(reply.error, undefined);
    turn(control);
    assert.ok(!control.server.schedule.isWanted);
  });

  test('starts calls in order, and lets a short one overtake a long one', () => {
    const control = newFakeControl(20_000);
    const replies = Array.from({ length: 5 }, () => newFakeReply(true));
    for (const reply of replies) submit(control, list, reply);
    const short = newFakeReply();
    submit(control, { command: findCommand('rooms'), parameters: {} }, short);
    while (!short.hasEnded) turn(control);
    assert.ok(replies.every(reply => !reply.hasEnded && reply.output.startsWith('[{"id":')));
    while (replies.some(reply => !reply.hasEnded)) turn(control);
    for (const { output } of replies) assert.equal(JSON.parse(output).length, 20_000);
  });

  test('runs a thousand commands over several turns, each once, in order', () => {
    const control = newFakeControl();
    const order: number[] = [];
    for (let i = 0; i < 1000; i++) {
      const reply = newFakeReply();
      const { end } = reply;
      reply.end = error => {
        order.push(i);
        end(error);
      };
      submit(control, { command: findCommand('broadcast'), parameters: { text: 'hi' } }, reply);
    }
    let turns = 0;
    for (; order.length < 1000; turns++) assert.ok(turn(control) <= commandBudget + overdraft);
    assert.ok(turns > 1);
    assert.deepEqual(
      order,
      order.map((_, index) => index),
    );
  });

  test('skips a call whose client is gone, and stops one that was running', () => {
    const control = newFakeControl(20_000);
    const [early, late] = [newFakeReply(), newFakeReply()];
    submit(control, list, early);
    submit(control, list, late);
    early.isClosed = true;
    turn(control);
    assert.equal(early.output, '');
    late.isClosed = true;
    const { length } = late.output;
    for (let i = 0; i < 10; i++) turn(control);
    assert.equal(late.output.length, length);
    assert.ok(!early.hasEnded && !late.hasEnded);
  });

  test('replies to a wrong call with the error and nothing else', () => {
    const control = newFakeControl();
    const reply = newFakeReply(true);
    submit(control, { command: findCommand('disconnect'), parameters: { id: 77 } }, reply);
    turn(control);
    assert.deepEqual(
      [reply.output, reply.error?.message],
      ['', 'there is no connection 77; pollywog list shows who is connected'],
    );
  });

  test('hides the details of an internal error, which does not affect other commands', () => {
    const control = newFakeControl();
    const write = process.stderr.write;
    let logged = '';
    process.stderr.write = ((text: string) => {
      logged += text;
      return true;
    }) as typeof process.stderr.write;
    const faulty = [
      () => {
        throw new Error('the secret');
      },
      () => Promise.reject(new Error('the secret')),
      function* () {
        yield { a: 1 };
        throw new Error('the secret');
      },
    ];
    const replies = faulty.map(run => {
      const reply = newFakeReply();
      const columns = { a: { width: 1 } };
      const command = { name: 'faulty', parameters: {}, help: '', run };
      const isRows = run === faulty[2];
      submit(control, { command: isRows ? { ...command, columns } : command, parameters: {} }, reply);
      return reply;
    });
    const after = newFakeReply();
    submit(control, list, after);
    while (!after.hasEnded) turn(control);
    return new Promise<void>(resolve => setImmediate(resolve)).then(() => {
      process.stderr.write = write;
      for (const { error, output } of replies)
        assert.deepEqual([error?.message, output], ["internal error; see the server's log", '']);
      assert.equal(logged.match(/command failed/g)?.length, 3);
    });
  });

  const unprintable: Readonly<Record<string, unknown>> = {
    'a bigint, which JSON lacks': 1n,
    'a function, which JSON omits': () => 1,
    'an object whose toJSON throws': {
      toJSON() {
        throw null;
      },
    },
  };
  for (const [what, value] of Object.entries(unprintable)) {
    for (const when of ['returned', 'resolved']) {
      test(`${what}, when ${when}, fails only the command that gave it`, async () => {
        const control = newFakeControl();
        const run = () => (when === 'resolved' ? Promise.resolve(value) : value);
        const command = { name: 'odd', parameters: {}, help: '', run };
        const [odd, other] = [newFakeReply(true), newFakeReply()];
        submit(control, { command, parameters: {} }, odd);
        turn(control);
        await new Promise(setImmediate);
        submit(control, list, other);
        for (let i = 0; i < 10; i++) turn(control);
        assert.equal(odd.error?.message, "internal error; see the server's log");
        assert.equal(odd.output, '');
        assert.ok(other.hasEnded && other.error === undefined);
      });
    }
  }
});
