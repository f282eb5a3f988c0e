/** Options from the command line. */

import minimist from 'minimist';
import { invalidValue, nearest, quoted, UsageError } from './error.ts';
import { bySpelling, flagName, givenTwice, isFlag, type OptionTable, type RawValue } from './option.ts';

/** A command line, split into options and other words. */
export interface Arguments<Name extends string> {
  readonly given: ReadonlyMap<Name, RawValue>;
  /** Words that belong to no option, in order. */
  readonly words: readonly string[];
}

/** A flag of the table, and how messages call it: by its long name, or by the alias that was written. */
interface Flag<Name extends string> {
  readonly name: Name;
  readonly label: string;
}

/** A word of the command line that names an option. */
interface OptionWord<Name extends string> extends Flag<Name> {
  /** The value in the word itself: `--port=80`, `-p80`, `-p=80`. */
  readonly value: string | undefined;
}

/**
 * Splits a command line (without node and script).
 *
 * minimist accepts too much (unknown names, `--no-x` for any x, clusters, `--constructor`), so every word that starts with a
 * hyphen is looked up in the table first, and minimist receives only options with a value, by their long names. That is
 * safe word by word, because minimist never takes a word with a hyphen as the value of the word before it.
 * @throws UsageError
 */
export function readArguments<Name extends string>(
  argv: readonly string[],
  options: OptionTable<Name>,
): Arguments<Name> {
  // The common case for commands, of which a spool can hold many: minimist would be slow.
  if (!argv.some(startsOption)) return { given: new Map(), words: argv };
  const flags = flagsOf(options);
  const end = argv.includes('--') ? argv.indexOf('--') : argv.length;
  const given = new Map<Name, RawValue>();
  const checked: string[] = [];
  for (const [at, word] of argv.slice(0, end).entries()) {
    if (!startsOption(word)) {
      checked.push(word);
      continue;
    }
    const { name, label, value } = readOptionWord(
      word,
      at + 1 < end ? argv[at + 1] : undefined,
      options,
      flags,
    );
    const before = given.get(name);
    if (before !== undefined && !options[name].repeatable) throw givenTwice(before.label, label);
    given.set(name, { label, raw: true });
    const flag = flagName(name);
    if (!isFlag(options[name])) checked.push(value === undefined ? flag : `${flag}=${value}`);
  }

  const split = minimist([...checked, ...argv.slice(end)], {
    // Without this, minimist converts digits to numbers. `_` holds the words that belong to no option.
    string: [...Object.keys(options).map(longName), '_'],
  });
  for (const [name, { label, raw }] of given) given.set(name, { label, raw: split[longName(name)] ?? raw });
  return { given, words: split._ };
}

/** Every flag of the table: long ones, aliases and short ones. */
function flagsOf<Name extends string>(options: OptionTable<Name>): ReadonlyMap<string, Flag<Name>> {
  const entries = Object.entries(options) as [Name, OptionTable[string]][];
  const long = [...bySpelling(entries, longFlag)];
  return new Map([
    ...long.map(([flag, [name]]) => [flag, { name, label: flag }] as const),
    ...entries.flatMap(([name, { short, alias }]) =>
      [short, alias]
        .filter(letter => letter?.length === 1)
        .map(letter => [`-${letter}`, { name, label: flagName(name) }] as const),
    ),
  ]);
}

function longFlag(hyphenatedName: string): string {
  return `--${hyphenatedName}`;
}

function longName(name: string): string {
  return flagName(name).slice(2);
}

function startsOption(word: string): boolean {
  return word.startsWith('-') && word !== '-';
}

/** The option that `word` names. A value must be in `word` or in `next`, and a flag must not have one. */
function readOptionWord<Name extends string>(
  word: string,
  next: string | undefined,
  options: OptionTable<Name>,
  flags: ReadonlyMap<string, Flag<Name>>,
): OptionWord<Name> {
  const [, written = '', equals, digits] = /^(--[^=]+|-[a-z0-9])(?:=(.*)|([0-9]+))?$/is.exec(word) ?? [];
  const flag = flags.get(written);
  if (flag === undefined) throw unknownOption(word, options);
  const { name, label } = flag;
  const value = equals ?? digits;
  if (isFlag(options[name])) {
    if (value !== undefined) throw new UsageError(`${label} takes no value; remove ${quoted(value)}`);
  } else if (value === undefined && (next === undefined || startsOption(next))) {
    throw invalidValue(label, options[name].kind.expected, next);
  }
  return { name, label, value };
}

function unknownOption(word: string, options: OptionTable): UsageError {
  const [name = word] = word.split('=', 1);
  const shown = /^[!-~]{1,40}$/.test(name) ? name : quoted(name);
  const likely = nearest(name.replace(/^-+/, ''), Object.keys(options).map(longName));
  // `publish pond "- milk"`, `publish pond -5`
  const isText = /\s|^-\d/.test(word);
  const advice = isText ? 'put -- before a text that begins with a hyphen' : 'see --help';
  return new UsageError(`unknown option ${shown}; ${likely ? `did you mean --${likely}?` : advice}`);
}
