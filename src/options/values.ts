/** The kinds of values an option can have. Each reads a word (flag, environment) or a JSON value alike. */

import { isToken } from '../protocol/http/fields.ts';
import { maxHistoryBytes } from '../protocol/limits.ts';
import { splitCommand } from './words.ts';

export interface Kind<T> {
  /** What stands for the value in `--help`; empty for a flag, which takes none. */
  readonly placeholder: string;
  /** What a value must be: completes the sentence "--port must be …". */
  readonly expected: string;
  /** What stands between several values in one environment variable; a comma, if not given. */
  readonly separator?: string;
  /** The value that `raw`, a string or a JSON value, stands for; undefined when it is unfit. */
  parse(raw: unknown): T | undefined;
  /** A value as the user would write it; `parse` reads it back. */
  show(value: T): string;
}

const KiB = 1024;
const MiB = 1024 * KiB;
const GiB = 1024 * MiB;
const second = 1000;
const minute = 60 * second;
const hour = 60 * minute;

/** setTimeout takes 31 bits of milliseconds, 24.8 days, and fires at once for anything longer. */
const longestDuration = 24 * 24 * hour;

/** Units in lower case, those to show first; the empty one is that of a plain number. */
type Units = ReadonlyMap<string, number>;

const sizeUnits: Units = new Map([
  ...Object.entries({ gb: GiB, mb: MiB, kb: KiB, b: 1 }),
  ...Object.entries({ gib: GiB, mib: MiB, kib: KiB, g: GiB, m: MiB, k: KiB, '': 1 }),
]);
const durationUnits: Units = new Map(Object.entries({ h: hour, m: minute, s: second, ms: 1, '': second }));

/** A word, or a JSON number as one: both are read by the same rules. */
function wordOf(raw: unknown): string | undefined {
  if (typeof raw === 'string') return raw;
  if (typeof raw === 'number' && Number.isSafeInteger(raw)) return String(raw);
  return undefined;
}

/** Decimal digits only: no sign, no exponent, no hexadecimal, no leading zero (an octal port, elsewhere). */
function parseWholeNumber(raw: unknown, largest: number): number | undefined {
  const word = wordOf(raw);
  if (word === undefined || !/^(0|[1-9][0-9]*)$/.test(word)) return undefined;
  const number = Number(word);
  return number <= largest ? number : undefined;
}

function parseMeasure(raw: unknown, units: Units, largest: number): number | undefined {
  const [, digits, unit] = /^([0-9]+)([a-z]*)$/i.exec(wordOf(raw) ?? '') ?? [];
  const number = parseWholeNumber(digits, largest);
  const factor = units.get((unit ?? '').toLowerCase());
  if (number === undefined || factor === undefined) return undefined;
  return number * factor <= largest ? number * factor : undefined;
}

function showMeasure(value: number, units: Units): string {
  for (const [unit, factor] of units) {
    if (value > 0 && value % factor === 0) return `${value / factor}${unit}`;
  }
  return '0';
}

/** A TCP port; 0 leaves the choice to the system. */
export const port: Kind<number> = {
  placeholder: 'N',
  expected: 'a number from 0 to 65535',
  parse: raw => parseWholeNumber(raw, 65_535),
  show: String,
};

/** A number of things; 0 switches the limit off and stays 0. */
export const count: Kind<number> = {
  placeholder: 'N',
  expected: 'a whole number such as 1000',
  parse: raw => parseWholeNumber(raw, Number.MAX_SAFE_INTEGER),
  show: String,
};

/** A number of things, or half of what there is; 0 switches the limit off and stays 0. */
export const countOrHalf: Kind<number | 'half'> = {
  placeholder: 'N',
  expected: 'a whole number such as 1000, or half',
  parse: raw => (raw === 'half' ? raw : count.parse(raw)),
  show: String,
};

/** A limit in bytes, KB and KiB both being 1024; 0 switches it off and becomes Infinity. */
export const size: Kind<number> = {
  placeholder: 'SIZE',
  expected: 'a size such as 16MB or 512KB',
  parse(raw) {
    const bytes = parseMeasure(raw, sizeUnits, Number.MAX_SAFE_INTEGER);
    return bytes === 0 ? Number.POSITIVE_INFINITY : bytes;
  },
  show: bytes => showMeasure(bytes, sizeUnits).toUpperCase(),
};

/** A time in milliseconds, written in seconds when it has no unit; 0 switches the limit off and stays 0. */
export const duration: Kind<number> = {
  placeholder: 'TIME',
  expected: 'a time such as 30s, 500ms or 2m (at most 24 days)',
  parse: raw => parseMeasure(raw, durationUnits, longestDuration),
  show: milliseconds => showMeasure(milliseconds, durationUnits),
};

/** A folder. @param none the word for having none, which becomes empty */
export function directory(none: string): Kind<string> {
  return {
    placeholder: 'DIR',
    expected: `the path of a folder, or ${none}`,
    parse(raw) {
      if (typeof raw !== 'string' || raw === '' || raw.includes('\0')) return undefined;
      return raw === none ? '' : raw;
    },
    show: path => (path === '' ? none : path),
  };
}

/** What a handler may be called, where it is not known yet which there are: a token (RFC 6455 §4.1, 10). */
export const handlerName: Kind<string> = {
  placeholder: 'NAME',
  expected: 'the name of a handler',
  parse: raw => (typeof raw === 'string' && isToken(raw) ? raw : undefined),
  show: name => name,
};

/** A file; `auto` for the usual one, `none` for no file. One that is called so is `./auto`. */
export const file: Kind<string> = {
  placeholder: 'FILE',
  expected: 'the path of a file, auto or none',
  parse: raw => (typeof raw === 'string' && raw !== '' && !raw.includes('\0') ? raw : undefined),
  show: path => path,
};

/** A file to be read as it is; `-` is stdin. Empty: none. */
export const bytesFile: Kind<string> = {
  placeholder: 'FILE',
  expected: 'the path of a file, or -',
  parse: raw => (typeof raw === 'string' && raw !== '' && !raw.includes('\0') ? raw : undefined),
  show: path => path,
};

/** What is remembered: a number of messages, or so many bytes of them; 0 is nothing. */
export const historyBound: Kind<{ readonly messages: number; readonly bytes: number }> = {
  placeholder: 'N|SIZE',
  expected: 'a number of messages such as 100, or a size such as 64KB',
  parse(raw) {
    const messages = count.parse(raw);
    if (messages !== undefined) return { messages, bytes: maxHistoryBytes };
    const bytes = size.parse(raw);
    return bytes === undefined ? undefined : { messages: Number.MAX_SAFE_INTEGER, bytes };
  },
  show: ({ messages, bytes }) => (messages < Number.MAX_SAFE_INTEGER ? String(messages) : size.show(bytes)),
};

/** Given or not; in JSON true or false. */
export const flag: Kind<boolean> = {
  placeholder: '',
  expected: 'true or false',
  parse: raw => (typeof raw === 'boolean' ? raw : undefined),
  show: String,
};

/** One of `words`, to the letter. */
export function choice<const Word extends string>(words: readonly Word[], placeholder: string): Kind<Word> {
  const last = words.at(-1) ?? '';
  return {
    placeholder,
    expected: words.length > 1 ? `${words.slice(0, -1).join(', ')} or ${last}` : last,
    parse: raw => words.find(word => word === raw),
    show: word => word,
  };
}

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

/** A file in the PEM format; whoever uses it reads it. */
export const pemFile: Kind<string> = {
  placeholder: 'FILE',
  expected: 'the path of a file',
  parse: raw => (typeof raw === 'string' && raw !== '' && !raw.includes('\0') ? raw : undefined),
  show: path => path,
};
