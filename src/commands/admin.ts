/** Commands that control connections, handler modules, options and the server. */

import { closeConnection } from '../core/close.ts';
import { noteEnding } from '../diagnostics/closeReason.ts';
import type { FaultPlan } from '../handlers/faults/fault.ts';
import { readFaults, setFaults } from '../handlers/faults/faults.ts';
import { callHandler } from '../handlers/modules/modules.ts';
import { UsageError } from '../options/error.ts';
import { CloseCode, ProtocolError } from '../protocol/codes.ts';
import { type Command, type Control, logsChanges, logsMessages } from './command.ts';
import { type Changes, changeFields, listSettings, setOption } from './reload.ts';
import {
  closeCode,
  closeReason,
  connectionsOf,
  faultTarget,
  faultWords,
  findConnection,
  findConnections,
  id,
  isListed,
  setting,
  type Target,
  word,
  wordList,
} from './values.ts';

const disconnect: Command = {
  name: 'disconnect',
  parameters: {
    id,
    code: { kind: closeCode, optional: true },
    reason: { kind: closeReason, optional: true, rest: true },
  },
  help: 'close a connection (code 1000)',
  details:
    'A WebSocket peer gets the code and the reason in a close frame. user:NAME closes all connections of a user, and the answers of --auth-url about the user expire.',
  logs: logsChanges,
  run(control, { id, code, reason }) {
    const wanted = id as Target;
    const isUser = typeof wanted !== 'number' && 'user' in wanted;
    if (isUser) control.channels.entry?.forgetUser(wanted.user);
    // A site that signs a user out does not know whether the user is connected.
    const connections = isUser ? connectionsOf(control, wanted.user) : [findConnection(control, wanted)];
    for (const connection of connections) {
      noteEnding(connection, 'server', 'the command disconnect closed it', { cause: 'command' });
      closeConnection(
        connection,
        (code as number | undefined) ?? CloseCode.NormalClosure,
        (reason as string | undefined) ?? '',
      );
    }
    return isUser ? { user: wanted.user, closed: connections.length } : { closed: connections[0]!.id };
  },
};

const fault: Command = {
  name: 'fault',
  parameters: { id: { kind: faultTarget }, faults: { kind: faultWords, optional: true, rest: 'list' } },
  help: 'break a connection on purpose, to test it',
  details:
    'Replaces the faults of a connection: fault @ada stall, fault 7 close=1011 reason=oops, fault all delay=200ms. They act at once; with after=N, after N messages. fault @ada off turns off the faults of a connection, and fault off those of all connections. all skips HTTP connections, because one of them may carry this command. See: pollywog help faults.',
  logs: logsChanges,
  run(control, { id, faults }) {
    const wanted = id as Target | 'all' | 'off';
    const plan = readFaults(wanted === 'off' ? ['off'] : ((faults as readonly string[] | undefined) ?? []));
    if (wanted === 'off' && faults !== undefined)
      throw new UsageError('fault off takes no faults; name a connection before them');
    if (wanted === 'all' || wanted === 'off') return { connections: faultAll(control, plan) };
    const connections = findConnections(control, wanted);
    const shown = connections.map(connection => setFaults(connection, plan))[0]!;
    return { connections: connections.length, faults: shown };
  },
};

/** Skips connections that cannot have these faults. @returns how many have them now */
function faultAll({ server }: Control, plan: FaultPlan): number {
  let count = 0;
  for (const entry of server.table.entries) {
    if (entry?.kind !== 'connection' || !isListed(entry)) continue;
    // The HTTP connection that carries this command must stay intact for the answer.
    if (entry.wire.name === 'http' && plan.settings.length > 0) continue;
    try {
      setFaults(entry, plan);
      count++;
    } catch (error) {
      if (!(error instanceof ProtocolError)) throw error;
    }
  }
  return count;
}

const call: Command = {
  name: 'call',
  parameters: {
    name: { kind: word('NAME', 'the name of a handler module') },
    arguments: { kind: wordList, optional: true, rest: 'list', isPrivate: true },
  },
  help: 'run a command of your own handler',
  details: "Passes the words to the module's `command` function, and prints its result.",
  logs: { ...logsMessages, fields: () => ({}) },
  async run({ server }, { name, arguments: words }) {
    try {
      return (await callHandler(server, name as string, (words as string[] | undefined) ?? [])) ?? null;
    } catch (error) {
      throw new ProtocolError(409, (error as Error).message);
    }
  },
};

const optionName = word('NAME', 'the name of an option such as max-message');

const set: Command = {
  name: 'set',
  parameters: { name: { kind: optionName }, value: { kind: setting, rest: true } },
  help: 'change an option until the next reload',
  details: 'pollywog get shows which options can change while the server runs.',
  logs: { ...logsChanges, fields: result => changeFields(result as Changes) },
  async run({ server }, { name, value }) {
    try {
      return await setOption(server, name as string, value as string);
    } catch (error) {
      if (error instanceof UsageError) throw error;
      // A change reloads the handler modules. A broken module is no internal error.
      throw new ProtocolError(409, (error as Error).message);
    }
  },
};

const get: Command = {
  name: 'get',
  isReadOnly: true,
  parameters: { name: { kind: optionName, optional: true } },
  help: 'show the options, or one of them',
  details:
    'The column set says when an option can change: any time, or at start (it needs a restart); by hand: the command set changed it.',
  columns: { name: { width: 18 }, value: { width: 12 }, set: { width: 8 } },
  *run({ server }, { name: wanted }) {
    for (const { name, value, isLive, isSetByHand } of listSettings(server, wanted as string | undefined)) {
      yield { name, value, set: isSetByHand ? 'by hand' : isLive ? 'any time' : 'at start' };
    }
  },
};

const reload: Command = {
  name: 'reload',
  parameters: {},
  help: 'read the configuration again',
  details:
    'The same as SIGHUP. Prints what changed, and which changes need a restart. Connections stay open.',
  // The events that SIGHUP logs.
  logs: {
    level: 'info',
    done: 'reloaded',
    refused: 'reload failed',
    refusedLevel: 'error',
    fields: result => changeFields(result as Changes),
  },
  async run(control) {
    try {
      return await control.reload();
    } catch (error) {
      throw new ProtocolError(409, (error as Error).message);
    }
  },
};

const drain: Command = {
  name: 'drain',
  parameters: {},
  help: 'refuse new clients; exit when all leave',
  details:
    'The same as SIGTERM: the server starts the closing handshake with every client (1001), and drops those that remain after --drain-timeout. The result is the number of clients (draining).',
  logs: logsChanges,
  run(control, _, reply) {
    reply.onDone(control.drain);
    return { draining: control.server.connections };
  },
};

const stop: Command = {
  name: 'stop',
  parameters: {},
  help: 'close all connections, and exit at once',
  details:
    'Clients get a close frame (1001), but the server does not wait for them. The result is the number of clients (stopping).',
  logs: logsChanges,
  run(control, _, reply) {
    reply.onDone(control.stop);
    return { stopping: control.server.connections };
  },
};

export const adminCommands: readonly Command[] = [disconnect, fault, call, set, get, reload, drain, stop];
