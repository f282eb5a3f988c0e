/** Commands in the log: each change, the way it came in, and its outcome. */
import { isLogged, type LogFields, type LogLevel, log } from '../log/log.ts';
import type { Answer, Call } from './command.ts';

/** How a command is logged. */
export interface Journal {
  readonly level: LogLevel;
  readonly done: string;
  readonly refused: string;
  readonly refusedLevel: LogLevel;
  /** What its result adds to the line; its plain values, if not given. */
  fields?(result: unknown): LogFields;
}

/** For a command that changes a connection or the server. */
export const administration: Journal = {
  level: 'info',
  done: 'command done',
  refused: 'command refused',
  refusedLevel: 'info',
};

/** For a command that says something, as clients do all the time: only who asks for the details gets a line for each. */
export const speech: Journal = { ...administration, level: 'debug', refusedLevel: 'debug' };

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
