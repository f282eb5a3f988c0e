/**
 * The recall: the same program, called with a command, has the server that runs do it. What comes over the control socket
 * is HTTP, as it is at the other door: `curl --unix-socket` may do the same.
 */
import { readFileSync } from 'node:fs';
import { type IncomingMessage, request } from 'node:http';
import { whyUnwritable } from '../log/log.ts';
import { printableLine } from '../log/printable.ts';
import { readArguments } from '../options/arguments.ts';
import { checkConfiguration } from '../options/configuration.ts';
import { type Environment, readEnvironment } from '../options/environment.ts';
import { Exit, UsageError } from '../options/error.ts';
import { chooseFile, defaultFile, readFile } from '../options/file.ts';
import { flagName, type OptionTable, readValues } from '../options/option.ts';
import { controlPath, type DefaultPaths } from '../options/paths.ts';
import { serverOptions } from '../options/table.ts';
import { readText } from '../options/text.ts';
import { ProtocolError } from '../protocol/codes.ts';
import type { Call, Command } from './command.ts';
import { findCommand, readWords, unreadable, wordOptions } from './commands.ts';
import { commandHelp, helpOn, helpOverview } from './help.ts';

/** The options of a command line with a command; `control` and `config` tell where the server is. */
const own = {
  control: serverOptions.control,
  config: serverOptions.config,
  ...wordOptions,
  help: serverOptions.help,
} as const satisfies OptionTable;

/** The words of a command line (without node and script) that are no options: where there are any, it has a command. */
export function wordsOf(argv: readonly string[]): readonly string[] {
  return readArguments(argv, { ...serverOptions, ...own }).words;
}

/**
 * Has the command done, and prints what it says.
 * @returns the exit code
 * @throws UsageError
 */
export async function recall(
  argv: readonly string[],
  env: Environment,
  usual: DefaultPaths,
): Promise<number> {
  const { given, words } = readArguments(argv, { ...serverOptions, ...own });
  const stray = [...given.keys()].find(name => !Object.hasOwn(own, name));
  const [name = '', ...rest] = words;
  const command = knownCommand(name);
  if (stray !== undefined) {
    throw new UsageError(`${flagName(stray)} is an option of the server, not of ${name}; leave it out`);
  }
  if (given.has('help')) return print(commandHelp(command));
  const { json, binary } = readValues(own, [given]);
  const bytes = binary === '' ? undefined : readBytes(binary);
  const call = readWords(command, rest.at(-1) === '-' && bytes === undefined ? fromStdin(rest) : rest, bytes);
  return ask(controlOf(given, env, usual), call, json);
}

/** What is no command is wrong usage here. @throws UsageError */
export function knownCommand(name: string): Command {
  try {
    return findCommand(name);
  } catch (error) {
    throw error instanceof ProtocolError ? new UsageError(error.message) : error;
  }
}

function fromStdin(words: readonly string[]): string[] {
  const text = readText('stdin', readBytes('-'), 'convert it, or send bytes with --binary -');
  return [...words.slice(0, -1), text.replace(/\r?\n$/, '')];
}

/** A file, or stdin. The whole command waits for it, so it may be a pipe. */
function readBytes(path: string): Buffer {
  try {
    return readFileSync(path === '-' ? 0 : path);
  } catch (error) {
    throw unreadable(path, error);
  }
}

function controlOf(
  given: Parameters<typeof readValues>[1][number],
  env: Environment,
  usual: DefaultPaths,
): string {
  const where = { control: serverOptions.control, config: serverOptions.config };
  const sources = [given, readEnvironment(env)];
  const configFile = chooseFile(readValues(where, sources).config, usual.configFiles);
  const isTold = sources.some(source => source.has('control'));
  if (configFile !== undefined && !isTold) sources.push(readFile(configFile));
  const path = controlPath(readValues(where, sources), usual);
  if (path === undefined) throw new UsageError('the server takes no commands (--control none)');
  return path;
}

/** Done by the server at `path`. */
function ask(path: string, call: Call, isJson: boolean): Promise<number> {
  const body = JSON.stringify(toNamed(call));
  const headers = {
    'Content-Type': 'application/json',
    'Content-Length': Buffer.byteLength(body),
    Accept: isJson ? 'application/json' : 'text/plain',
  };
  return new Promise(resolve => {
    // Whoever interrupts what goes on until it is interrupted, is done.
    process.once('SIGINT', () => process.exit(Exit.Done));
    const asking = request({ socketPath: path, path: `/api/${call.command.name}`, method: 'POST', headers });
    asking.on('error', error => resolve(explain(error, path)));
    asking.on('response', response => resolve(show(response)));
    asking.end(body);
  });
}

/** By the names of the parameters, each as its kind reads it. */
function toNamed({ command, values: { bytes, ...values } }: Call): Readonly<Record<string, unknown>> {
  const given = Object.entries(values).filter(([, value]) => value !== undefined);
  const named = given.map(([name, value]) => [
    name,
    Array.isArray(value) ? value : command.parameters[name]?.kind.show(value),
  ]);
  return { ...Object.fromEntries(named), binary: bytes?.toString('base64') };
}

async function show(response: IncomingMessage): Promise<number> {
  const isDone = response.statusCode === 200;
  let error = '';
  try {
    for await (const piece of response) {
      const fault = isDone ? await printed(piece) : undefined;
      if (fault !== undefined) return notPrinted(fault);
      if (!isDone) error += piece;
    }
  } catch {
    return fail('the server ended before it had said everything', Exit.Failed);
  }
  if (isDone) return Exit.Done;
  return fail(sentenceOf(error), response.statusCode === 400 ? Exit.Usage : Exit.Failed);
}

function sentenceOf(text: string): string {
  return text.startsWith('{') ? String((JSON.parse(text) as { error: unknown }).error) : text.trimEnd();
}

function explain(error: NodeJS.ErrnoException, path: string): number {
  if (error.code === 'ENOENT' || error.code === 'ECONNREFUSED') {
    return fail(
      `no server takes commands at ${path}; start one, or tell where with --control`,
      Exit.NoServer,
    );
  }
  if (error.code === 'ECONNRESET' || error.code === 'EPIPE') {
    // libuv takes and drops those for whom there is no descriptor.
    const why = 'it ended, or may open no more files (ulimit -n)';
    return fail(`the server hung up before it had answered: ${why}`, Exit.Failed);
  }
  const why =
    error.code === 'EACCES' ? 'permission denied; it is for the user that the server runs as' : error.message;
  return fail(`cannot reach the server at ${path}: ${why}`, Exit.Failed);
}

function fail(sentence: string, exitCode: number): number {
  process.stderr.write(`pollywog: ${printableLine(sentence)}\n`);
  return exitCode;
}

/** Prints all that there is to say. @returns the exit code */
export async function print(text: string): Promise<number> {
  const fault = await printed(`${text}\n`);
  return fault === undefined ? Exit.Done : notPrinted(fault);
}

/** @returns why nothing more can be written to stdout, if so */
function printed(text: string | Buffer): Promise<NodeJS.ErrnoException | undefined> {
  return new Promise(resolve => {
    process.stdout.write(text, error => resolve(error ?? undefined));
  });
}

/** @returns the exit code: that nobody reads it any more, as `head` does not when it has its lines, is no failure */
function notPrinted(fault: NodeJS.ErrnoException): number {
  if (fault.code === 'EPIPE') return Exit.Done;
  return fail(`cannot write to stdout: ${whyUnwritable(fault)}`, Exit.Failed);
}

/** A command line with a command: a few ask nobody, all others are done by the server that runs. */

/**
 * @param argv without node and script
 * @param handlers the names that the option `default` may have
 * @returns the exit code; undefined where there is no command, and so a server is to be started
 * @throws UsageError
 */
export async function obeyCommandLine(
  argv: readonly string[],
  env: Environment,
  usual: DefaultPaths,
  handlers: readonly string[],
): Promise<number | undefined> {
  const [word, name] = wordsOf(argv);
  switch (word) {
    case undefined:
      return undefined;
    case 'help':
      return print(name === undefined ? helpOverview() : helpOn(name));
    case 'defaultconfig':
      return print(defaultFile());
    case 'checkconfig':
      return print(checkConfiguration(name, env, handlers, usual.configFiles));
    default:
      return recall(argv, env, usual);
  }
}
