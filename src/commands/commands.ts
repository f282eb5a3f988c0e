/** The one table of commands: in all doors, and in `--help`, in this order. */

import { readArguments } from '../options/arguments.ts';
import { invalidValue, nearest, quoted, UsageError } from '../options/error.ts';
import { whyUnreadable } from '../options/file.ts';
import { isObject, JsonError, readJson } from '../options/json.ts';
import { hyphenated, readValues } from '../options/option.ts';
import { isWellFormed } from '../options/text.ts';
import { bytesFile, flag } from '../options/values.ts';
import { splitWords } from '../options/words.ts';
import { decodeBase64 } from '../protocol/base64.ts';
import { ProtocolError } from '../protocol/codes.ts';
import { call, disconnect, drain, get, reload, set, stop } from './admin.ts';
import type { Call, CallValues, Command, Parameter } from './command.ts';
import { history, info, list, presence, rooms } from './query.ts';
import { broadcast, publish, send } from './send.ts';
import { ping, trace, watch, why } from './watch.ts';

const all: readonly Command[] = [
  ...[list, rooms, presence, history, info],
  ...[send, publish, broadcast],
  ...[ping, disconnect, why, trace, watch, call],
  ...[set, get, reload, drain, stop],
];

export const commands: ReadonlyMap<string, Command> = new Map(all.map(command => [command.name, command]));

/** Calls of commands: as words, from a shell or a line; or by the parameters' names, from JSON or a form. */

/** @throws ProtocolError 404 with the nearest name, if there is one */
export function findCommand(name: string): Command {
  const found = commands.get(name);
  if (found !== undefined) return found;
  const likely = nearest(name, commands.keys());
  const advice = likely === undefined ? 'help lists what there is' : `did you mean ${likely}?`;
  throw new ProtocolError(404, `there is no command ${quoted(name)}; ${advice}`);
}

/** `send ID|@NICK TEXT`, as help and error sentences have it. */
export function usage({ name, parameters }: Command): string {
  const shown = Object.values(parameters).map(({ kind, optional }) =>
    optional ? `[${kind.placeholder}]` : kind.placeholder,
  );
  return [name, ...shown].join(' ');
}

/**
 * Reads the words behind a command's name.
 * @param bytes in place of the parameter that may be bytes
 * @throws UsageError
 */
export function readWords(command: Command, words: readonly string[], bytes?: Buffer): Call {
  const given: Record<string, unknown> = {};
  let at = 0;
  for (const [name, parameter] of Object.entries(command.parameters)) {
    if (bytes !== undefined && parameter.orBytes) continue;
    if (at < words.length) given[name] = parameter.rest ? restOf(words.slice(at), parameter) : words[at];
    at = parameter.rest ? Math.max(at, words.length) : at + 1;
  }
  const stray = words[at];
  if (stray !== undefined) throw new UsageError(`${quoted(stray)} is too much; it is: ${usage(command)}`);
  return { command, values: readParameters(command, given, bytes) };
}

function restOf(words: readonly string[], { rest }: Parameter): unknown {
  return rest === 'list' ? words : words.join(' ');
}

/**
 * Reads values by the names of the parameters; `binary` has bytes, in base64.
 * @throws UsageError
 */
export function readNamed(command: Command, given: Readonly<Record<string, unknown>>): Call {
  const { binary, ...named } = given;
  for (const name of Object.keys(named)) {
    if (Object.hasOwn(command.parameters, name)) continue;
    const likely = nearest(name, Object.keys(command.parameters));
    const advice = likely === undefined ? `it is: ${usage(command)}` : `did you mean ${likely}?`;
    throw new UsageError(`${command.name} takes no ${quoted(name)}; ${advice}`);
  }
  const bytes = binary === undefined ? undefined : readBase64(binary);
  return { command, values: readParameters(command, named, bytes) };
}

function readBase64(text: unknown): Buffer {
  const bytes = decodeBase64(text);
  if (bytes === undefined) throw invalidValue('binary', 'bytes in base64', text);
  return bytes;
}

function readParameters(
  command: Command,
  given: Readonly<Record<string, unknown>>,
  bytes: Buffer | undefined,
): CallValues {
  const values: Record<string, unknown> = {};
  let isForBytes = false;
  for (const [name, parameter] of Object.entries(command.parameters)) {
    if (bytes !== undefined && parameter.orBytes) {
      isForBytes = true;
      if (given[name] !== undefined) throw new UsageError(`${name} or bytes: give one of the two`);
    } else {
      values[name] = readValue(command, name, parameter, given[name]);
    }
  }
  if (bytes === undefined) return values;
  if (!isForBytes) throw new UsageError(`${command.name} takes no bytes; it is: ${usage(command)}`);
  return { ...values, bytes };
}

function readValue(command: Command, name: string, { kind, optional }: Parameter, raw: unknown): unknown {
  if (raw === undefined || (optional && raw === '')) {
    if (optional) return undefined;
    throw new UsageError(
      `${command.name} wants ${kind.expected} (${hyphenated(name)}); it is: ${usage(command)}`,
    );
  }
  const texts = Array.isArray(raw) ? raw : [raw];
  if (!texts.every(text => typeof text !== 'string' || isWellFormed(text))) {
    throw new UsageError(
      `${hyphenated(name)} contains half a surrogate pair, which is not a character; remove it`,
    );
  }
  const value = kind.parse(raw);
  if (value === undefined) throw invalidValue(hyphenated(name), kind.expected, raw);
  return value;
}

/** A command as one line: in words, as in a shell; or as a JSON object, of what it takes by name. */

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
