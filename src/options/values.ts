/** The kinds of values that options have. Each parses a word (flag, environment) or a JSON value. */

import { isToken } from '../protocol/http/fields.ts';
import { maxHistoryBytes } from '../protocol/limits.ts';
import { quoted, UsageError } from './error.ts';
import { splitCommand, splitWords } from './words.ts';

export interface Kind<T> {
  /** The value in `--help`, such as SIZE; empty for a flag, which takes none. */
  readonly placeholder: string;
  /** What a value must be: completes the sentence "--port must be …". */
  readonly expected: string;
  /** Separates several values in one environment variable; a comma by default. */
  readonly separator?: string;
  /** @param raw a string or a JSON value @returns undefined if it is invalid */
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

/** The longest delay of a timer, in milliseconds (31 bits, 24.8 days): Node fires at once after any longer one. */
export const maxTimerDelay = 2 ** 31 - 1;

/** The delay for a timer whose time was calculated: a timer that cannot wait that long fires early, and not at once. */
export function timerDelay(milliseconds: number): number {
  return Math.min(milliseconds, maxTimerDelay);
}

export const maxDuration = 24 * 24 * hour;

/** Units in lower case, in order of preference for display; the empty unit is that of a plain number. */
type Units = ReadonlyMap<string, number>;

const sizeUnits: Units = new Map([
  ...Object.entries({ gb: GiB, mb: MiB, kb: KiB, b: 1 }),
  ...Object.entries({ gib: GiB, mib: MiB, kib: KiB, g: GiB, m: MiB, k: KiB, '': 1 }),
]);
const durationUnits: Units = new Map(Object.entries({ h: hour, m: minute, s: second, ms: 1, '': second }));

/** A word, or a JSON number as a word. */
function wordOf(raw: unknown): string | undefined {
  if (typeof raw === 'string') return raw;
  if (typeof raw === 'number' && Number.isSafeInteger(raw)) return String(raw);
  return undefined;
}

/** Decimal digits only: no sign, no exponent, no hexadecimal, and no leading zero, which means octal elsewhere. */
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

/** A TCP port; 0 for any free one. */
export const port: Kind<number> = {
  placeholder: 'N',
  expected: 'a number from 0 to 65535',
  parse: raw => parseWholeNumber(raw, 65_535),
  show: String,
};

/** A number; 0 means no limit and stays 0. */
export const count: Kind<number> = {
  placeholder: 'N',
  expected: 'a whole number such as 1000',
  parse: raw => parseWholeNumber(raw, Number.MAX_SAFE_INTEGER),
  show: String,
};

/** A number, or half of the connections; 0 means no limit and stays 0. */
export const countOrHalf: Kind<number | 'half'> = {
  placeholder: 'N',
  expected: 'a whole number such as 1000, or half',
  parse: raw => (raw === 'half' ? raw : count.parse(raw)),
  show: String,
};

/** Bytes, with KB and KiB both 1024; 0 means no limit and becomes Infinity. */
export const size: Kind<number> = {
  placeholder: 'SIZE',
  expected: 'a size such as 16MB or 512KB',
  parse(raw) {
    const bytes = parseMeasure(raw, sizeUnits, Number.MAX_SAFE_INTEGER);
    return bytes === 0 ? Number.POSITIVE_INFINITY : bytes;
  },
  show: bytes => showMeasure(bytes, sizeUnits).toUpperCase(),
};

/** Milliseconds, written in seconds without a unit; 0 means no limit and stays 0. */
export const duration: Kind<number> = {
  placeholder: 'TIME',
  expected: 'a time such as 30s, 500ms or 2m (at most 24 days)',
  parse: raw => parseMeasure(raw, durationUnits, maxDuration),
  show: milliseconds => showMeasure(milliseconds, durationUnits),
};

/** How long a message is kept, in milliseconds: no timer waits for it, so it may be longer than a `duration`. */
export const timeToLive: Kind<number> = {
  ...duration,
  expected: 'a time such as 60 (seconds) or 5m',
  parse: raw => parseMeasure(raw, durationUnits, Number.MAX_SAFE_INTEGER),
};

/** Events per second on average, and at once. Both 0: no limit. */
export interface Rate {
  readonly perSecond: number;
  readonly burst: number;
}

const rateUnits: Units = new Map(Object.entries({ s: 1, m: 60, h: 3600 }));

/** The burst if none is given: the events of a second, at least 1. */
const usualBurst = (perSecond: number) => Math.max(1, Math.ceil(perSecond));

export const rate: Kind<Rate> = {
  placeholder: 'RATE',
  expected: 'a rate such as 50/s, 50/s:100 (and a burst) or 10/m, or 0 for no limit',
  parse(raw) {
    const word = wordOf(raw) ?? '';
    if (word === '0') return { perSecond: 0, burst: 0 };
    const [, number, unit = '', most] = /^([1-9]\d{0,8})\/([smh])(?::([1-9]\d{0,8}))?$/.exec(word) ?? [];
    if (number === undefined) return undefined;
    const perSecond = Number(number) / rateUnits.get(unit)!;
    return { perSecond, burst: most === undefined ? usualBurst(perSecond) : Number(most) };
  },
  show({ perSecond, burst }) {
    if (perSecond === 0) return '0';
    const [unit = 'h', seconds = 3600] =
      [...rateUnits].find(([, length]) => Number.isInteger(roundedRate(perSecond * length))) ?? [];
    const most = burst === usualBurst(perSecond) ? '' : `:${burst}`;
    return `${roundedRate(perSecond * seconds)}/${unit}${most}`;
  },
};

/** Removes the rounding error of a division. */
const roundedRate = (value: number) => Math.round(value * 1e6) / 1e6;

/** A folder. @param none the word for no folder, which becomes '' */
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

/** The name of a handler that may not be loaded yet: a token (RFC 6455 §4.1, 10). */
export const handlerName: Kind<string> = {
  placeholder: 'NAME',
  expected: 'the name of a handler',
  parse: raw => (typeof raw === 'string' && isToken(raw) ? raw : undefined),
  show: name => name,
};

/** A file; `auto` for the default path, `none` for no file. A file with that name is `./auto`. */
export const file: Kind<string> = {
  placeholder: 'FILE',
  expected: 'the path of a file, auto or none',
  parse: raw => (typeof raw === 'string' && raw !== '' && !raw.includes('\0') ? raw : undefined),
  show: path => path,
};

/** A file within the folder of `--static`, or `none`. */
export const sitePath: Kind<string> = {
  placeholder: 'PATH',
  expected: 'the path of a file in the folder of --static, such as index.html, or none',
  parse: raw =>
    typeof raw === 'string' && /^[^/\\\p{Cc}]+(?:\/[^/\\\p{Cc}]+)*$/u.test(raw) && !/(?:^|\/)\./.test(raw)
      ? raw
      : undefined,
  show: path => path,
};

/** A file to send as it is; `-` is stdin; empty: none. */
export const bytesFile: Kind<string> = {
  placeholder: 'FILE',
  expected: 'the path of a file, or -',
  parse: raw => (typeof raw === 'string' && raw !== '' && !raw.includes('\0') ? raw : undefined),
  show: path => path,
};

/** The length of a history: a number of messages, or bytes; 0 of either for none. */
export const historyBound: Kind<{ readonly messages: number; readonly bytes: number }> = {
  placeholder: 'N|SIZE',
  expected: 'a number of messages such as 100, or a size such as 64KB',
  parse(raw) {
    const messages = count.parse(raw);
    if (messages !== undefined) return { messages, bytes: maxHistoryBytes };
    const bytes = size.parse(raw);
    if (bytes === undefined) return undefined;
    if (bytes === Number.POSITIVE_INFINITY) return { messages: 0, bytes: maxHistoryBytes };
    return { messages: Number.MAX_SAFE_INTEGER, bytes };
  },
  show: ({ messages, bytes }) => (messages < Number.MAX_SAFE_INTEGER ? String(messages) : size.show(bytes)),
};

/** Which channels are chat rooms: the name of one, in which `*` stands for any characters; or `none`. */
export const roomPattern: Kind<string> = {
  placeholder: 'PATTERN',
  expected: 'the name of a room, in which * stands for any characters, or none',
  parse: raw => (typeof raw === 'string' && raw !== '' && !/\p{Cc}/u.test(raw) ? raw : undefined),
  show: pattern => pattern,
};

/** A pattern for the numbers or names of conformance cases: `6.4.*`, `utf8/*`. */
export const casePattern: Kind<string> = {
  placeholder: 'PATTERN',
  expected: 'the number or name of a case, or a pattern such as 12.* or utf8/*',
  parse: raw => (typeof raw === 'string' && /^[\w.*/-]{1,100}$/.test(raw) ? raw : undefined),
  show: pattern => pattern,
};

/** A flag on the command line; true or false elsewhere. */
export const flag: Kind<boolean> = {
  placeholder: '',
  expected: 'true or false',
  parse: raw => (typeof raw === 'boolean' ? raw : undefined),
  show: String,
};

/** One of `words`, case-sensitive. */
export function choice<const Word extends string>(words: readonly Word[], placeholder: string): Kind<Word> {
  const last = words.at(-1) ?? '';
  return {
    placeholder,
    expected: words.length > 1 ? `${words.slice(0, -1).join(', ')} or ${last}` : last,
    parse: raw => words.find(word => word === raw),
    show: word => word,
  };
}

/** How messages are separated on a program's stdin and stdout. */
export const programFormats = ['line', 'null', 'length', 'json'] as const;
export type ProgramFormat = (typeof programFormats)[number];

/** A handler that runs a program. */
export interface ProgramEntry {
  /** The subprotocol, and the first segment of the path. */
  readonly name: string;
  readonly format: ProgramFormat;
  /** The program and its arguments. */
  readonly words: readonly string[];
  /** The command as the user wrote it. */
  readonly command: string;
}

/** @throws UsageError for an unknown format, and for a command that only a shell could run */
function parseProgram(raw: unknown): ProgramEntry | undefined {
  if (typeof raw !== 'string' || raw.includes('\0')) return undefined;
  const [, name, word = 'line', written] = /^([\w.~-]+)(?::([a-z]+))?=(.+)$/s.exec(raw) ?? [];
  if (name === undefined || /^\.+$/.test(name)) return undefined;
  const format = programFormats.find(known => known === word);
  if (format === undefined)
    throw new UsageError(`the format must be ${programFormats.join(', ')}, not ${quoted(word)}`);
  const command = written!.trim();
  const words = splitCommand(command);
  if (words === undefined)
    throw new UsageError(
      `${quoted(command)} has an unquoted shell character or an open quote; add quotes, or run a shell with sh -c`,
    );
  return words[0] ? { name, format, words, command } : undefined;
}

export const program: Kind<ProgramEntry> = {
  placeholder: 'CMD',
  expected: 'NAME=COMMAND such as shout=./shout.sh, or NAME:FORMAT=COMMAND such as order:json=./orders.py',
  // A command may contain commas.
  separator: '\n',
  parse: parseProgram,
  show: ({ name, format, command }) => `${name}:${format}=${command}`,
};

/** Faults for a handler's connections. handlers/faults/ checks the words once all handlers are loaded. */
export interface FaultEntry {
  readonly handler: string;
  readonly words: readonly string[];
  readonly text: string;
}

export const faultEntry: Kind<FaultEntry> = {
  placeholder: 'FAULTS',
  expected: 'HANDLER: FAULT..., such as echo: delay=200ms after=3',
  // The reason of a close frame may contain commas.
  separator: '\n',
  parse(raw) {
    const [, handler = '', text = ''] =
      typeof raw === 'string' ? (/^([^\s:]+):\s*(.+)$/s.exec(raw) ?? []) : [];
    return isToken(handler) ? { handler, words: splitWords(text), text } : undefined;
  },
  show: ({ handler, text }) => `${handler}: ${text}`,
};

/** The name of an environment variable. */
export const variableName: Kind<string> = {
  placeholder: 'NAME',
  expected: 'the name of an environment variable such as LANG',
  parse: raw => (typeof raw === 'string' && /^[A-Za-z_]\w*$/.test(raw) ? raw : undefined),
  show: name => name,
};

/** The path of a file that is read later. No word such as `none` has another meaning. */
export const namedFile: Kind<string> = {
  placeholder: 'FILE',
  expected: 'the path of a file',
  parse: raw => (typeof raw === 'string' && raw !== '' && !raw.includes('\0') ? raw : undefined),
  show: path => path,
};

/** The required value of a claim; `none`, which becomes '': any value. */
export const claimValue: Kind<string> = {
  placeholder: 'TEXT',
  expected: 'a text without control characters, or none',
  parse(raw) {
    if (typeof raw !== 'string' || raw === '' || /\p{Cc}/u.test(raw)) return undefined;
    return raw === 'none' ? '' : raw;
  },
  show: text => (text === '' ? 'none' : text),
};

/** The name of a cookie: a token (RFC 6265 §4.1.1). */
export const cookieName: Kind<string> = {
  placeholder: 'NAME',
  expected: 'the name of a cookie such as PHPSESSID',
  parse: raw => (typeof raw === 'string' && isToken(raw) ? raw : undefined),
  show: name => name,
};

/** The same, or `none`, which becomes ''. */
export const optionalCookie: Kind<string> = {
  placeholder: 'NAME',
  expected: 'the name of a cookie, or none',
  parse: raw => (raw === 'none' ? '' : cookieName.parse(raw)),
  show: name => (name === '' ? 'none' : name),
};

/** The speed of a replay, as a multiple of the recorded one; Infinity: as fast as the server answers. */
export const speed: Kind<number> = {
  placeholder: 'SPEED',
  expected: 'max, or a number such as 1 (as recorded) or 10',
  parse(raw) {
    if (raw === 'max') return Number.POSITIVE_INFINITY;
    const times = typeof raw === 'string' && /^\d{1,6}(\.\d{1,3})?$/.test(raw) ? Number(raw) : 0;
    return times > 0 ? times : undefined;
  },
  show: value => (value === Number.POSITIVE_INFINITY ? 'max' : String(value)),
};
