/** Commands that change something: a connection's life, or the server's. */
import { noteEnding } from '../diagnostics/closeReason.ts';
import { callHandler } from '../handlers/modules/modules.ts';
import { UsageError } from '../options/error.ts';
import { CloseCode, ProtocolError } from '../protocol/codes.ts';
import { administration, type Command, speech } from './command.ts';
import { type Changes, change, changeFields, settings } from './reload.ts';
import {
  closeCode,
  closeReason,
  findConnection,
  setting,
  type Target,
  target,
  word,
  wordList,
} from './values.ts';

export const disconnect: Command = {
  name: 'disconnect',
  parameters: {
    id: { kind: target },
    code: { kind: closeCode, optional: true },
    reason: { kind: closeReason, optional: true, rest: true },
  },
  help: 'close a connection (1000)',
  journal: administration,
  run(control, { id, code, reason }) {
    const connection = findConnection(control, id as Target);
    const how = (code as number | undefined) ?? CloseCode.NormalClosure;
    noteEnding(connection, 'server', 'the command disconnect closed it');
    connection.wire.close(connection, how, (reason as string | undefined) ?? '');
    return { closed: connection.id };
  },
};

export const call: Command = {
  name: 'call',
  parameters: {
    name: { kind: word('NAME', 'the name of a handler of your own') },
    arguments: { kind: wordList, optional: true, rest: 'list', isPrivate: true },
  },
  help: 'give a command to a handler of your own',
  journal: { ...speech, fields: () => ({}) },
  async run({ server }, { name, arguments: words }) {
    try {
      return (await callHandler(server, name as string, (words as string[] | undefined) ?? [])) ?? null;
    } catch (error) {
      throw new ProtocolError(409, (error as Error).message);
    }
  },
};

export const set: Command = {
  name: 'set',
  parameters: {
    name: { kind: word('NAME', 'the name of an option such as max-message') },
    value: { kind: setting, rest: true },
  },
  help: 'change an option until the next reload',
  journal: { ...administration, fields: result => changeFields(result as Changes) },
  async run({ server }, { name, value }) {
    try {
      return await change(server, name as string, value as string);
    } catch (error) {
      if (error instanceof UsageError) throw error;
      // A change loads the modules again, and one of them may be broken by now: no fault of the server's.
      throw new ProtocolError(409, (error as Error).message);
    }
  },
};

export const get: Command = {
  name: 'get',
  parameters: { name: { kind: word('NAME', 'the name of an option such as max-message'), optional: true } },
  help: 'the options as they are now',
  columns: { name: { width: 18 }, value: { width: 12 }, set: { width: 8 } },
  *run({ server }, { name: wanted }) {
    for (const { name, value, isLive, isSetByHand } of settings(server, wanted as string | undefined)) {
      yield { name, value, set: isSetByHand ? 'by hand' : isLive ? 'any time' : 'at start' };
    }
  },
};

export const reload: Command = {
  name: 'reload',
  parameters: {},
  help: 'read the configuration again',
  // As for SIGHUP.
  journal: {
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

export const drain: Command = {
  name: 'drain',
  parameters: {},
  help: 'end when the last one has left',
  journal: administration,
  run(control, _, answer) {
    answer.afterwards(control.drain);
    return { draining: control.server.connections };
  },
};

export const stop: Command = {
  name: 'stop',
  parameters: {},
  help: 'tell everyone, and end at once',
  journal: administration,
  run(control, _, answer) {
    answer.afterwards(control.stop);
    return { stopping: control.server.connections };
  },
};
