import type { ListenAddress, Peers } from './addresses.ts';
import { showListenAddress } from './addresses.ts';
import { readArguments } from './arguments.ts';
import { type Environment, inheritedSockets, readEnvironment } from './environment.ts';
import { quoted, UsageError } from './error.ts';
import { chooseFile, readFile } from './file.ts';
import { type Given, readValues } from './option.ts';
import { type OptionName, type Options, type OptionValues, serverOptions } from './table.ts';
import { checkTls } from './tls.ts';
import type { ProgramEntry } from './values.ts';
import { choice, handlerName, type Kind } from './values.ts';

/**
 * How the server is to run. Sizes are in bytes, Infinity when switched off, so that a comparison needs no exception.
 * Times are in milliseconds; a time or a count that is switched off is 0. Times fit setTimeout.
 */
export interface Configuration {
  /** What to do; with `help` and `version` the rest is as if nothing else had been given. */
  readonly action: 'serve' | 'help' | 'version';
  /** At least one, no two alike but for port 0, which picks a free port each time. */
  readonly listeners: readonly ListenAddress[];
  /** Name of the handler of connections that ask for no subprotocol: one of those given to `readConfiguration`. */
  readonly defaultHandler: string;
  /** Whether a broadcast goes to its sender as well. */
  readonly includeSender: boolean;
  /** What the `Origin` field may say, as browsers write it; empty: anything, or nothing. */
  readonly origins: readonly string[];
  /** Handlers that are programs: a process a connection, and one for all. No two names are alike. */
  readonly exec: readonly ProgramEntry[];
  readonly execShared: readonly ProgramEntry[];
  /** Names of the environment variables that they get, if we have them. */
  readonly execEnv: readonly string[];
  readonly execMax: number;
  readonly execGrace: number;
  readonly maxMessage: number;
  readonly maxConnections: number;
  /** Clients that have the same address; `half` of the places by default. */
  readonly maxPerAddress: number | 'half';
  readonly maxBuffered: number;
  /** All connections together; Infinity where there is no limit. */
  readonly maxMemory: number;
  readonly maxHeader: number;
  /** The folder of the user's modules; empty: none. */
  readonly handlers: string;
  /** Whether a module is loaded again when its file changes. */
  readonly watch: boolean;
  readonly loadTimeout: number;
  readonly rollbackWindow: number;
  readonly handlerTimeout: number;
  readonly slowHandler: number;
  /** Where rooms keep their history; empty: in memory alone. */
  readonly data: string;
  readonly fsync: 'always' | 'everysec' | 'no';
  readonly history: { readonly messages: number; readonly bytes: number };
  readonly historyRotate: number;
  readonly historyKeep: number;
  readonly greetingDelay: number;
  readonly handshakeTimeout: number;
  readonly pingInterval: number;
  readonly pongTimeout: number;
  readonly idleTimeout: number;
  readonly closeTimeout: number;
  readonly pollTimeout: number;
  readonly drainTimeout: number;
  /** permessage-deflate: not at all, each message on its own, or with the context taken over (RFC 7692 §7.1.1). */
  readonly compress: 'off' | 'on' | 'takeover';
  /** Files of certificates and of their keys, pair by pair; of authorities that client certificates are signed by. */
  readonly tlsCert: readonly string[];
  readonly tlsKey: readonly string[];
  readonly tlsCa: readonly string[];
  readonly tlsClient: 'off' | 'ask' | 'require';
  /** Plain connections are refused. */
  readonly tlsOnly: boolean;
  /** Whose word is taken for the address of someone else. */
  readonly trustProxy: readonly Peers[];
  readonly logLevel: 'error' | 'warn' | 'info' | 'debug';
  readonly logFormat: 'text' | 'json';
  /** Every frame of every connection is an event, from the start. */
  readonly trace: boolean;
  /** `off`: no frames are recorded for `why`. */
  readonly recorder: 'on' | 'off';
  /** `auto` uses Node's bare socket handles where they are as expected, `public` only what Node documents; slower. */
  readonly sockets: 'auto' | 'stream';
  /** Paths, or `auto` or `none`. */
  readonly control: string;
  readonly apiToken: string;
  /** A folder; empty: none. */
  readonly spool: string;
  readonly stdin: boolean;
  readonly daemon: boolean;
  /** Paths, or `auto` or `none`. */
  readonly pidFile: string;
  readonly logFile: string;
  /** All of this, option by option. */
  readonly values: OptionValues;
  /** The options among them that were set while the server ran, and are so until the next reload. */
  readonly setByHand: ReadonlySet<OptionName>;
  /** What was read; undefined where there is none. */
  readonly configFile: string | undefined;
}

/**
 * Reads the command line (without node and script), the environment and the configuration file, in this precedence; then
 * come the defaults. Throws UsageError.
 * @param handlers the names that `--default-handler` may have; where modules are to be loaded, it may have any
 * @param usualFiles where a configuration file is looked for if none is named
 */
export function readConfiguration(
  argv: readonly string[],
  env: Environment,
  handlers: readonly string[],
  usualFiles: readonly string[] = [],
): Configuration {
  const options = optionsFor(handlers);
  const { given: flags, words } = readArguments(argv, options);
  const [stray] = words;
  if (stray !== undefined) throw new UsageError(`pollywog takes no such word: ${quoted(stray)}; see --help`);
  // Whatever else is wrong, these two answer.
  if (flags.has('help')) return configurationOf('help', options, []);
  if (flags.has('version')) return configurationOf('version', options, []);
  const sources = [flags, readEnvironment(env)];
  const { config } = readValues({ config: serverOptions.config }, sources);
  const configFile = chooseFile(config, usualFiles);
  if (configFile !== undefined) sources.push(readFile(configFile));
  const names = [...handlers, ...programNames(handlers, sources)];
  // Of modules, nobody knows before they are loaded.
  const hasModules = sources.some(source => source.has('handlers'));
  const known = hasModules ? withDefault(handlerName) : optionsFor(names);
  return { ...configurationOf('serve', known, sources, inheritedSockets(env, process.pid)), configFile };
}

/** Only the caller knows which handlers there are for `--default-handler` to name. */
export function optionsFor(handlers: readonly string[]): Options {
  return withDefault(choice(handlers, serverOptions.defaultHandler.kind.placeholder));
}

function withDefault(kind: Kind<string>): Options {
  return { ...serverOptions, defaultHandler: { ...serverOptions.defaultHandler, kind } };
}

/** The programs' names are handlers' names, too. Throws UsageError where two are alike. */
function programNames(
  handlers: readonly string[],
  sources: readonly ReadonlyMap<OptionName, Given>[],
): readonly string[] {
  const { exec, execShared } = readValues(
    { exec: serverOptions.exec, execShared: serverOptions.execShared },
    sources,
  );
  const names = [...exec, ...execShared].map(({ name }) => name);
  const taken = names.find((name, at) => handlers.includes(name) || names.indexOf(name) !== at);
  if (taken !== undefined)
    throw new UsageError(`there is a handler ${quoted(taken)} already; give the program another name`);
  return names;
}

function configurationOf(
  action: Configuration['action'],
  options: Options,
  sources: readonly ReadonlyMap<OptionName, Given>[],
  inherited: readonly ListenAddress[] = [],
): Configuration {
  const isGiven = (name: OptionName) => sources.some(source => source.has(name));
  const values = readValues(options, sources) as OptionValues;
  const { port, host, listen } = values;
  const places = [...inherited, ...listen];
  const wantsPorts = places.length === 0 || isGiven('port') || isGiven('host');
  const listeners = distinct([...(wantsPorts ? combine(host, port) : []), ...places]);
  return withValues({ action, listeners, configFile: undefined }, values, new Set());
}

/** What is not an option's value is as in `old`: where it listens, above all. */
export function withValues(
  { action, listeners, configFile }: Pick<Configuration, 'action' | 'listeners' | 'configFile'>,
  values: OptionValues,
  setByHand: ReadonlySet<OptionName>,
): Configuration {
  const { port, host, listen, noSelf, origin, config, help, version, ...rest } = values;
  return {
    ...rest,
    action,
    listeners,
    includeSender: !noSelf,
    origins: origin,
    values,
    setByHand,
    configFile,
  };
}

function combine(hosts: readonly string[], ports: readonly number[]): ListenAddress[] {
  return hosts.flatMap(host => ports.map(port => ({ transport: 'tcp', host, port }) as const));
}

/** The second of two alike would fail to bind, with a reason that points at some other program. */
function distinct(listeners: readonly ListenAddress[]): readonly ListenAddress[] {
  const seen = new Set<string>();
  for (const listener of listeners) {
    const url = showListenAddress(listener);
    if (seen.has(url)) throw new UsageError(`${url} is to be listened on twice; keep one`);
    if (listener.transport !== 'tcp' || listener.port !== 0) seen.add(url);
  }
  return listeners;
}

/** Something that is read anew on `reload`: certificates, handlers … */
export interface Reloadable {
  /**
   * Reads and checks the new state, and changes nothing yet.
   * @returns what puts it in place, and tells, a sentence each, what changed
   * @throws Error, a sentence: then nothing changes anywhere
   */
  prepare(next: Configuration): Promise<() => readonly string[]>;
}

/**
 * Reads a configuration file as the server would, and does nothing with it; without one, all that the server would read.
 * @param handlers the names that `default` may have
 * @returns a sentence: it is good
 * @throws UsageError where it is not
 */
export function checkConfiguration(
  file: string | undefined,
  env: Environment,
  handlers: readonly string[],
  usualFiles: readonly string[],
): string {
  // A file is good or not by itself: what the environment adds is not its matter.
  const configuration =
    file === undefined
      ? readConfiguration([], env, handlers, usualFiles)
      : readConfiguration(['--config', file], {}, handlers);
  checkTls(configuration);
  const { configFile } = configuration;
  return configFile === undefined
    ? `there is no configuration file (looked for ${usualFiles.join(' and ')}): the defaults are good`
    : `${configFile} is good`;
}
