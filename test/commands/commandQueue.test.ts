/** The stage of the turn in which commands are run: how much of it they may have. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { Answer, Control } from '../../src/commands/command.ts';
import { newCommandQueue, observe, submit } from '../../src/commands/commandQueue.ts';
import { findCommand } from '../../src/commands/commands.ts';
import { newChat } from '../../src/handlers/chat/chat.ts';
import { configureLog } from '../../src/log/log.ts';
import { commandBudget } from '../../src/protocol/limits.ts';
import { workUnits } from '../../src/protocol/workUnits.ts';
import { newFakeServer, openFakeConnection } from '../support/fakeSocket.ts';

configureLog('error', 'text');

function newFakeControl(connections = 0): Control {
  const server = newFakeServer();
  for (let i = 0; i < connections; i++) openFakeConnection(server, undefined);
  const never = () => assert.fail('this is not asked for');
  return {
    server,
    queue: newCommandQueue(),
    chat: newChat(server, { messages: 10, bytes: 1000 }, undefined),
    version: '1.2.3',
    startedAt: 0,
    places: {} as Control['places'],
    reload: never,
    drain: never,
    stop: never,
  };
}

interface FakeAnswer extends Answer {
  isGone: boolean;
  said: string;
  error: Error | undefined;
  isOver: boolean;
}

function newAnswer(isJson = false): FakeAnswer {
  const answer: FakeAnswer = {
    via: 'test',
    isJson,
    isGone: false,
    said: '',
    error: undefined,
    isOver: false,
    write: text => {
      answer.said += text;
    },
    flush: () => {},
    unsent: () => 0,
    end(error) {
      assert.ok(!answer.isOver, 'ended once');
      answer.isOver = true;
      answer.error = error;
    },
    whenGone: () => {},
    afterwards: () => {},
  };
  return answer;
}

const list = { command: findCommand('list'), values: {} };

/** One turn. @returns what the observer used of it */
function turn(control: Control): number {
  control.server.schedule.isWanted = false;
  const before = workUnits.spent;
  observe(control);
  return workUnits.spent - before;
}

/** The most that a turn uses beyond the share: what was begun within it. */
const overdraft = 33 * 64;

describe('the observer', () => {
  test('gives a long list over several turns, each with a bounded part of it, and the whole of it', () => {
    const control = newFakeControl(20_000);
    const answer = newAnswer();
    submit(control, list, answer);
    let turns = 0;
    for (let before = 0; !answer.isOver; turns++) {
      assert.ok(control.server.schedule.isWanted, 'the loop knows that there is more');
      assert.ok(turn(control) <= commandBudget + overdraft);
      assert.ok(answer.isOver || answer.said.length > before, 'it goes on in every turn');
      before = answer.said.length;
    }
    assert.ok(turns >= 20, `it took ${turns} turns`);
    assert.equal(answer.said.split('\n').length, 20_000 + 2);
    assert.equal(answer.error, undefined);
    control.server.schedule.isWanted = false;
    assert.ok(!control.server.schedule.isWanted);
  });

  test('begins what was asked for first, and lets the short ones pass a long one', () => {
    const control = newFakeControl(20_000);
    const answers = Array.from({ length: 5 }, () => newAnswer(true));
    for (const answer of answers) submit(control, list, answer);
    const short = newAnswer();
    submit(control, { command: findCommand('rooms'), values: {} }, short);
    while (!short.isOver) turn(control);
    assert.ok(answers.every(answer => !answer.isOver && answer.said.startsWith('[{"id":')));
    while (answers.some(answer => !answer.isOver)) turn(control);
    for (const { said } of answers) assert.equal(JSON.parse(said).length, 20_000);
  });

  test('runs a thousand commands over several turns, each once, in order', () => {
    const control = newFakeControl();
    const order: number[] = [];
    for (let i = 0; i < 1000; i++) {
      const answer = newAnswer();
      const { end } = answer;
      answer.end = error => {
        order.push(i);
        end(error);
      };
      submit(control, { command: findCommand('broadcast'), values: { text: 'hi' } }, answer);
    }
    let turns = 0;
    for (; order.length < 1000; turns++) assert.ok(turn(control) <= commandBudget + overdraft);
    assert.ok(turns > 1);
    assert.deepEqual(
      order,
      order.map((_, index) => index),
    );
  });

  test('does not begin what nobody waits for any more, and leaves off what is begun', () => {
    const control = newFakeControl(20_000);
    const [early, late] = [newAnswer(), newAnswer()];
    submit(control, list, early);
    submit(control, list, late);
    early.isGone = true;
    turn(control);
    assert.equal(early.said, '');
    late.isGone = true;
    const { length } = late.said;
    for (let i = 0; i < 10; i++) turn(control);
    assert.equal(late.said.length, length);
    assert.ok(!early.isOver && !late.isOver);
  });

  test('tells what was wrong with the call, and before that nothing', () => {
    const control = newFakeControl();
    const answer = newAnswer(true);
    submit(control, { command: findCommand('disconnect'), values: { id: 77 } }, answer);
    turn(control);
    assert.deepEqual([answer.said, answer.error?.message], ['', 'there is no connection 77']);
  });

  test('tells nothing of a fault of ours; others are not harmed by it', () => {
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
    const answers = faulty.map(run => {
      const answer = newAnswer();
      const columns = { a: { width: 1 } };
      const command = { name: 'faulty', parameters: {}, help: '', run };
      const isRows = run === faulty[2];
      submit(control, { command: isRows ? { ...command, columns } : command, values: {} }, answer);
      return answer;
    });
    const after = newAnswer();
    submit(control, list, after);
    while (!after.isOver) turn(control);
    return new Promise<void>(resolve => setImmediate(resolve)).then(() => {
      process.stderr.write = write;
      for (const { error, said } of answers)
        assert.deepEqual([error?.message, said], ['internal error; the log has more', '']);
      assert.equal(logged.match(/command failed/g)?.length, 3);
    });
  });

  const unsayable: Readonly<Record<string, unknown>> = {
    'a number that JSON has not': 1n,
    'what JSON leaves out': () => 1,
    'what throws when it is shown': {
      toJSON() {
        throw null;
      },
    },
  };
  for (const [what, value] of Object.entries(unsayable)) {
    for (const when of ['at once', 'later']) {
      test(`${what}, said ${when}, fails that command, and nothing else`, async () => {
        const control = newFakeControl();
        const run = () => (when === 'later' ? Promise.resolve(value) : value);
        const command = { name: 'odd', parameters: {}, help: '', run };
        const [odd, other] = [newAnswer(true), newAnswer()];
        submit(control, { command, values: {} }, odd);
        turn(control);
        await new Promise(setImmediate);
        submit(control, list, other);
        for (let i = 0; i < 10; i++) turn(control);
        assert.equal(odd.error?.message, 'internal error; the log has more');
        assert.equal(odd.said, '');
        assert.ok(other.isOver && other.error === undefined);
      });
    }
  }
});
