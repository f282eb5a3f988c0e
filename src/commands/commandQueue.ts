/**
 * The queue of commands, and the stage of the turn that runs them. Commands have a budget of their own, so neither a long list
 * nor a thousand commands at once delay the connections, and a busy server still answers commands.
 */

import { scheduleTurn } from '../core/poll.ts';
import { isLogged, type LogFields, log, stackOf } from '../log/log.ts';
import { printableJson } from '../log/printable.ts';
import { UsageError } from '../options/error.ts';
import { ProtocolError } from '../protocol/codes.ts';
import { commandBudget } from '../protocol/limits.ts';
import { workUnits } from '../protocol/workUnits.ts';
import type { Call, CommandQueue, Control, Reply, Task } from './command.ts';
import { formatHeading, formatJsonRow, formatResult, formatRow } from './show.ts';

export function newCommandQueue(): CommandQueue {
  return { tasks: [], first: 0 };
}

/** Queues the call: it runs in a later turn. Calls start in the order in which they were submitted. */
export function submit(control: Control, call: Call, reply: Reply): void {
  enqueue(control, () => runGuarded(call, reply, () => start(control, call, reply)));
}

function enqueue({ queue, server }: Control, task: Task): void {
  queue.tasks.push(task);
  server.hasCommands = true;
  scheduleTurn(server);
}

/** The price of a command, and of each row, in units of messages: some 8 µs. */
const commandCost = 64;

/** The stage of the turn that runs commands, until they have used their budget. */
export function runCommands({ queue, server }: Control): void {
  const { tasks } = queue;
  if (tasks.length === 0) return;
  const end = workUnits.spent + commandBudget;
  while (queue.first < tasks.length && workUnits.spent < end) {
    workUnits.spent += commandCost;
    const rest = tasks[queue.first++]!();
    if (rest !== undefined) tasks.push(rest);
  }
  server.hasCommands = queue.first < tasks.length;
  if (server.hasCommands) scheduleTurn(server);
  if (queue.first * 2 > tasks.length) {
    tasks.splice(0, queue.first);
    queue.first = 0;
  }
}

function start(control: Control, call: Call, reply: Reply): Task | undefined {
  if (reply.isClosed) return undefined;
  return writeResult(control, call, call.command.run(control, call.parameters, reply), reply);
}

/** An error in a command, or in formatting its result, fails this command only. */
function runGuarded(call: Call, reply: Reply, task: Task): Task | undefined {
  try {
    return task();
  } catch (error) {
    fail(call, reply, error);
    return undefined;
  }
}

function writeResult(control: Control, call: Call, result: unknown, reply: Reply): Task | undefined {
  if (result === undefined) return undefined;
  if (result instanceof Promise) {
    result.then(
      value =>
        enqueue(control, () => runGuarded(call, reply, () => writeResult(control, call, value, reply))),
      error => fail(call, reply, error),
    );
    return undefined;
  }
  if (call.command.columns !== undefined) {
    return rowsTask(call, result as Iterator<Row>, reply, true);
  }
  logDone(call, reply, result);
  reply.write(reply.isJson ? `${printableJson(result)}\n` : formatResult(result));
  reply.end();
  return undefined;
}

type Row = Readonly<Record<string, unknown>>;

const rowsAtOnce = 32;

/** Writes some rows; the task that it returns writes more. */
function writeRows(call: Call, rows: Iterator<Row>, reply: Reply, isFirst: boolean): Task | undefined {
  if (reply.isClosed) return undefined;
  const columns = call.command.columns!;
  // Nothing is written before the first row: a wrong call throws there, and its reply must be the error alone.
  let text = !isFirst ? '' : reply.isJson ? '[' : `${formatHeading(columns)}\n`;
  let isStart = isFirst;
  for (let count = 0; count < rowsAtOnce; count++) {
    const { done, value } = rows.next();
    if (done) {
      reply.write(reply.isJson ? `${text}]\n` : text);
      reply.end();
      return undefined;
    }
    workUnits.spent += commandCost;
    text += reply.isJson
      ? `${isStart ? '' : ',\n'}${formatJsonRow(columns, value)}`
      : `${formatRow(columns, value)}\n`;
    isStart = false;
  }
  reply.write(text);
  return rowsTask(call, rows, reply, false);
}

function rowsTask(call: Call, rows: Iterator<Row>, reply: Reply, isFirst: boolean): Task {
  return () => runGuarded(call, reply, () => writeRows(call, rows, reply, isFirst));
}

/** Errors of the caller go to the caller, internal errors to the log. */
function fail(call: Call, reply: Reply, error: unknown): void {
  if (error instanceof ProtocolError || error instanceof UsageError) {
    logRefused(call, reply, error);
    reply.end(error);
  } else {
    const { via, from } = reply;
    log('error', 'command failed', { command: call.command.name, via, from, stack: stackOf(error) });
    reply.end(new ProtocolError(500, "internal error; see the server's log"));
  }
}

function logDone({ command, parameters }: Call, { via, from }: Reply, result: unknown): void {
  const { logs } = command;
  if (logs === undefined || !isLogged(logs.level)) return;
  const given = parameterFields(command, parameters);
  const fields = (logs.fields ?? plainFields)(result);
  log(logs.level, logs.done, { command: command.name, ...given, ...fields, via, from });
}

function logRefused({ command, parameters }: Call, { via, from }: Reply, error: Error): void {
  const { logs } = command;
  if (logs === undefined || !isLogged(logs.refusedLevel)) return;
  const given = parameterFields(command, parameters);
  log(logs.refusedLevel, logs.refused, {
    command: command.name,
    ...given,
    reason: error.message,
    via,
    from,
  });
}

/** The most characters of one value in the log. */
const maxLoggedValue = 200;

/** The parameters, without private ones: what people say is not logged. */
function parameterFields(command: Call['command'], parameters: Call['parameters']): LogFields {
  const fields: Record<string, string> = {};
  for (const [name, { kind, isPrivate }] of Object.entries(command.parameters)) {
    const value = parameters[name];
    if (value !== undefined && !isPrivate) fields[name] = kind.show(value).slice(0, maxLoggedValue);
  }
  return fields;
}

function plainFields(result: unknown): LogFields {
  if (typeof result !== 'object' || result === null) return {};
  const plain = Object.entries(result).filter(([, value]) => typeof value !== 'object');
  return Object.fromEntries(plain) as LogFields;
}
