/** Finds a program's file, and explains why it does not start: an ENOENT is often about a script's first line. */
import { accessSync, closeSync, constants, existsSync, openSync, readSync, statSync } from 'node:fs';
import { basename, delimiter, join } from 'node:path';
import { quoted, UsageError } from '../../options/error.ts';
import type { ProgramEntry } from '../../options/values.ts';

/** Searches PATH as the system does. */
export function findProgram(word: string): string | undefined {
  const folders = word.includes('/') ? [''] : (process.env['PATH'] ?? '').split(delimiter);
  return folders.map(folder => (folder === '' ? word : join(folder, word))).find(isProgram);
}

function isProgram(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return statSync(path).isFile();
  } catch {
    return false;
  }
}

/** Checks a program at the start of the server, so that the first client does not find the mistake. @throws UsageError */
export function checkProgram({ name, words }: ProgramEntry): void {
  const [word] = words as [string];
  const path = findProgram(word);
  if (path === undefined) {
    throw new UsageError(`the program ${quoted(word)} of the handler ${name} ${whyNotFound(word)}`);
  }
  const fault = scriptFault(path);
  if (fault !== undefined)
    throw new UsageError(`the program ${quoted(word)} of the handler ${name} ${fault}`);
}

function whyNotFound(word: string): string {
  if (!word.includes('/')) return 'is not on the PATH: write its full path';
  if (!existsSync(word)) return 'does not exist: correct its path';
  return statSync(word).isFile()
    ? 'is not executable: run chmod +x on it'
    : 'is not a file: correct its path';
}

/** @returns the problem with a script's first line and its remedy, a sentence without its subject; `undefined` if there is none */
export function scriptFault(path: string): string | undefined {
  const line = firstLine(path);
  if (line.startsWith('\ufeff#!'))
    return 'begins with a byte order mark, which hides its #! from the system: save it without one';
  const [, interpreter, argument = ''] = /^#![ \t]*([^ \t]+)[ \t]*(.*)$/s.exec(line) ?? [];
  if (interpreter === undefined) return undefined;
  const isEnv = basename(interpreter) === 'env';
  if (interpreter.endsWith('\r') || (isEnv && argument.endsWith('\r'))) {
    const name = isEnv ? argument : interpreter;
    return `has CRLF line ends, so the system looks for an interpreter ${JSON.stringify(name)}: convert them to LF, for instance with sed -i 's/\\r$//'`;
  }
  if (!existsSync(interpreter)) return missing(interpreter);
  const program = isEnv ? programOfEnv(argument) : undefined;
  return program !== undefined && findProgram(program) === undefined ? missing(program) : undefined;
}

function missing(interpreter: string): string {
  return `needs the interpreter ${JSON.stringify(interpreter)}, which does not exist: install it, or correct the first line`;
}

/** The program that `env` starts; `undefined` if its arguments are not simple. */
function programOfEnv(argument: string): string | undefined {
  const isSplit = argument.startsWith('-S');
  const words = (
    isSplit
      ? argument
          .slice(2)
          .trim()
          .split(/[ \t]+/)
      : [argument]
  ).filter(word => !/^\w+=/.test(word));
  return words[0] === undefined || /^$|^-|['"\\$]/.test(words[0]) ? undefined : words[0];
}

/** Linux reads the first 256 bytes of a script. */
const longestFirstLine = 256;

function firstLine(path: string): string {
  try {
    const descriptor = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
    try {
      const bytes = Buffer.alloc(longestFirstLine);
      const text = bytes.toString('utf8', 0, readSync(descriptor, bytes, 0, longestFirstLine, 0));
      const end = text.indexOf('\n');
      return end < 0 ? text : text.slice(0, end);
    } finally {
      closeSync(descriptor);
    }
  } catch {
    // A file that can be executed but not read is not a script.
    return '';
  }
}

/** Why the system could not start the program, if that is more than the error says. */
export function explainStartFailure(
  words: readonly string[],
  { code }: NodeJS.ErrnoException,
): string | undefined {
  const path = findProgram(words[0]!);
  if (path === undefined)
    return code === 'ENOENT' ? `the program ${JSON.stringify(words[0])} no longer exists` : undefined;
  const fault = scriptFault(path);
  if (fault !== undefined) return `${path} ${fault}`;
  if (code === 'ENOENT')
    return `${path} needs a dynamic linker that does not exist: it was built for another system`;
  if (code === 'ENOEXEC')
    return `${path} is neither a program for this system nor a script that begins with #!`;
  return undefined;
}

/** The exit codes of `env` and shells if they cannot execute or find a program. */
const notExecuted = [126, 127];

export function explainExit(words: readonly string[], exit: number | string): string | undefined {
  if (!notExecuted.includes(exit as number)) return undefined;
  const path = findProgram(words[0]!);
  const fault = path === undefined ? undefined : scriptFault(path);
  return fault === undefined ? undefined : `${path} ${fault}`;
}
