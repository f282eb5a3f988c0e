/** Why a program that is there does not start: what the system reports as ENOENT is often about a script's first line. */
import { accessSync, closeSync, constants, existsSync, openSync, readSync, statSync } from 'node:fs';
import { basename, delimiter, join } from 'node:path';
import { quoted, UsageError } from '../../options/error.ts';
import type { ProgramEntry } from '../../options/values.ts';

/** The program's file, as the system will find it. */
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

/** So that a slip is found at the start, and not by the first who connects. */
export function checkProgram({ name, words }: ProgramEntry): void {
  const [word] = words as [string];
  const path = findProgram(word);
  if (path === undefined) {
    const where = word.includes('/') ? 'or it may not be run' : 'on the PATH';
    throw new UsageError(`the program ${quoted(word)} of the handler ${name} is not there, ${where}`);
  }
  const fault = scriptFault(path);
  if (fault !== undefined)
    throw new UsageError(`the program ${quoted(word)} of the handler ${name} ${fault}`);
}

/** @returns what is wrong with a script's first line and what to do, in a sentence without its subject; `undefined` if nothing is */
export function scriptFault(path: string): string | undefined {
  const line = firstLine(path);
  if (line.startsWith('\ufeff#!'))
    return 'begins with a byte order mark, so that the system does not see its #!: save it without one';
  const [, interpreter, argument = ''] = /^#![ \t]*([^ \t]+)[ \t]*(.*)$/s.exec(line) ?? [];
  if (interpreter === undefined) return undefined;
  const isEnv = basename(interpreter) === 'env';
  if (interpreter.endsWith('\r') || (isEnv && argument.endsWith('\r'))) {
    const name = isEnv ? argument : interpreter;
    return `has CRLF line ends, so that the system looks for an interpreter ${JSON.stringify(name)}: save it with LF, as sed -i 's/\\r$//' does`;
  }
  if (!existsSync(interpreter)) return missing(interpreter);
  const program = isEnv ? programOfEnv(argument) : undefined;
  return program !== undefined && findProgram(program) === undefined ? missing(program) : undefined;
}

function missing(interpreter: string): string {
  return `wants the interpreter ${JSON.stringify(interpreter)}, which does not exist: install it, or correct the first line`;
}

/** What `env` is to start; `undefined` if that is not plain. */
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

/** Linux reads 256 bytes of it. */
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
    // One that may be run but not read is no script.
    return '';
  }
}

/** Why the system could not start it, if more can be said than the error does. */
export function explainFailure(
  words: readonly string[],
  { code }: NodeJS.ErrnoException,
): string | undefined {
  const path = findProgram(words[0]!);
  if (path === undefined)
    return code === 'ENOENT' ? `there is no program ${JSON.stringify(words[0])} any more` : undefined;
  const fault = scriptFault(path);
  if (fault !== undefined) return `${path} ${fault}`;
  if (code === 'ENOENT')
    return `${path} wants a dynamic linker that does not exist: it was made for another system`;
  if (code === 'ENOEXEC') return `${path} is no program of this system, and no script that begins with #!`;
  return undefined;
}

/** `env` and shells end with these codes if they cannot find or start a program. */
const notFound = [126, 127];

export function explainExit(words: readonly string[], exit: number | string): string | undefined {
  if (!notFound.includes(exit as number)) return undefined;
  const path = findProgram(words[0]!);
  const fault = path === undefined ? undefined : scriptFault(path);
  return fault === undefined ? undefined : `${path} ${fault}`;
}
