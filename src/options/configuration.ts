/** The configuration: options from flags, environment, file and defaults, in this order of precedence. */

import type { AppAddress, ListenAddress, Peers } from './addresses.ts';
import { showListenAddress } from './addresses.ts';
import { readArguments } from './arguments.ts';
import { type Environment, inheritedSockets, readEnvironment } from './environment.ts';
import { quoted, UsageError } from './error.ts';
import { chooseFile, readFile } from './file.ts';
import { flagName, hyphenated, type Option, type RawValue, readValues, showOptionValue } from './option.ts';
import type { Rule } from './rules.ts';
import { type OptionName, type Options, type OptionValues, optionEntries, serverOptions } from './table.ts';
import type { FaultEntry, ProgramEntry } from './values.ts';
import { choice, handlerName, type Kind, type Rate } from './values.ts';

/**
 * The server's configuration. Sizes are in bytes, Infinity for no limit, so that comparisons need no special case. Times are
 * in milliseconds and fit setTimeout; a time or count without limit is 0.
 */
export interface Configuration {
  /** With `help` and `version`, everything else has its default. */
  readonly action: 'serve' | 'help' | 'version';
  /** At least one, without duplicates except on port 0, which picks a free port each time. */
  readonly listeners: readonly ListenAddress[];
  /** The handler of connections whose path and subprotocol name none; `none`: they are refused. */
  readonly defaultHandler: string;
  /** Milliseconds between questions to the app about the same open connection; 0: no rechecks. */
  readonly authRecheck: number;
  /** How a WebSocket without the right to connect or subscribe is refused. */
  readonly refuseWith: 'close' | 'status';
  /** Whether a broadcast also goes to its sender. */
  readonly includeSender: boolean;
  /** Allowed values of the `Origin` field; empty: any, or none at all. */
  readonly origins: readonly string[];
  /** The folder of the site's files; empty: none. */
  readonly static: string;
  /** The file for paths without a file, relative to that folder; or `none`. */
  readonly staticFallback: string;
  /** Whether links in that folder may lead out of it. */
  readonly staticFollow: boolean;
  /** The table of rights, in the order in which its lines are tried. */
  readonly allow: readonly Rule[];
  /** Files of keys that verify tokens and links. */
  readonly authKey: readonly string[];
  /** What the claims `iss` and `aud` of a token must be; empty: not checked. */
  readonly authIssuer: string;
  readonly authAudience: string;
  /** The cookie with the token; empty: none. */
  readonly tokenCookie: string;
  /** The web app that identifies users. */
  readonly authUrl: AppAddress | 'none';
  /** The cookies that the app gets, and no other credentials; empty: all cookies and the field Authorization. */
  readonly authCookie: readonly string[];
  readonly authConcurrency: number;
  readonly authTimeout: number;
  readonly authCache: number;
  /** Handlers that run programs: one process per connection, and one for all. Names are unique. */
  readonly exec: readonly ProgramEntry[];
  readonly execShared: readonly ProgramEntry[];
  /** Environment variables passed on to programs. */
  readonly execEnv: readonly string[];
  readonly execMax: number;
  readonly execGrace: number;
  readonly maxMessage: number;
  readonly maxConnections: number;
  /** Clients per address; by default `half` of the connections. */
  readonly maxPerAddress: number | 'half';
  readonly maxBuffered: number;
  /** For all connections together. */
  readonly maxMemory: number;
  readonly maxHeader: number;
  readonly maxSubscriptions: number;
  /** 0: no limit. */
  readonly maxChannels: number;
  readonly messageRate: Rate;
  readonly connectRate: Rate;
  /** The folder of modules; empty: none. */
  readonly handlers: string;
  /** Whether to reload a module when its file changes. */
  readonly watch: boolean;
  readonly loadTimeout: number;
  readonly rollbackWindow: number;
  readonly handlerTimeout: number;
  readonly slowHandler: number;
  /** Patterns of channels that are chat rooms, or `none`. */
  readonly rooms: readonly string[];
  /** Which nicks chat users have: one of their choice, or the name of the identified user. */
  readonly nick: 'any' | 'user';
  /** The folder of histories; empty: in memory only. */
  readonly data: string;
  readonly fsync: 'always' | 'everysec' | 'no';
  readonly history: { readonly messages: number; readonly bytes: number };
  /** Milliseconds; 0: no limit. */
  readonly historyAge: number;
  readonly presenceGrace: number;
  /** Bytes. */
  readonly historyMemory: number;
  readonly historyRotate: number;
  readonly historyKeep: number;
  readonly greetingDelay: number;
  readonly handshakeTimeout: number;
  readonly pingInterval: number;
  readonly pongTimeout: number;
  readonly idleTimeout: number;
  /** 0: HTTP connections are not kept. */
  readonly keepAlive: number;
  readonly closeTimeout: number;
  readonly pollTimeout: number;
  readonly drainTimeout: number;
  /** permessage-deflate: off, each message on its own, or with context takeover (RFC 7692 §7.1.1). */
  readonly compress: 'off' | 'on' | 'takeover';
  /** Files of certificates and their keys, in pairs; files of CAs that sign client certificates. */
  readonly tlsCert: readonly string[];
  readonly tlsKey: readonly string[];
  readonly tlsCa: readonly string[];
  readonly tlsClient: 'off' | 'ask' | 'require';
  /** Whether to refuse plain connections. */
  readonly tlsOnly: boolean;
  /** Proxies whose PROXY and X-Forwarded-For are trusted. */
  readonly trustProxy: readonly Peers[];
  readonly logLevel: 'error' | 'warn' | 'info' | 'debug';
  readonly logFormat: 'text' | 'json';
  /** Whether to log every frame from the start. */
  readonly trace: boolean;
  readonly inspect: boolean;
  /** `off`: no frames are recorded for `why`. */
  readonly recorder: 'on' | 'off';
  /** `auto` uses Node's bare socket handles if they work as expected, `stream` only what Node documents; slower. */
  readonly sockets: 'auto' | 'stream';
  /** Paths, or `auto` or `none`. */
  readonly control: string;
  readonly apiToken: string;
  readonly publishToken: string;
  readonly readToken: string;
  readonly metricsToken: string;
  /** Listeners that serve only the metrics. */
  readonly metricsListen: readonly ListenAddress[];
  /** A folder; empty: none. */
  readonly spool: string;
  readonly stdin: boolean;
  /** The folder of scripts for tests of clients; empty: none. */
  readonly script: string;
  /** The folder for recordings of all sessions; empty: the server records sessions only on command. */
  readonly record: string;
  /** The limit of all recordings together, in bytes. */
  readonly recordMax: number;
  /** Whether recordings include clients' credentials. */
  readonly recordCredentials: boolean;
  /** The folder of recordings to replay; empty: the folder of `record`. */
  readonly replay: string;
  /** Whether to serve the conformance cases for clients, and the cases to leave out. */
  readonly conformance: boolean;
  readonly conformanceExclude: readonly string[];
  /** The folder for the reports on clients; empty: the server writes none. */
  readonly reportDir: string;
  readonly daemon: boolean;
  /** Paths, or `auto` or `none`. */
  readonly pidFile: string;
  readonly logFile: string;
  readonly accessLog: string;
  /** Whether the handler `faulty` serves faults by URL. */
  readonly faults: boolean;
  /** The faults of handlers, in the given order. */
  readonly fault: readonly FaultEntry[];
  /** The value of every option. */
  readonly values: OptionValues;
  /** Options changed by `set`, until the next reload. */
  readonly setByHand: ReadonlySet<OptionName>;
  /** The configuration file; undefined for none. */
  readonly configFile: string | undefined;
}

/**
 * Reads the command line (without node and script), the environment and the configuration file, in this order of
 * precedence.
 * @param handlers names for `--default-handler`; with modules, any name is valid
 * @param usualFiles the default paths of the configuration file
 * @throws UsageError
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
  if (stray !== undefined) throw new UsageError(`unexpected argument ${quoted(stray)}; see --help`);
  // These two work whatever else is wrong.
  if (flags.has('help')) return configurationOf('help', options, []);
  if (flags.has('version')) return configurationOf('version', options, []);
  const sources = [flags, readEnvironment(env)];
  const { config } = readValues({ config: serverOptions.config }, sources);
  const configFile = chooseFile(config, usualFiles);
  if (configFile !== undefined) sources.push(readFile(configFile));
  const names = [...handlers, ...programNames(handlers, sources)];
  // The names of modules are not known before they are loaded.
  const hasModules = sources.some(source => source.has('handlers'));
  const known = hasModules ? withDefault(handlerName) : optionsFor(names);
  const configuration = configurationOf('serve', known, sources, inheritedSockets(env, process.pid));
  if (configuration.daemon && configuration.stdin)
    throw new UsageError(
      '--stdin needs a server in the foreground, because a daemon has no stdin; remove --daemon',
    );
  return { ...configuration, configFile };
}

/**
 * The configuration of a server in another program's process, without a command line, environment or file.
 * @param sources the options, in order of precedence
 * @param handlers names of handlers that programs cannot have
 * @throws UsageError
 */
export function configurationFrom(
  sources: readonly ReadonlyMap<OptionName, RawValue>[],
  handlers: readonly string[],
): Configuration {
  programNames(handlers, sources);
  return configurationOf('serve', withDefault(handlerName), sources);
}

/** The table, with these names for `--default-handler`. */
export function optionsFor(handlers: readonly string[]): Options {
  return withDefault(choice([...handlers, noHandler], serverOptions.defaultHandler.kind.placeholder));
}

function withDefault(kind: Kind<string>): Options {
  return { ...serverOptions, defaultHandler: { ...serverOptions.defaultHandler, kind } };
}

/** Programs are handlers, too. @throws UsageError if two handlers have the same name */
function programNames(
  handlers: readonly string[],
  sources: readonly ReadonlyMap<OptionName, RawValue>[],
): readonly string[] {
  const { exec, execShared } = readValues(
    { exec: serverOptions.exec, execShared: serverOptions.execShared },
    sources,
  );
  const names = [...exec, ...execShared].map(({ name }) => name);
  const taken = names.find((name, at) => handlers.includes(name) || names.indexOf(name) !== at);
  if (taken !== undefined)
    throw new UsageError(`a handler named ${quoted(taken)} exists already; give the program another name`);
  return names;
}

function configurationOf(
  action: Configuration['action'],
  options: Options,
  sources: readonly ReadonlyMap<OptionName, RawValue>[],
  inherited: readonly ListenAddress[] = [],
): Configuration {
  const isGiven = (name: OptionName) => sources.some(source => source.has(name));
  const values = withTestDefaults(readValues(options, sources) as OptionValues, isGiven);
  const { port, host, listen } = values;
  const places = [...inherited, ...listen];
  const wantsPorts = places.length === 0 || isGiven('port') || isGiven('host');
  const listeners = distinct([...(wantsPorts ? combine(host, port) : []), ...places]);
  return withValues({ action, listeners, configFile: undefined }, values, new Set());
}

/** The default address of a server for conformance tests: the loopback interface, and the port of Autobahn's drivers. */
const conformanceHost = '127.0.0.1';
const conformancePort = 9001;

function withTestDefaults(values: OptionValues, isGiven: (name: OptionName) => boolean): OptionValues {
  if (!values.conformance) return values;
  const host = isGiven('host') ? values.host : [conformanceHost];
  const port = isGiven('port') ? values.port : [conformancePort];
  return { ...values, host, port };
}

/** A configuration with other values. The rest stays, above all the listeners. */
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

/** @returns the options that differ from their default but have no effect, each with the option that it needs */
export function idleOptions({ values }: Configuration): readonly { option: string; needs: string }[] {
  const isDefault = (name: OptionName) => {
    const option: Option = serverOptions[name];
    return showOptionValue(option, values[name]) === showOptionValue(option, option.default);
  };
  return optionEntries
    .filter(([name, { needs }]) => needs !== undefined && !isDefault(name) && isDefault(needs as OptionName))
    .map(([name, { needs = '' }]) => ({ option: hyphenated(name), needs: flagName(needs) }));
}

function combine(hosts: readonly string[], ports: readonly number[]): ListenAddress[] {
  return hosts.flatMap(host => ports.map(port => ({ transport: 'tcp', host, port }) as const));
}

/** A duplicate would fail to bind, with an error that blames another program. */
function distinct(listeners: readonly ListenAddress[]): readonly ListenAddress[] {
  const seen = new Set<string>();
  for (const listener of listeners) {
    const url = showListenAddress(listener);
    if (seen.has(url)) throw new UsageError(`duplicate listener ${url}; keep one`);
    if (listener.transport !== 'tcp' || listener.port !== 0) seen.add(url);
  }
  return listeners;
}

/** The value of `--default-handler` for none. */
export const noHandler = 'none';

/** Something that a reload reads again: certificates, handlers … */
export interface Reloadable {
  /**
   * Reads and checks the new state without changing anything.
   * @returns a function that puts the new state in place, and returns one sentence per change
   * @throws Error, and then nothing changes anywhere
   */
  prepare(next: Configuration): Promise<() => readonly string[]>;
}
