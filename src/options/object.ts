/** Options as an object, for a server in another program's process: `listen({ port: 0, maxMessage: '1MB' })`. */

import { testTimeouts } from '../protocol/testLimits.ts';
import { nearest, quoted, UsageError } from './error.ts';
import type { RawValue } from './option.ts';
import { type OptionName, serverOptions } from './table.ts';

/** Options of the program: they choose what it prints, or concern its process. */
const programOptions = ['help', 'version', 'config', 'daemon', 'pidFile', 'stdin'] as const;

/** The options that `listen` takes. */
export type ListenOptionName = Exclude<OptionName, (typeof programOptions)[number]>;

const known = Object.keys(serverOptions).filter(
  name => !(programOptions as readonly string[]).includes(name),
) as ListenOptionName[];

/**
 * Defaults of a server in a test: it listens on a free port of the loopback interface, writes no log, and has no control
 * socket.
 */
const quietDefaults = { port: '0', host: '127.0.0.1', control: 'none', logFile: 'none' } as const;

type Source = ReadonlyMap<OptionName, RawValue>;

/**
 * Reads options by their names in camel case, and values as in the configuration file.
 * @param timeouts `test` shortens the deadlines that `given` does not have
 * @returns sources in their order of precedence
 * @throws UsageError
 */
export function readOptionObject(
  given: Readonly<Record<string, unknown>>,
  timeouts: 'test' | undefined,
): readonly Source[] {
  for (const name of programOptions)
    if (given[name] !== undefined)
      throw new UsageError(`the option ${name} is for the program pollywog only; remove it`);
  const options: Map<OptionName, RawValue> = readNamedOptions(given, known, 'see pollywog --help');
  const defaults = new Map(sourceOf(quietDefaults));
  // Besides `listen`, a port must be given to be used.
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
 * Options by their names in camel case.
 * @param known the names that are allowed
 * @param advice for a name that is like none of them
 * @throws UsageError for any other name, which names the nearest
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
