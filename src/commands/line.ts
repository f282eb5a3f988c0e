/** A command as one line: in words, as in a shell; or as a JSON object, of what it takes by name. */
import { readArguments } from '../options/arguments.ts';
import { UsageError } from '../options/error.ts';
import { whyUnreadable } from '../options/file.ts';
import { isObject, JsonError, readJson } from '../options/json.ts';
import { readValues } from '../options/option.ts';
import { bytesFile, flag } from '../options/values.ts';
import { splitWords } from '../options/words.ts';
import { findCommand, readNamed, readWords } from './call.ts';
import type { Call } from './command.ts';

/** What may stand among the words, wherever a command is given in words. */
export const wordOptions = {
  json: { kind: flag, default: false, group: 'Commands', help: 'print JSON' },
  binary: {
    kind: bytesFile,
    default: '',
    group: 'Commands',
    help: 'bytes to send instead of TEXT; - is stdin',
  },
} as const;

/** Why the file that `--binary` names was not read. */
export function unreadable(path: string, error: unknown): UsageError {
  return new UsageError(`cannot read ${path}: ${whyUnreadable(error)}`);
}

export interface Line {
  readonly call: Call;
  readonly isJson: boolean;
}

/**
 * @param readBytes reads the file that `--binary` names
 * @throws UsageError, or ProtocolError 404
 */
export function readLine(line: string, readBytes: (file: string) => Buffer): Line {
  if (line.trimStart().startsWith('{')) return readObject(line);
  const { given, words } = readArguments(splitWords(line), wordOptions);
  const [name = '', ...rest] = words;
  const command = findCommand(name);
  const { json, binary } = readValues(wordOptions, [given]);
  const bytes = binary === '' ? undefined : readBytes(binary);
  return { call: readWords(command, rest, bytes), isJson: json };
}

/** `{"command": "send", "to": 7, "text": "hi"}`; with `"json": true`, what it says is JSON. */
function readObject(line: string): Line {
  const { command, json, ...named } = parseObject(line);
  if (typeof command !== 'string') throw new UsageError('the JSON object names no "command"');
  if (json !== undefined && typeof json !== 'boolean') throw new UsageError('"json" is true or false');
  return { call: readNamed(findCommand(command), named), isJson: json === true };
}

/** @throws UsageError where the text is anything else, or has a name twice: two readers could take it for two things */
export function parseObject(text: string): Readonly<Record<string, unknown>> {
  let value: unknown;
  try {
    value = readJson(text);
  } catch (error) {
    if (!(error instanceof JsonError)) throw error;
    throw new UsageError(
      `this is no JSON object: ${error.message} (line ${error.line}, column ${error.column})`,
    );
  }
  if (isObject(value)) return value;
  throw new UsageError('this is no JSON object');
}
