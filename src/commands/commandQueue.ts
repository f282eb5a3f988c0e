/**
 * The observer: the part of the turn in which commands are run. It has a share of its own, so that neither a long list nor
 * a thousand commands at once hold the connections up, nor the connections them.
 */
import { scheduleTurn } from '../core/poll.ts';
import { isLogged, type LogFields, log, stackOf } from '../log/log.ts';
import { printableJson } from '../log/printable.ts';
import { UsageError } from '../options/error.ts';
import { ProtocolError } from '../protocol/codes.ts';
import { commandBudget } from '../protocol/limits.ts';
import { workUnits } from '../protocol/workUnits.ts';
import type { Answer, Call, CommandQueue, Control, Task } from './command.ts';
import { showHeading, showRow, showValue } from './show.ts';

export function newCommandQueue(): CommandQueue {
  return { tasks: [], first: 0 };
}

/** Runs the call in a turn that comes. What is called for first begins first. */
export function submit(control: Control, call: Call, answer: Answer): void {
  addTask(control, () => attempt(call, answer, () => start(control, call, answer)));
}

function addTask(control: Control, task: Task): void {
  control.queue.tasks.push(task);
  scheduleTurn(control.server);
}

/** A command costs as much as so many messages, and each row that it gives, too: some 8 µs. */
const commandCost = 64;

/** The stage of the turn. */
export function observe({ queue, server }: Control): void {
  const { tasks } = queue;
  if (tasks.length === 0) return;
  const end = workUnits.spent + commandBudget;
  while (queue.first < tasks.length && workUnits.spent < end) {
    workUnits.spent += commandCost;
    const rest = tasks[queue.first++]!();
    if (rest !== undefined) tasks.push(rest);
  }
  if (queue.first < tasks.length) scheduleTurn(server);
  if (queue.first * 2 > tasks.length) {
    tasks.splice(0, queue.first);
    queue.first = 0;
  }
}

function start(control: Control, call: Call, answer: Answer): Task | undefined {
  if (answer.isGone) return undefined;
  return say(control, call, call.command.run(control, call.values, answer), answer);
}

/** What goes wrong in a command, or in showing what it says, fails that command alone. */
function attempt(call: Call, answer: Answer, act: Task): Task | undefined {
  try {
    return act();
  } catch (error) {
    fail(call, answer, error);
    return undefined;
  }
}

function say(control: Control, call: Call, result: unknown, answer: Answer): Task | undefined {
  if (result === undefined) return undefined;
  if (result instanceof Promise) {
    result.then(
      value => addTask(control, () => attempt(call, answer, () => say(control, call, value, answer))),
      error => fail(call, answer, error),
    );
    return undefined;
  }
  if (call.command.columns !== undefined) {
    return moreRows(call, result as Iterator<Row>, answer, true);
  }
  logDone(call, answer, result);
  answer.write(answer.isJson ? `${printableJson(result)}\n` : showValue(result));
  answer.end();
  return undefined;
}

type Row = Readonly<Record<string, unknown>>;

const rowsAtOnce = 32;

/** Some of the rows, and then what is left to do. */
function sayRows(call: Call, rows: Iterator<Row>, answer: Answer, isFirst: boolean): Task | undefined {
  if (answer.isGone) return undefined;
  const columns = call.command.columns!;
  // What is wrong with the call shows at the first row: then nothing else was said.
  let text = !isFirst ? '' : answer.isJson ? '[' : `${showHeading(columns)}\n`;
  let isStart = isFirst;
  for (let count = 0; count < rowsAtOnce; count++) {
    const { done, value } = rows.next();
    if (done) {
      answer.write(answer.isJson ? `${text}]\n` : text);
      answer.end();
      return undefined;
    }
    workUnits.spent += commandCost;
    text += answer.isJson ? `${isStart ? '' : ',\n'}${printableJson(value)}` : `${showRow(columns, value)}\n`;
    isStart = false;
  }
  answer.write(text);
  return moreRows(call, rows, answer, false);
}

function moreRows(call: Call, rows: Iterator<Row>, answer: Answer, isFirst: boolean): Task {
  return () => attempt(call, answer, () => sayRows(call, rows, answer, isFirst));
}

/** What whoever called did wrong, they are told; what we did, the log is. */
function fail(call: Call, answer: Answer, error: unknown): void {
  if (error instanceof ProtocolError || error instanceof UsageError) {
    logRefused(call, answer, error);
    answer.end(error);
  } else {
    const { via, from } = answer;
    log('error', 'command failed', { command: call.command.name, via, from, stack: stackOf(error) });
    answer.end(new ProtocolError(500, 'internal error; the log has more'));
  }
}

/** Characters of one value. */
const longestValue = 200;

export function logDone({ command, values }: Call, { via, from }: Answer, result: unknown): void {
  const { journal } = command;
  if (journal === undefined || !isLogged(journal.level)) return;
  const fields = (journal.fields ?? plainFields)(result);
  log(journal.level, journal.done, {
    command: command.name,
    ...given(command, values),
    ...fields,
    via,
    from,
  });
}

export function logRefused({ command, values }: Call, { via, from }: Answer, error: Error): void {
  const { journal } = command;
  if (journal === undefined || !isLogged(journal.refusedLevel)) return;
  const fields = { command: command.name, ...given(command, values), reason: error.message, via, from };
  log(journal.refusedLevel, journal.refused, fields);
}

/** The parameters, but not what is said to people or handlers: that is theirs. */
function given({ parameters }: Call['command'], values: Call['values']): LogFields {
  const fields: Record<string, string> = {};
  for (const [name, { kind, isPrivate }] of Object.entries(parameters)) {
    const value = values[name];
    if (value !== undefined && !isPrivate) fields[name] = kind.show(value).slice(0, longestValue);
  }
  return fields;
}

function plainFields(result: unknown): LogFields {
  if (typeof result !== 'object' || result === null) return {};
  const plain = Object.entries(result).filter(([, value]) => typeof value !== 'object');
  return Object.fromEntries(plain) as LogFields;
}
