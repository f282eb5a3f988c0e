import minimist from 'minimist';
import { invalidValue, nearest, quoted, UsageError } from './error.ts';
import { bySpelling, flagName, type Given, givenTwice, isFlag, type OptionTable } from './option.ts';

/** A command line, split but its values not read yet. */
export interface Arguments<Name extends string> {
  readonly given: ReadonlyMap<Name, Given>;
  /** What belongs to no option, in order. */
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
 * Splits a command line (without node and script) by a program's table of options. Throws UsageError.
 *
 * minimist forgives much (unknown names, `--no-x` for any x, clusters, `--constructor`), so each word that starts with a
 * hyphen is held against the table first, and minimist gets only options that take a value, by their long names. Going
 * word by word is safe, as minimist never takes a word that starts with a hyphen for the value of the one before it.
 */
export function readArguments<Name extends string>(
  argv: readonly string[],
  options: OptionTable<Name>,
): Arguments<Name> {
  // Most commands are such, and a spool has many: minimist has nothing to do, and would take its time.
  if (!argv.some(startsOption)) return { given: new Map(), words: argv };
  const flags = flagsOf(options);
  const end = argv.includes('--') ? argv.indexOf('--') : argv.length;
  const given = new Map<Name, Given>();
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
    // As strings: minimist makes numbers of what looks like one. `_` is what belongs to no option.
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

/** What `word` names, if that has what it needs: a value in the word or in `next`, or none where it takes none. */
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
    if (value !== undefined) throw new UsageError(`${label} takes no value; leave ${quoted(value)} out`);
  } else if (value === undefined && (next === undefined || startsOption(next))) {
    throw invalidValue(label, options[name].kind.expected, next);
  }
  return { name, label, value };
}

function unknownOption(word: string, options: OptionTable): UsageError {
  const [name = word] = word.split('=', 1);
  const shown = /^[!-~]{1,40}$/.test(name) ? name : quoted(name);
  const likely = nearest(name.replace(/^-+/, ''), Object.keys(options).map(longName));
  return new UsageError(`unknown option ${shown}; ${likely ? `did you mean --${likely}?` : 'see --help'}`);
}
