/** The server's one table of options: flags, environment variables, the configuration file and `--help` all follow it. */
import { maxHistoryBytes } from '../protocol/limits.ts';
import { host, originRule, peers } from './addresses.ts';
import { limitOptions } from './limits.ts';
import { listenUrl } from './listenUrl.ts';
import { moduleOptions } from './moduleOptions.ts';
import { hyphenated, type Option, type OptionTable, type ValuesOf } from './option.ts';
import { programOptions } from './program.ts';
import { tlsOptions } from './tls.ts';
import { choice, count, directory, file, flag, historyBound, port, size } from './values.ts';

export { flagName, isFlag } from './option.ts';

/**
 * `maxMessage` is `--max-message` on the command line, `max-message` in the configuration file and `POLLYWOG_MAX_MESSAGE`
 * in the environment.
 */
export const table = {
  port: {
    kind: port,
    short: 'p',
    repeatable: true,
    default: [8080],
    needsRestart: true,
    group: 'Listening',
    help: 'port to listen on; 0 picks a free one',
  },
  host: {
    kind: host,
    repeatable: true,
    default: ['::'],
    needsRestart: true,
    group: 'Listening',
    help: 'address to listen on; :: is all of them',
  },
  listen: {
    kind: listenUrl,
    repeatable: true,
    default: [],
    needsRestart: true,
    group: 'Listening',
    help: 'tcp://HOST:PORT or unix:/PATH to listen on',
  },
  trustProxy: {
    kind: peers,
    repeatable: true,
    default: [],
    group: 'Listening',
    help: 'believe PROXY and X-Forwarded-For of these',
  },
  ...tlsOptions,
  default: {
    kind: choice(['echo'], 'NAME'),
    default: 'echo',
    group: 'Sessions',
    help: 'handler for clients that ask for none',
  },
  noSelf: {
    kind: flag,
    default: false,
    group: 'Sessions',
    help: 'a broadcast leaves its sender out',
  },
  origin: {
    kind: originRule,
    repeatable: true,
    default: [],
    group: 'Sessions',
    help: 'admit only pages of this origin; same: our own',
  },
  compress: {
    kind: choice(['off', 'on', 'takeover'], 'WORD'),
    default: 'on',
    group: 'Sessions',
    help: 'compression: off, on or takeover',
  },
  data: {
    kind: directory('memory'),
    default: '',
    needsRestart: true,
    group: 'Chat',
    help: 'keep what is said, in files here',
  },
  fsync: {
    kind: choice(['always', 'everysec', 'no'], 'WORD'),
    default: 'everysec',
    needsRestart: true,
    group: 'Chat',
    help: 'always, everysec or no',
  },
  history: {
    kind: historyBound,
    default: { messages: 100, bytes: maxHistoryBytes },
    group: 'Chat',
    help: 'what a room tells newcomers: 100, or 64KB',
  },
  historyRotate: {
    kind: size,
    default: 16 * 1024 * 1024,
    needsRestart: true,
    group: 'Chat',
    help: "size at which a room's file is put aside",
  },
  historyKeep: {
    kind: count,
    default: 4,
    needsRestart: true,
    group: 'Chat',
    help: 'files put aside that are kept',
  },
  ...moduleOptions,
  ...programOptions,
  control: {
    kind: file,
    default: 'auto',
    needsRestart: true,
    group: 'Commands',
    help: 'socket that commands come in by',
  },
  apiToken: {
    kind: file,
    default: 'none',
    group: 'Commands',
    help: 'token for commands over HTTP, at /api',
  },
  spool: {
    kind: directory('none'),
    default: '',
    needsRestart: true,
    group: 'Commands',
    help: 'folder that commands come in by, as *.cmd',
  },
  stdin: {
    kind: flag,
    default: false,
    needsRestart: true,
    group: 'Commands',
    help: 'take commands from stdin, a line each',
  },
  config: {
    kind: file,
    default: 'auto',
    needsRestart: true,
    group: 'Process',
    help: 'configuration file; none for no file',
  },
  daemon: {
    kind: flag,
    default: false,
    needsRestart: true,
    group: 'Process',
    help: 'run in the background, once it listens',
  },
  pidFile: {
    kind: file,
    default: 'auto',
    needsRestart: true,
    group: 'Process',
    help: 'file that has its process id',
  },
  logFile: {
    kind: file,
    default: 'auto',
    group: 'Log',
    help: 'file to log to instead of stderr',
  },
  logLevel: {
    kind: choice(['error', 'warn', 'info', 'debug'], 'WORD'),
    default: 'info',
    group: 'Log',
    help: 'error, warn, info or debug',
  },
  logFormat: {
    kind: choice(['text', 'json'], 'WORD'),
    default: 'text',
    group: 'Log',
    help: 'text or json',
  },
  trace: {
    kind: flag,
    default: false,
    group: 'Log',
    help: 'log every frame',
  },
  ...limitOptions,
  sockets: {
    kind: choice(['auto', 'public'], 'WORD'),
    default: 'auto',
    needsRestart: true,
    group: 'Other',
    help: 'auto, or public: documented API, slower',
  },
  help: {
    kind: flag,
    short: 'h',
    default: false,
    group: 'Other',
    help: 'print this',
  },
  version: {
    kind: flag,
    short: 'v',
    default: false,
    group: 'Other',
    help: 'print the version',
  },
} as const satisfies OptionTable;

export type OptionName = keyof typeof table;

/** The table, or one like it. */
export type Options = OptionTable<OptionName>;

export type Values = ValuesOf<typeof table>;

export const optionEntries = Object.entries(table) as readonly (readonly [OptionName, Option])[];

/** `maxMessage` is `POLLYWOG_MAX_MESSAGE`. */
export function environmentName(name: OptionName): string {
  return `POLLYWOG_${hyphenated(name).replaceAll('-', '_').toUpperCase()}`;
}
