/** The configuration file: a JSON object with options by their long names, and values as on the command line. */
import { closeSync, constants, existsSync, fstatSync, openSync, readFileSync } from 'node:fs';
import { nearest, quoted, UsageError } from './error.ts';
import { isObject, JsonError, readJson } from './json.ts';
import { bySpelling, givenTwice, hyphenated, isFlag, type RawValue } from './option.ts';
import { type OptionName, optionEntries } from './table.ts';
import { readText } from './text.ts';

/** Options that print something or choose the file. */
const notInFile: readonly string[] = ['help', 'version', 'config'];

const fileOptions = optionEntries.filter(([name]) => !notInFile.includes(name));
const byKey = bySpelling(fileOptions);

/** Every option together fills a few KiB. A video named by mistake is not read. */
const largestFile = 1024 * 1024;

/**
 * The path of the file to read. @param named the value of `--config`
 * @param usual the default paths, for `auto`
 */
export function chooseFile(named: string, usual: readonly string[]): string | undefined {
  if (named === 'none') return undefined;
  return named === 'auto' ? usual.find(path => existsSync(path)) : named;
}

/** The options in the file. @throws UsageError if it is missing or invalid */
export function readFile(path: string): Map<OptionName, RawValue> {
  const settings = parse(path, readConfigurationText(path));
  if (!isObject(settings)) {
    throw new UsageError(`${path} must hold an object such as {"port": 8080}`);
  }
  const given = new Map<OptionName, RawValue>();
  for (const [key, raw] of Object.entries(settings)) {
    const [name, option] = byKey.get(key) ?? [];
    if (name === undefined) throw unknownKey(path, key);
    const label = `${key} in ${path}`;
    const before = given.get(name);
    if (before !== undefined) throw givenTwice(before.label, label);
    const isEmpty = Array.isArray(raw) && raw.length === 0;
    // An empty list means the default only if the default is empty, too.
    if (isEmpty && option?.repeatable && (option.default as unknown[]).length === 0) continue;
    given.set(name, { label, raw: isEmpty ? undefined : raw });
  }
  return given;
}

function readConfigurationText(path: string): string {
  try {
    // O_NONBLOCK: opening a named pipe would wait for a writer.
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

/** Refuses a stdin, such as a folder, that Node would read as an empty stream. @throws UsageError */
export function checkStdin(): void {
  const stdin = fstatSync(0);
  if (stdin.isFile() || stdin.isFIFO() || stdin.isSocket() || stdin.isCharacterDevice()) return;
  const what = stdin.isDirectory() ? 'a folder' : 'a block device';
  throw new UsageError(`stdin cannot be read: it is ${what}; redirect it from a file or a pipe`);
}

/** Why a file could not be read, and what to do. */
export function whyUnreadable(error: unknown): string {
  const { code, message } = error as NodeJS.ErrnoException;
  if (code === 'ENOENT') return 'no such file; correct the path';
  if (code === 'ENOTDIR') return 'part of the path is a file, not a folder; correct the path';
  if (code === 'ELOOP') return 'its symbolic links form a loop; correct one of them';
  if (code === 'EACCES') return 'permission denied; let this user read it';
  return message;
}

function parse(path: string, text: string): unknown {
  try {
    return readJson(text);
  } catch (error) {
    if (!(error instanceof JsonError)) throw error;
    throw new UsageError(
      `${path} is not valid JSON: line ${error.line}, column ${error.column}: ${error.message}`,
    );
  }
}

function unknownKey(path: string, key: string): UsageError {
  const shown = quoted(key);
  if (notInFile.includes(key))
    return new UsageError(`${path}: ${shown} is for the command line only; remove it`);
  const likely = nearest(key.replace(/^-+/, ''), byKey.keys());
  return new UsageError(
    `${path}: unknown option ${shown}; ${likely ? `did you mean ${quoted(likely)}?` : 'see --help'}`,
  );
}

/** A configuration file with every option at its default, in table order. */
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
