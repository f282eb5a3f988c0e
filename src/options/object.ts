/** Options as an object, for a server in another program's process: `listen({ port: 0, maxMessage: '1MB' })`. */

import { testTimeouts } from '../protocol/testLimits.ts';
import { nearest, quoted, UsageError } from './error.ts';
import type { RawValue } from './option.ts';
import { type OptionName, serverOptions } from './table.ts';

/** Options that only the program has: they control its output or its process. */
const programOptions = ['help', 'version', 'config', 'daemon', 'pidFile', 'stdin'] as const;

/** The names of the options of `listen`. */
export type ListenOptionName = Exclude<OptionName, (typeof programOptions)[number]>;

const known = Object.keys(serverOptions).filter(
  name => !(programOptions as readonly string[]).includes(name),
) as ListenOptionName[];

/**
 * Defaults of a server in a test: a free port of the loopback interface, no log, and no control socket.
 */
const quietDefaults = { port: '0', host: '127.0.0.1', control: 'none', logFile: 'none' } as const;

type Source = ReadonlyMap<OptionName, RawValue>;

/**
 * Reads options with names in camel case and values as in the configuration file.
 * @param timeouts `test` shortens the deadlines that `given` does not set
 * @returns the options, in order of precedence
 * @throws UsageError
 */
export function readOptionObject(
  given: Readonly<Record<string, unknown>>,
  timeouts: 'test' | undefined,
): readonly Source[] {
  for (const name of programOptions)
    if (given[name] !== undefined)
      throw new UsageError(`only the program pollywog has the option ${name}; remove it`);
  const options: Map<OptionName, RawValue> = readNamedOptions(given, known, 'see pollywog --help');
  const defaults = new Map(sourceOf(quietDefaults));
  // With `listen`, the server uses a port only if the test names one.
  if (options.has('listen') && !options.has('port') && !options.has('host')) {
    defaults.delete('port');
    defaults.delete('host');
  }
  return [options, timeouts === 'test' ? sourceOf(testDurations()) : new Map(), defaults];
}

function testDurations(): Readonly<Record<string, string>> {
  return Object.fromEntries(Object.entries(testTimeouts).map(([name, time]) => [name, `${time}ms`]));
}

function sourceOf(values: Readonly<Record<string, string>>): Source {
  return new Map(Object.entries(values).map(([name, raw]) => [name as OptionName, { label: name, raw }]));
}

/**
 * Reads options with names in camel case.
 * @param known the allowed names
 * @param advice the remedy for a name that resembles none of them
 * @throws UsageError for any other name; suggests the nearest one
 */
export function readNamedOptions<Name extends string>(
  given: Readonly<Record<string, unknown>>,
  known: readonly Name[],
  advice: string,
): Map<Name, RawValue> {
  const options = new Map<Name, RawValue>();
  for (const [name, raw] of Object.entries(given)) {
    const found = known.find(one => one === name);
    if (found === undefined) {
      const plain = (word: string) => word.replace(/[-_]/g, '').toLowerCase();
      const likely = known.find(one => plain(one) === plain(name)) ?? nearest(name, known);
      throw new UsageError(
        `unknown option ${quoted(name)}; ${likely === undefined ? advice : `did you mean ${likely}?`}`,
      );
    }
    if (raw !== undefined) options.set(found, { label: name, raw });
  }
  return options;
}
