/**
 * The one table of commands, and how a call is parsed: from words (a shell, a line) or from parameter names (JSON, a form).
 * `--help` and the OpenAPI description are made of the table, too.
 */
import { readArguments } from '../options/arguments.ts';
import { invalidValue, nearest, quoted, UsageError } from '../options/error.ts';
import { whyUnreadable } from '../options/file.ts';
import { isObject, JsonError, readJson } from '../options/json.ts';
import { hyphenated, type Option, type OptionTable, type RawValue, readValues } from '../options/option.ts';
import { isWellFormed } from '../options/text.ts';
import { bytesFile, flag } from '../options/values.ts';
import { splitWords } from '../options/words.ts';
import { decodeBase64 } from '../protocol/base64.ts';
import { ProtocolError } from '../protocol/codes.ts';
import { adminCommands } from './admin.ts';
import { channelCommands } from './channels.ts';
import type { Call, CallValues, Command, Parameter } from './command.ts';
import { queryCommands } from './query.ts';
import { sendCommands } from './send.ts';
import { watchCommands } from './watch.ts';

/** In the order of `--help`. */
export const commands: ReadonlyMap<string, Command> = new Map(
  [...queryCommands, ...channelCommands, ...sendCommands, ...watchCommands, ...adminCommands].map(command => [
    command.name,
    command,
  ]),
);

/** @throws ProtocolError 404 that names the nearest command, if there is one */
export function findCommand(name: string): Command {
  const found = commands.get(name);
  if (found === undefined) throw new ProtocolError(404, unknownCommand(name, commands.keys()));
  return found;
}

/** @param advice the remedy for a name that resembles none of those that are known */
export function unknownCommand(
  name: string,
  known: Iterable<string>,
  advice = 'pollywog help lists them all',
): string {
  const likely = nearest(name, known);
  return `unknown command ${quoted(name)}; ${likely === undefined ? advice : `did you mean ${likely}?`}`;
}

/** `send ID|@NICK TEXT`, for help and errors. */
export function usage({ name, parameters }: Command): string {
  const placed = Object.values(parameters).filter(({ isOption }) => !isOption);
  const shown = placed.map(({ kind, optional }) => (optional ? `[${kind.placeholder}]` : kind.placeholder));
  return [name, ...shown].join(' ');
}

/** What is given beside the words of a command line. */
export interface BesideWords {
  /** Instead of the parameter that may be bytes. */
  readonly bytes?: Buffer | undefined;
  /** Options by name; only those of parameters count. */
  readonly options?: ReadonlyMap<string, RawValue>;
}

/**
 * Parses the words that follow a command's name.
 * @throws UsageError
 */
export function parseWords(
  command: Command,
  words: readonly string[],
  { bytes, options = new Map() }: BesideWords = {},
): Call {
  const given = optionValues(command, options);
  let at = 0;
  for (const [name, parameter] of Object.entries(command.parameters)) {
    if (parameter.isOption || (bytes !== undefined && parameter.orBytes)) continue;
    if (at < words.length) given[name] = parameter.rest ? restOf(words.slice(at), parameter) : words[at];
    at = parameter.rest ? Math.max(at, words.length) : at + 1;
  }
  const extra = words[at];
  if (extra !== undefined)
    throw new UsageError(`unexpected argument ${quoted(extra)}; usage: ${usage(command)}`);
  return { command, parameters: parseParameters(command, given, bytes) };
}

/** @throws UsageError for an option of another command */
function optionValues(command: Command, options: ReadonlyMap<string, RawValue>): Record<string, unknown> {
  const given: Record<string, unknown> = {};
  for (const [name, { label, raw }] of options) {
    if (!Object.hasOwn(parameterOptions, name)) continue;
    if (!command.parameters[name]?.isOption)
      throw new UsageError(`${label} is not an option of ${command.name}; usage: ${usage(command)}`);
    given[name] = raw;
  }
  return given;
}

function restOf(words: readonly string[], { rest }: Parameter): unknown {
  return rest === 'list' ? words : words.join(' ');
}

/**
 * Parses values by parameter name; `binary` holds bytes in base64.
 * @throws UsageError
 */
export function parseNamed(command: Command, given: Readonly<Record<string, unknown>>): Call {
  const { binary, ...named } = given;
  const known = Object.entries(command.parameters);
  const values: Record<string, unknown> = {};
  for (const [name, value] of Object.entries(named)) {
    const [current] = known.find(([one, { oldName }]) => name === one || name === oldName) ?? [];
    if (current === undefined) {
      const likely = nearest(name, Object.keys(command.parameters));
      const advice = likely === undefined ? `usage: ${usage(command)}` : `did you mean ${likely}?`;
      throw new UsageError(`${command.name} has no parameter ${quoted(name)}; ${advice}`);
    }
    if (Object.hasOwn(values, current))
      throw new UsageError(`${current} is given twice, also as ${name}; keep one`);
    values[current] = value;
  }
  const bytes = binary === undefined ? undefined : parseBase64(binary);
  return { command, parameters: parseParameters(command, values, bytes) };
}

function parseBase64(text: unknown): Buffer {
  const bytes = decodeBase64(text);
  if (bytes === undefined) throw invalidValue('binary', 'bytes in base64', text);
  return bytes;
}

function parseParameters(
  command: Command,
  given: Readonly<Record<string, unknown>>,
  bytes: Buffer | undefined,
): CallValues {
  const parsed: Record<string, unknown> = {};
  let takesBytes = false;
  for (const [name, parameter] of Object.entries(command.parameters)) {
    if (bytes !== undefined && parameter.orBytes) {
      takesBytes = true;
      if (given[name] !== undefined) throw new UsageError(`give either ${name} or bytes, not both`);
    } else {
      parsed[name] = parseParameter(command, name, parameter, given[name]);
    }
  }
  if (bytes === undefined) return parsed;
  if (!takesBytes) throw new UsageError(`${command.name} takes no bytes; usage: ${usage(command)}`);
  return { ...parsed, bytes };
}

function parseParameter(
  command: Command,
  name: string,
  { kind, optional, isOption }: Parameter,
  raw: unknown,
): unknown {
  if (raw === undefined || (optional && raw === '')) {
    if (optional || isOption) return undefined;
    throw new UsageError(`missing parameter ${hyphenated(name)}: ${kind.expected}; usage: ${usage(command)}`);
  }
  const texts = Array.isArray(raw) ? raw : [raw];
  if (!texts.every(text => typeof text !== 'string' || isWellFormed(text))) {
    throw new UsageError(
      `${hyphenated(name)} contains an unpaired surrogate, which is not a character; remove it`,
    );
  }
  const value = kind.parse(raw);
  if (value === undefined) throw invalidValue(hyphenated(name), kind.expected, raw);
  return value;
}

/** The options of single commands: their parameters with a name instead of a place. */
export const parameterOptions: OptionTable = Object.fromEntries(
  [...commands.values()].flatMap(({ parameters }) =>
    Object.entries(parameters)
      .filter(([, { isOption }]) => isOption)
      .map(([name, { kind }]) => [
        name,
        { kind, default: undefined, group: 'Commands', help: kind.expected } satisfies Option,
      ]),
  ),
);

/** Options that may appear anywhere among a command's words. */
export const wordOptions = {
  json: { kind: flag, default: false, group: 'Commands', help: 'print JSON' },
  binary: {
    kind: bytesFile,
    default: '',
    group: 'Commands',
    help: 'bytes to send instead of TEXT; - is stdin',
  },
} as const;

/** The error for the file that `--binary` names. */
export function unreadable(path: string, error: unknown): UsageError {
  return new UsageError(`cannot read ${path}: ${whyUnreadable(error)}`);
}

export interface ParsedLine {
  readonly call: Call;
  readonly isJson: boolean;
}

/**
 * Parses a line: words as in a shell, or a JSON object.
 * @param readBytes reads the file that `--binary` names
 * @throws UsageError, or ProtocolError 404
 */
export function parseCommandLine(line: string, readBytes: (file: string) => Buffer): ParsedLine {
  if (line.trimStart().startsWith('{')) return parseJsonLine(line);
  const { given, words } = readArguments<string>(splitWords(line), { ...wordOptions, ...parameterOptions });
  const [name = '', ...rest] = words;
  const command = findCommand(name);
  const { json, binary } = readValues(wordOptions, [given]);
  const bytes = binary === '' ? undefined : readBytes(binary);
  return { call: parseWords(command, rest, { bytes, options: given }), isJson: json };
}

/** `{"command": "send", "id": 7, "text": "hi"}`; `"json": true` asks for JSON output. */
function parseJsonLine(line: string): ParsedLine {
  const { command, json, ...named } = parseObject(line);
  if (typeof command !== 'string') throw new UsageError('the JSON object has no "command"');
  if (json !== undefined && typeof json !== 'boolean') throw new UsageError('"json" must be true or false');
  return { call: parseNamed(findCommand(command), named), isJson: json === true };
}

/** @throws UsageError for other JSON, and for an object with a repeated name: parsers disagree about which value counts */
export function parseObject(text: string): Readonly<Record<string, unknown>> {
  let value: unknown;
  try {
    value = readJson(text);
  } catch (error) {
    if (!(error instanceof JsonError)) throw error;
    throw new UsageError(`not a JSON object: ${error.message} (line ${error.line}, column ${error.column})`);
  }
  if (isObject(value)) return value;
  throw new UsageError('not a JSON object');
}
