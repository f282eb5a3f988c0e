/** Options: both programs have a table of them, read by the same rules. */
import { invalidValue, UsageError } from './error.ts';
import { isWellFormed } from './text.ts';
import type { Kind } from './values.ts';

export interface Option {
  readonly kind: Kind<unknown>;
  /** The letter or digit of its short flag. */
  readonly short?: string;
  /**
   * Its name in earlier versions; a single letter is a short flag. Every source still accepts that name; `--help` does not
   * list it.
   */
  readonly alias?: string;
  /** Values of earlier versions, and what to read instead. */
  readonly valueAliases?: Readonly<Record<string, string>>;
  /** May be given several times: its value and its default are lists. */
  readonly repeatable?: true;
  /** The default, in the form that `kind.parse` returns. */
  readonly default: unknown;
  /** A reload does not change it. */
  readonly needsRestart?: true;
  /** The option without which this one has no effect. */
  readonly needs?: string;
  /** Its heading in `--help`. */
  readonly group: string;
  /** Its line in `--help`, without the default. */
  readonly help: string;
}

/** A program's options by name, in camel case. */
export type OptionTable<Name extends string = string> = Readonly<Record<Name, Option>>;

type ValueOf<O extends Option> =
  O['kind'] extends Kind<infer T> ? (O extends { repeatable: true } ? readonly T[] : T) : never;

/** The values of a table's options, each of its kind's type. */
export type ValuesOf<Table extends OptionTable> = { readonly [Name in keyof Table]: ValueOf<Table[Name]> };

/** An option's value as written in one source (flags, environment or file). */
export interface RawValue {
  /** The option's name in that source, for error messages: `--port`, `POLLYWOG_PORT`. */
  readonly label: string;
  /** A word, true for a flag, or a JSON value; a list if the option is repeatable. */
  readonly raw: unknown;
}

/** A flag takes no value. */
export function isFlag(option: Option): boolean {
  return option.kind.placeholder === '';
}

/** `maxMessage` is `--max-message`. */
export function flagName(name: string): string {
  return `--${hyphenated(name)}`;
}

/** The names under which every source accepts this option, hyphenated: its own first, then its alias. */
export function spellings(name: string, { alias = '' }: Option): string[] {
  return alias.length > 1 ? [hyphenated(name), hyphenated(alias)] : [hyphenated(name)];
}

/** An index of a table's entries, aliases included. @param spell what a source writes for a hyphenated name */
export function bySpelling<Name extends string>(
  entries: readonly (readonly [Name, Option])[],
  spell: (hyphenatedName: string) => string = same => same,
): ReadonlyMap<string, readonly [Name, Option]> {
  return new Map(
    entries.flatMap(entry => spellings(...entry).map(spelling => [spell(spelling), entry] as const)),
  );
}

/** The error for an option given twice, under one name or two. */
export function givenTwice(first: string, second: string): UsageError {
  return new UsageError(
    first === second
      ? `${first} is given twice; keep one`
      : `${first} and ${second} are the same option; keep one`,
  );
}

/** A value, or a list of values, as the user would write it. */
export function showOptionValue({ kind }: Option, value: unknown): string {
  return Array.isArray(value) ? value.map(one => kind.show(one)).join(',') : kind.show(value);
}

export function hyphenated(name: string): string {
  return name.replace(/[A-Z]/g, letter => `-${letter.toLowerCase()}`);
}

/** The value of every option: from the first source that has one, else the default. @throws UsageError */
export function readValues<Table extends OptionTable>(
  table: Table,
  sources: readonly ReadonlyMap<string, RawValue>[],
): ValuesOf<Table> {
  const given = (name: string) => sources.find(source => source.has(name))?.get(name);
  const read = ([name, option]: [string, Option]) => [name, readOption(option, given(name))];
  return Object.fromEntries(Object.entries(table).map(read)) as ValuesOf<Table>;
}

/** @throws UsageError */
export function readOption(option: Option, given: RawValue | undefined): unknown {
  if (given === undefined) return option.default;
  const { label, raw } = given;
  const readOne = (one: unknown) => {
    if (typeof one === 'string' && !isWellFormed(one)) {
      throw new UsageError(`${label} contains an unpaired surrogate, which is not a character; remove it`);
    }
    const value = parseLabelled(option, label, currentValue(option, one));
    if (value !== undefined) return value;
    throw invalidValue(label, option.kind.expected, one);
  };
  if (option.repeatable === undefined) return readOne(raw);
  return Array.isArray(raw) ? raw.map(readOne) : [readOne(raw)];
}

function currentValue({ valueAliases }: Option, raw: unknown): unknown {
  return typeof raw === 'string' && valueAliases !== undefined && Object.hasOwn(valueAliases, raw)
    ? valueAliases[raw]
    : raw;
}

/** Some kinds throw a UsageError with the exact reason. */
function parseLabelled({ kind }: Option, label: string, raw: unknown): unknown {
  try {
    return kind.parse(raw);
  } catch (error) {
    throw error instanceof UsageError ? new UsageError(`${label}: ${error.message}`) : error;
  }
}
