/** The configuration file: JSON, with options by their long names, and values as on the command line. */
import { closeSync, constants, existsSync, fstatSync, openSync, readFileSync } from 'node:fs';
import { nearest, quoted, UsageError } from './error.ts';
import { isObject, JsonError, readJson } from './json.ts';
import { bySpelling, type Given, givenTwice, hyphenated, isFlag } from './option.ts';
import { type OptionName, optionEntries } from './table.ts';
import { readText } from './text.ts';

/** They say what to do, or which file; in a file they would come too late. */
const notInFile: readonly string[] = ['help', 'version', 'config'];

const fileOptions = optionEntries.filter(([name]) => !notInFile.includes(name));
const byKey = bySpelling(fileOptions);

/** All options there are fill a few KiB; whoever names a film by mistake does not have it read. */
const largestFile = 1024 * 1024;

/**
 * The file that is to be read. @param named what `--config` says
 * @param usual where one is looked for if that is `auto`
 */
export function chooseFile(named: string, usual: readonly string[]): string | undefined {
  if (named === 'none') return undefined;
  return named === 'auto' ? usual.find(path => existsSync(path)) : named;
}

/** What the file says, its values not read yet. @throws UsageError where there is none, or something is wrong with it */
export function readFile(path: string): Map<OptionName, Given> {
  const settings = parse(path, readConfigurationText(path));
  if (!isObject(settings)) {
    throw new UsageError(`${path} has no options: it is to be an object such as {"port": 8080}`);
  }
  const given = new Map<OptionName, Given>();
  for (const [key, raw] of Object.entries(settings)) {
    const [name, option] = byKey.get(key) ?? [];
    if (name === undefined) throw unknownKey(path, key);
    const label = `${key} in ${path}`;
    const before = given.get(name);
    if (before !== undefined) throw givenTwice(before.label, label);
    const isEmpty = Array.isArray(raw) && raw.length === 0;
    // An empty list is the same as none given; that an option has a default does not make it one of that.
    if (isEmpty && option?.repeatable && (option.default as unknown[]).length === 0) continue;
    given.set(name, { label, raw: isEmpty ? undefined : raw });
  }
  return given;
}

function readConfigurationText(path: string): string {
  try {
    // Opening a named pipe would wait for someone to write to it.
    const file = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
    try {
      const about = fstatSync(file);
      if (!about.isFile()) throw new Error('it is not a regular file; choose another');
      if (about.size > largestFile) throw new Error('it is larger than 1 MiB; choose another');
      return readText('it', readFileSync(file));
    } finally {
      closeSync(file);
    }
  } catch (error) {
    throw new UsageError(`cannot read the configuration file ${quoted(path)}: ${whyUnreadable(error)}`);
  }
}

/** Why a file could not be read, and what to do. */
export function whyUnreadable(error: unknown): string {
  const { code, message } = error as NodeJS.ErrnoException;
  if (code === 'ENOENT') return 'there is none of this name';
  if (code === 'ENOTDIR') return 'there is a file where a folder should be';
  if (code === 'ELOOP') return 'its symbolic links form a loop';
  if (code === 'EACCES') return 'permission denied; let this user read it';
  return message;
}

function parse(path: string, text: string): unknown {
  try {
    return readJson(text);
  } catch (error) {
    if (!(error instanceof JsonError)) throw error;
    throw new UsageError(`${path} is no JSON: line ${error.line}, column ${error.column}: ${error.message}`);
  }
}

function unknownKey(path: string, key: string): UsageError {
  const shown = quoted(key);
  if (notInFile.includes(key))
    return new UsageError(`${path}: ${shown} cannot stand in the file; take it out`);
  const likely = nearest(key.replace(/^-+/, ''), byKey.keys());
  return new UsageError(
    `${path}: unknown option ${shown}; ${likely ? `did you mean ${quoted(likely)}?` : 'see --help'}`,
  );
}

/** A file with every option at its default, in the order of the table. */
export function defaultFile(): string {
  const settings = fileOptions.map(([name, option]) => {
    const show = (value: unknown) => jsonValue(option.kind.show(value));
    const { default: fallback } = option;
    const value = isFlag(option) ? fallback : Array.isArray(fallback) ? fallback.map(show) : show(fallback);
    return `  ${JSON.stringify(hyphenated(name))}: ${JSON.stringify(value)}`;
  });
  return `{\n${settings.join(',\n')}\n}`;
}

/** A plain number needs no quotes. */
function jsonValue(shown: string): string | number {
  return /^(0|[1-9][0-9]{0,14})$/.test(shown) ? Number(shown) : shown;
}
