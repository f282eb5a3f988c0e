/**
 * The command line `pollywog COMMAND`. A few commands run in this process; all others are sent to the running server through
 * its control socket. The protocol there is plain HTTP, so `curl --unix-socket` works, too.
 */
import { readFileSync } from 'node:fs';
import { type IncomingMessage, request } from 'node:http';
import { inspectorPath } from '../handlers/inspector/messages.ts';
import { whyUnwritable } from '../log/log.ts';
import { printableLine } from '../log/printable.ts';
import { type Arguments, readArguments } from '../options/arguments.ts';
import { type Environment, readEnvironment } from '../options/environment.ts';
import { Exit, quoted, UsageError } from '../options/error.ts';
import { chooseFile, defaultFile, readFile } from '../options/file.ts';
import { flagName, type OptionTable, readValues } from '../options/option.ts';
import { controlPath, type DefaultPaths } from '../options/paths.ts';
import { serverOptions } from '../options/table.ts';
import { readText } from '../options/text.ts';
import { allowedOptions, showAllowed } from './allowed.ts';
import { checkOptions, runCheckCommand } from './check.ts';
import { checkConfiguration } from './checkConfig.ts';
import type { Call, Command } from './command.ts';
import {
  commands,
  parameterOptions,
  parseWords,
  unknownCommand,
  unreadable,
  wordOptions,
} from './commands.ts';
import { explainOptions, showExplanation } from './explain.ts';
import { allCommandNames, commandHelp, helpInJson, helpOn, helpOverview, localHelp } from './help.ts';
import { openLocalInspector } from './inspect.ts';

/**
 * @param argv without node and script
 * @param handlers the names that `--default-handler` accepts
 * @returns the exit code; undefined if there is no command, so a server is to start
 * @throws UsageError
 */
export async function runCommandLine(
  argv: readonly string[],
  env: Environment,
  usual: DefaultPaths,
  handlers: readonly string[],
): Promise<number | undefined> {
  const { given, words } = readArguments<string>(argv, anyOptions);
  const [word, name] = words;
  if (word === undefined) return undefined;
  const help = given.has('help') ? localHelp(word) : undefined;
  if (help !== undefined) return print(help);
  switch (word) {
    case 'help':
      if (given.has('json')) return print(helpInJson(name));
      return print(name === undefined ? helpOverview() : helpOn(name));
    case 'defaultconfig':
      return print(defaultFile());
    case 'checkconfig':
      return print(await checkConfiguration(name, env, handlers, usual.configFiles));
    case 'check':
      return runCheckCommand(argumentsOf('check', argv, checkOptions), print);
    case 'allowed':
      return print(
        showAllowed(argumentsOf('allowed', argv, allowedOptions), env, usual.configFiles, handlers),
      );
    case 'explain':
      return print(showExplanation(argumentsOf('explain', argv, explainOptions), showsColours(env)));
    case 'inspect':
      return runInspect(argumentsOf('inspect', argv, commandOptions), env, usual);
    default:
      return runOnServer(requireCommand(word, given), argv, env, usual);
  }
}

/** The options of a command line with a command; `control` and `config` locate the server. */
const commandOptions = {
  control: serverOptions.control,
  config: serverOptions.config,
  ...wordOptions,
  help: serverOptions.help,
} as const satisfies OptionTable;

/** Before the command is known, its options may be any. */
const anyOptions: OptionTable = {
  ...serverOptions,
  ...parameterOptions,
  ...commandOptions,
  ...checkOptions,
  ...allowedOptions,
  ...explainOptions,
};

/** @param options those that the command takes @throws UsageError for any other */
function argumentsOf(name: string, argv: readonly string[], options: OptionTable): Arguments<string> {
  const read = readArguments<string>(argv, anyOptions);
  const foreign = [...read.given.keys()].find(option => !Object.hasOwn(options, option));
  if (foreign === undefined) return { given: read.given, words: read.words.slice(1) };
  throw new UsageError(`${flagName(foreign)} is not an option of ${name}; see pollywog help ${name}`);
}

/**
 * Sends the command to the server, and prints the reply.
 * @returns the exit code
 * @throws UsageError
 */
async function runOnServer(
  command: Command,
  argv: readonly string[],
  env: Environment,
  usual: DefaultPaths,
): Promise<number> {
  const { given, words } = argumentsOf(command.name, argv, { ...parameterOptions, ...commandOptions });
  if (given.has('help')) return print(commandHelp(command));
  const { json, binary } = readValues(commandOptions, [given]);
  const bytes = binary === '' ? undefined : readBytes(binary);
  const call = parseWords(command, words.at(-1) === '-' && bytes === undefined ? withStdin(words) : words, {
    bytes,
    options: given,
  });
  return sendToServer(findControlSocket(given, env, usual), call, json);
}

/** @param given the options beside the name @throws UsageError: on a command line, an unknown command is wrong usage */
function requireCommand(name: string, given: ReadonlyMap<string, unknown>): Command {
  const found = commands.get(name);
  if (found !== undefined) return found;
  const startsServer = [...given.keys()].some(
    option => Object.hasOwn(serverOptions, option) && !Object.hasOwn(commandOptions, option),
  );
  if (startsServer)
    throw new UsageError(
      `unexpected argument ${quoted(name)}; put a value that contains spaces into quotes, or see --help`,
    );
  const advice = 'pollywog help lists them all, and pollywog without a command starts a server';
  throw new UsageError(unknownCommand(name, allCommandNames(), advice));
}

/** The words with the text on stdin in place of a final `-`. */
function withStdin(words: readonly string[]): string[] {
  const text = readText('stdin', readBytes('-'), 'convert it, or send bytes with --binary -');
  return [...words.slice(0, -1), text.replace(/\r?\n$/, '')];
}

/** Reads a file or stdin. Blocking is fine here, so it may be a pipe. */
function readBytes(path: string): Buffer {
  try {
    return readFileSync(path === '-' ? 0 : path);
  } catch (error) {
    throw unreadable(path, error);
  }
}

function findControlSocket(
  given: Parameters<typeof readValues>[1][number],
  env: Environment,
  usual: DefaultPaths,
): string {
  const options = { control: serverOptions.control, config: serverOptions.config };
  const sources = [given, readEnvironment(env)];
  const configFile = chooseFile(readValues(options, sources).config, usual.configFiles);
  const isGiven = sources.some(source => source.has('control'));
  if (configFile !== undefined && !isGiven) sources.push(readFile(configFile));
  const path = controlPath(readValues(options, sources), usual);
  if (path === undefined) {
    throw new UsageError('the server has no control socket (--control none); name one with --control');
  }
  return path;
}

/** Prints a link to the inspector, and forwards it until Ctrl-C. @returns the exit code @throws UsageError */
async function runInspect(
  { given, words }: Arguments<string>,
  env: Environment,
  usual: DefaultPaths,
): Promise<number> {
  if (words.length > 0 || given.has('json') || given.has('binary'))
    throw new UsageError('usage: pollywog inspect [--control FILE]');
  const path = findControlSocket(given, env, usual);
  const refusal = await probeInspector(path);
  if (refusal !== undefined) return refusal;
  const { link, close } = await openLocalInspector(path);
  const printed = await print(
    `Open this link in a browser on this machine; it works once. Ctrl-C ends it.\n${link}`,
  );
  if (printed !== Exit.Done) return printed;
  await new Promise(resolve => process.once('SIGINT', resolve).once('SIGTERM', resolve));
  close();
  return Exit.Done;
}

/** @returns the exit code if no server that has an inspector listens at this path */
function probeInspector(path: string): Promise<number | undefined> {
  return new Promise(resolve => {
    const get = request({ socketPath: path, path: inspectorPath });
    get.on('error', error => resolve(failToConnect(error, path)));
    get.on('response', response => {
      response.resume();
      if (response.statusCode === 200) resolve(undefined);
      else resolve(fail('the server has no inspector; it is an older version', Exit.Failed));
    });
    get.end();
  });
}

function sendToServer(path: string, call: Call, isJson: boolean): Promise<number> {
  const body = JSON.stringify(toNamed(call));
  const headers = {
    'Content-Type': 'application/json',
    'Content-Length': Buffer.byteLength(body),
    Accept: isJson ? 'application/json' : 'text/plain',
  };
  return new Promise(resolve => {
    // Ctrl-C is the normal end of a command that streams.
    process.once('SIGINT', () => process.exit(Exit.Done));
    const post = request({ socketPath: path, path: `/api/${call.command.name}`, method: 'POST', headers });
    post.on('error', error => resolve(failToConnect(error, path)));
    post.on('response', response => resolve(printResponse(response)));
    post.end(body);
  });
}

function toNamed({ command, parameters }: Call): Readonly<Record<string, unknown>> {
  const { bytes, ...values } = parameters;
  const given = Object.entries(values).filter(([, value]) => value !== undefined);
  const named = given.map(([name, value]) => [
    name,
    Array.isArray(value) ? value : command.parameters[name]?.kind.show(value),
  ]);
  return { ...Object.fromEntries(named), binary: bytes?.toString('base64') };
}

async function printResponse(response: IncomingMessage): Promise<number> {
  const isDone = response.statusCode === 200;
  let error = '';
  try {
    for await (const piece of response) {
      const writeError = isDone ? await writeStdout(piece) : undefined;
      if (writeError !== undefined) return failToPrint(writeError);
      if (!isDone) error += piece;
    }
  } catch {
    return fail('the server ended before its reply was complete', Exit.Failed);
  }
  if (isDone) return Exit.Done;
  return fail(sentenceOf(error), response.statusCode === 400 ? Exit.Usage : Exit.Failed);
}

function sentenceOf(text: string): string {
  return text.startsWith('{') ? String((JSON.parse(text) as { error: unknown }).error) : text.trimEnd();
}

function failToConnect(error: NodeJS.ErrnoException, path: string): number {
  if (error.code === 'ENOENT' || error.code === 'ECONNREFUSED') {
    return fail(
      `no server is running at ${path}; start one, or name its socket with --control`,
      Exit.NoServer,
    );
  }
  if (error.code === 'ECONNRESET' || error.code === 'EPIPE') {
    // Out of descriptors, libuv accepts and closes.
    const why = 'it ended, or cannot open more files (ulimit -n)';
    return fail(`the server closed the connection without a reply: ${why}`, Exit.Failed);
  }
  const why =
    error.code === 'EACCES' ? 'permission denied; run this as the user that runs the server' : error.message;
  return fail(`cannot reach the server at ${path}: ${why}`, Exit.Failed);
}

function fail(sentence: string, exitCode: number): number {
  process.stderr.write(`pollywog: ${printableLine(sentence)}\n`);
  return exitCode;
}

/** Prints the text and a newline. @returns the exit code */
export async function print(text: string): Promise<number> {
  const error = await writeStdout(`${text}\n`);
  return error === undefined ? Exit.Done : failToPrint(error);
}

/** https://no-color.org: a variable that is not empty turns colours off. */
function showsColours(env: Environment): boolean {
  return process.stdout.isTTY === true && (env['NO_COLOR'] ?? '') === '';
}

function writeStdout(text: string | Buffer): Promise<NodeJS.ErrnoException | undefined> {
  return new Promise(resolve => {
    process.stdout.write(text, error => resolve(error ?? undefined));
  });
}

/** A closed pipe is no failure: `head` exits when it has its lines. @returns the exit code */
function failToPrint(error: NodeJS.ErrnoException): number {
  if (error.code === 'EPIPE') return Exit.Done;
  return fail(`cannot write to stdout: ${whyUnwritable(error)}`, Exit.Failed);
}
