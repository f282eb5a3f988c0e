/** Options for handlers that are programs, and the kinds of values that those have. */
import { defaults } from '../protocol/limits.ts';
import { UsageError } from './error.ts';
import type { OptionTable } from './option.ts';
import { count, duration, type Kind } from './values.ts';
import { splitWords } from './words.ts';

/** How messages are told apart on a program's stdin and stdout. */
export const programFormats = ['line', 'null', 'length', 'json'] as const;
export type ProgramFormat = (typeof programFormats)[number];

/** A handler that is a program of the user's. */
export interface ProgramEntry {
  /** Subprotocol, and first segment of the path. */
  readonly name: string;
  readonly format: ProgramFormat;
  /** The program and its arguments, at least one word. */
  readonly words: readonly string[];
  /** The same as the user wrote it. */
  readonly command: string;
}

/** What a shell would take for more than a character of a word. */
const shellCharacters = /[|&;<>()$`*?[\]{}~#!]/;

/**
 * Splits a command as a shell would, quotes and backslashes included, but expands nothing. What a shell would expand or
 * obey has to be quoted: so nothing is passed on as it stands that was meant otherwise.
 * @returns `undefined` where a quote is left open, or something is not quoted that a shell would see more in
 */
export function splitCommand(command: string): readonly string[] | undefined {
  try {
    return splitWords(command, readDouble, text => refuse(text, shellCharacters));
  } catch (error) {
    if (error instanceof UsageError) return undefined;
    throw error;
  }
}

/** In double quotes a backslash stands for itself, but before these four. */
function readDouble(text: string): string {
  refuse(text.replace(/\\./gs, ''), /[$`]/);
  return text.replace(/\\(["\\$`])/g, '$1');
}

function refuse(text: string, unfit: RegExp): void {
  if (unfit.test(text)) throw new UsageError('a shell would see more in it');
}

function parseProgram(raw: unknown): ProgramEntry | undefined {
  if (typeof raw !== 'string' || raw.includes('\0')) return undefined;
  const [, name, word = 'line', written] = /^([\w.~-]+)(?::([a-z]+))?=(.+)$/s.exec(raw) ?? [];
  const format = programFormats.find(known => known === word);
  if (name === undefined || format === undefined || /^\.+$/.test(name)) return undefined;
  const command = written!.trim();
  const words = splitCommand(command);
  return words?.[0] ? { name, format, words, command } : undefined;
}

/** A program as a handler. */
export const program: Kind<ProgramEntry> = {
  placeholder: 'CMD',
  expected:
    'NAME=COMMAND or NAME:FORMAT=COMMAND, with line, null, length or json for FORMAT, and plain words for COMMAND (what a shell would expand or obey is quoted, or the command is sh -c)',
  // Commands may have commas.
  separator: '\n',
  parse: parseProgram,
  show: ({ name, format, command }) => `${name}:${format}=${command}`,
};

/** The name of an environment variable. */
export const variableName: Kind<string> = {
  placeholder: 'NAME',
  expected: 'the name of an environment variable such as LANG',
  parse: raw => (typeof raw === 'string' && /^[A-Za-z_]\w*$/.test(raw) ? raw : undefined),
  show: name => name,
};

/** Their group in the table. */
export const programOptions = {
  exec: {
    kind: program,
    repeatable: true,
    default: [],
    needsRestart: true,
    group: 'Programs',
    help: 'NAME=COMMAND: a handler, one process per client',
  },
  execShared: {
    kind: program,
    repeatable: true,
    default: [],
    needsRestart: true,
    group: 'Programs',
    help: 'NAME=COMMAND: a handler, one process for all',
  },
  execEnv: {
    kind: variableName,
    repeatable: true,
    default: [],
    group: 'Programs',
    help: 'pass this environment variable on',
  },
  execMax: {
    kind: count,
    default: defaults.execMax,
    group: 'Programs',
    help: 'limit on processes of --exec',
  },
  execGrace: {
    kind: duration,
    default: defaults.execGrace,
    group: 'Programs',
    help: 'grace before SIGTERM, and before SIGKILL',
  },
} as const satisfies OptionTable;
