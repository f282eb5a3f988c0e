import minimist from 'minimist';
import { quoted, UsageError, unfitValue } from './error.ts';
import { nearest } from './nearest.ts';
import { flagName, type Given, isFlag, type OptionName, type Options, optionEntries } from './table.ts';

const byWord: ReadonlyMap<string, OptionName> = new Map([
  ...optionEntries.map(([name]) => [flagName(name), name] as const),
  ...optionEntries.flatMap(([name, { short }]) => (short ? [[`-${short}`, name] as const] : [])),
]);

/** A word of the command line that names an option. */
interface OptionWord {
  readonly name: OptionName;
  /** The value in the word itself: `--port=80`, `-p80`, `-p=80`. */
  readonly value: string | undefined;
}

/**
 * The command line, split but its values not read yet. Throws UsageError.
 *
 * minimist forgives much (unknown names, `--no-x` for any x, clusters, `--constructor`), so each word that starts with a
 * hyphen is held against the table first, and minimist gets only options that take a value, by their long names. Going
 * word by word is safe, as minimist never takes a word that starts with a hyphen for the value of the one before it.
 */
export function readArguments(argv: readonly string[], options: Options): Map<OptionName, Given> {
  const end = argv.includes('--') ? argv.indexOf('--') : argv.length;
  const given = new Map<OptionName, Given>();
  const checked: string[] = [];
  for (const [at, word] of argv.slice(0, end).entries()) {
    if (!startsOption(word)) {
      checked.push(word);
      continue;
    }
    const { name, value } = readOptionWord(word, at + 1 < end ? argv[at + 1] : undefined, options);
    const label = flagName(name);
    if (given.has(name) && !options[name].repeatable)
      throw new UsageError(`${label} is given twice; keep one`);
    given.set(name, { label, raw: true });
    if (!isFlag(options[name])) checked.push(value === undefined ? label : `${label}=${value}`);
  }

  const split = minimist([...checked, ...argv.slice(end)], {
    // As strings: minimist makes numbers of what looks like one. `_` is what belongs to no option.
    string: [...optionEntries.map(([name]) => longName(name)), '_'],
  });
  const stray = split._[0];
  if (stray !== undefined) throw new UsageError(`pollywog takes no such word: ${quoted(stray)}; see --help`);
  for (const [name, { label, raw }] of given) given.set(name, { label, raw: split[longName(name)] ?? raw });
  return given;
}

function longName(name: OptionName): string {
  return flagName(name).slice(2);
}

function startsOption(word: string): boolean {
  return word.startsWith('-') && word !== '-';
}

/** What `word` names, if that has what it needs: a value in the word or in `next`, or none where it takes none. */
function readOptionWord(word: string, next: string | undefined, options: Options): OptionWord {
  const [, written = '', equals, digits] = /^(--[^=]+|-[a-z])(?:=(.*)|([0-9]+))?$/is.exec(word) ?? [];
  const name = byWord.get(written);
  if (name === undefined) throw unknownOption(word);
  const value = equals ?? digits;
  if (isFlag(options[name])) {
    if (value !== undefined)
      throw new UsageError(`${flagName(name)} takes no value; leave ${quoted(value)} out`);
  } else if (value === undefined && (next === undefined || startsOption(next))) {
    throw unfitValue(flagName(name), options[name].kind.wants, next);
  }
  return { name, value };
}

function unknownOption(word: string): UsageError {
  const [name = word] = word.split('=', 1);
  const shown = /^[!-~]{1,40}$/.test(name) ? name : quoted(name);
  const likely = nearest(
    name.replace(/^-+/, ''),
    optionEntries.map(([known]) => longName(known)),
  );
  return new UsageError(`unknown option ${shown}; ${likely ? `did you mean --${likely}?` : 'see --help'}`);
}
