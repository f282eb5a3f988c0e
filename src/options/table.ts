/** The server's one table of options: flags, environment variables, the configuration file and `--help` all follow it. */
import { maxHistoryBytes } from '../protocol/limits.ts';
import { host, originRule, peers } from './addresses.ts';
import { limitOptions } from './limits.ts';
import { listenUrl } from './listenUrl.ts';
import { moduleOptions } from './moduleOptions.ts';
import type { Option, OptionTable, ValuesOf } from './option.ts';
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
    help: 'address to listen on; :: means all',
  },
  listen: {
    kind: listenUrl,
    repeatable: true,
    default: [],
    needsRestart: true,
    group: 'Listening',
    help: 'listen on tcp://HOST:PORT or unix:/PATH',
  },
  trustProxy: {
    kind: peers,
    repeatable: true,
    default: [],
    group: 'Listening',
    help: 'trust PROXY and X-Forwarded-For from this peer',
  },
  ...tlsOptions,
  defaultHandler: {
    kind: choice(['echo'], 'NAME'),
    alias: 'default',
    default: 'echo',
    group: 'Sessions',
    help: 'handler if path and subprotocol name none',
  },
  noSelf: {
    kind: flag,
    default: false,
    group: 'Sessions',
    help: 'do not send a broadcast back to its sender',
  },
  origin: {
    kind: originRule,
    repeatable: true,
    default: [],
    group: 'Sessions',
    help: 'accept pages of this origin only; same: our own',
  },
  compress: {
    kind: choice(['off', 'on', 'takeover'], 'WORD'),
    default: 'on',
    group: 'Sessions',
    help: 'permessage-deflate: off, on or takeover',
  },
  data: {
    kind: directory('memory'),
    default: '',
    needsRestart: true,
    group: 'Chat',
    help: 'store chat messages in this folder',
  },
  fsync: {
    kind: choice(['always', 'everysec', 'no'], 'WORD'),
    default: 'everysec',
    needsRestart: true,
    group: 'Chat',
    help: 'flush to disk: always, everysec or no',
  },
  history: {
    kind: historyBound,
    default: { messages: 100, bytes: maxHistoryBytes },
    group: 'Chat',
    help: 'messages (or bytes) replayed on join',
  },
  historyRotate: {
    kind: size,
    default: 16 * 1024 * 1024,
    needsRestart: true,
    group: 'Chat',
    help: 'start a new file for a room at this size',
  },
  historyKeep: {
    kind: count,
    default: 4,
    needsRestart: true,
    group: 'Chat',
    help: 'old files kept for each room',
  },
  ...moduleOptions,
  ...programOptions,
  control: {
    kind: file,
    default: 'auto',
    needsRestart: true,
    group: 'Commands',
    help: 'Unix socket for commands',
  },
  apiToken: {
    kind: file,
    default: 'none',
    group: 'Commands',
    help: 'file with the token for commands at /api',
  },
  spool: {
    kind: directory('none'),
    default: '',
    needsRestart: true,
    group: 'Commands',
    help: 'folder to read commands from, as *.cmd',
  },
  stdin: {
    kind: flag,
    default: false,
    needsRestart: true,
    group: 'Commands',
    help: 'read commands from stdin, one per line',
  },
  config: {
    kind: file,
    default: 'auto',
    needsRestart: true,
    group: 'Process',
    help: 'configuration file, or none',
  },
  daemon: {
    kind: flag,
    default: false,
    needsRestart: true,
    group: 'Process',
    help: 'run in the background once listening',
  },
  pidFile: {
    kind: file,
    default: 'auto',
    needsRestart: true,
    group: 'Process',
    help: 'file for the process ID',
  },
  logFile: {
    kind: file,
    default: 'auto',
    group: 'Log',
    help: 'log to this file, not to stderr',
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
    kind: choice(['auto', 'stream'], 'WORD'),
    valueAliases: { public: 'stream' },
    default: 'auto',
    needsRestart: true,
    group: 'Other',
    help: 'stream: documented Node API only, slower',
  },
  help: {
    kind: flag,
    short: 'h',
    default: false,
    group: 'Other',
    help: 'print this help',
  },
  version: {
    kind: flag,
    short: 'V',
    alias: 'v',
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

/** `max-message` is `POLLYWOG_MAX_MESSAGE`. */
export function environmentName(hyphenatedName: string): string {
  return `POLLYWOG_${hyphenatedName.replaceAll('-', '_').toUpperCase()}`;
}
