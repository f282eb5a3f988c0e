/** Commands that change something: a connection's life, or the server's. */
import { CloseCode } from '../protocol/codes.ts';
import type { Command } from './command.ts';
import { closeCode, closeReason, findConnection, type Target, target } from './values.ts';

export const disconnect: Command = {
  name: 'disconnect',
  parameters: {
    id: { kind: target },
    code: { kind: closeCode, optional: true },
    reason: { kind: closeReason, optional: true, rest: true },
  },
  help: 'close a connection, 1000 if no code is given',
  run(control, { id, code, reason }) {
    const connection = findConnection(control, id as Target);
    const how = (code as number | undefined) ?? CloseCode.NormalClosure;
    connection.wire.close(connection, how, (reason as string | undefined) ?? '');
    return { closed: connection.id };
  },
};

export const drain: Command = {
  name: 'drain',
  parameters: {},
  help: 'let nobody in, tell everyone, end when the last has left',
  run(control, _, answer) {
    answer.afterwards(control.drain);
    return { draining: control.server.connections };
  },
};

export const stop: Command = {
  name: 'stop',
  parameters: {},
  help: 'tell everyone, and end at once',
  run(control, _, answer) {
    answer.afterwards(control.stop);
    return { stopping: control.server.connections };
  },
};
