/** The server's options. Flags, environment variables, the configuration file, `set` and `--help` all follow this table. */
import { totalmem } from 'node:os';
import { defaults } from '../protocol/limits.ts';
import { accessOptions } from './accessOptions.ts';
import { host, listenUrl, originRule, peers } from './addresses.ts';
import { channelOptions } from './channelOptions.ts';
import type { Option, OptionTable, ValuesOf } from './option.ts';
import { siteOptions } from './siteOptions.ts';
import { testOptions } from './testOptions.ts';
import {
  choice,
  count,
  countOrHalf,
  directory,
  duration,
  file,
  flag,
  namedFile,
  port,
  program,
  rate,
  size,
  variableName,
} from './values.ts';

export { flagName, isFlag } from './option.ts';

/**
 * `maxMessage` is `--max-message` on the command line, `max-message` in the configuration file and `POLLYWOG_MAX_MESSAGE`
 * in the environment.
 */
export const serverOptions = {
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
    help: 'listen on tcp://HOST:PORT, unix:/PATH or fd:N',
  },
  trustProxy: {
    kind: peers,
    repeatable: true,
    default: [],
    group: 'Listening',
    help: 'trust PROXY and X-Forwarded-For from this peer',
  },
  tlsCert: {
    kind: namedFile,
    repeatable: true,
    default: [],
    group: 'TLS, on the same ports',
    help: 'certificate chain (PEM)',
  },
  tlsKey: {
    kind: namedFile,
    repeatable: true,
    default: [],
    group: 'TLS, on the same ports',
    help: 'its private key; SNI chooses among pairs',
  },
  tlsCa: {
    kind: namedFile,
    repeatable: true,
    default: [],
    group: 'TLS, on the same ports',
    help: 'CA that signs client certificates',
  },
  tlsClient: {
    kind: choice(['off', 'ask', 'require'], 'WORD'),
    default: 'off',
    group: 'TLS, on the same ports',
    help: 'client certificates: off, ask or require',
  },
  tlsOnly: {
    kind: flag,
    default: false,
    group: 'TLS, on the same ports',
    help: 'refuse plain connections',
  },
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
    help: 'admit pages of this origin only; same: this host',
  },
  compress: {
    kind: choice(['off', 'on', 'takeover'], 'WORD'),
    default: 'on',
    group: 'Sessions',
    help: 'permessage-deflate: off, on or takeover',
  },
  ...siteOptions,
  ...accessOptions,
  ...channelOptions,
  handlers: {
    kind: directory('none'),
    default: '',
    group: 'Modules',
    needsRestart: true,
    help: 'load the modules in this folder',
  },
  watch: {
    kind: flag,
    default: false,
    needs: 'handlers',
    group: 'Modules',
    needsRestart: true,
    help: 'reload a module when its file changes',
  },
  loadTimeout: {
    kind: duration,
    default: defaults.loadTimeout,
    group: 'Modules',
    help: 'time limit for loading a module',
  },
  rollbackWindow: {
    kind: duration,
    alias: 'probation',
    default: defaults.rollbackWindow,
    group: 'Modules',
    help: 'roll back a version that throws this early',
  },
  handlerTimeout: {
    kind: duration,
    alias: 'answerTimeout',
    default: defaults.handlerTimeout,
    group: 'Modules',
    help: "time limit for a handler's promise",
  },
  slowHandler: {
    kind: duration,
    alias: 'slowTurn',
    default: defaults.slowHandler,
    group: 'Modules',
    help: 'log handlers that block longer than this',
  },
  exec: {
    kind: program,
    repeatable: true,
    default: [],
    needsRestart: true,
    group: 'Programs',
    help: 'NAME=COMMAND: a handler, one process per client',
  },
  execShared: {
    kind: program,
    repeatable: true,
    default: [],
    needsRestart: true,
    group: 'Programs',
    help: 'NAME=COMMAND: a handler, one process for all',
  },
  execEnv: {
    kind: variableName,
    repeatable: true,
    default: [],
    group: 'Programs',
    help: 'pass this environment variable on',
  },
  execMax: {
    kind: count,
    default: defaults.execMax,
    group: 'Programs',
    help: 'limit on processes of --exec',
  },
  execGrace: {
    kind: duration,
    default: defaults.execGrace,
    group: 'Programs',
    help: 'grace before SIGTERM, and before SIGKILL',
  },
  control: {
    kind: file,
    default: 'auto',
    needsRestart: true,
    group: 'Ways to send commands',
    help: 'Unix socket for commands',
  },
  apiToken: {
    kind: file,
    default: 'none',
    group: 'Ways to send commands',
    help: 'file with the token for commands at /api',
  },
  publishToken: {
    kind: file,
    default: 'none',
    group: 'Ways to send commands',
    help: 'file with a token that only publishes',
  },
  readToken: {
    kind: file,
    default: 'none',
    group: 'Ways to send commands',
    help: 'file with a token for read-only commands',
  },
  metricsToken: {
    kind: file,
    default: 'none',
    group: 'Ways to send commands',
    help: 'file with a token for GET /metrics',
  },
  metricsListen: {
    kind: listenUrl,
    repeatable: true,
    default: [],
    needsRestart: true,
    group: 'Ways to send commands',
    help: 'listen for GET /metrics here, without a token',
  },
  spool: {
    kind: directory('none'),
    default: '',
    needsRestart: true,
    group: 'Ways to send commands',
    help: 'folder to read commands from, as *.cmd',
  },
  stdin: {
    kind: flag,
    default: false,
    needsRestart: true,
    group: 'Ways to send commands',
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
  accessLog: {
    kind: file,
    default: 'none',
    group: 'Log',
    help: 'file with a line for each HTTP request',
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
  inspect: {
    kind: flag,
    default: false,
    group: 'Log',
    help: 'serve the inspector, a page at /inspect',
  },
  recorder: {
    kind: choice(['on', 'off'], 'WORD'),
    default: 'on',
    needsRestart: true,
    group: 'Log',
    help: 'record last frames, shown by why',
  },
  maxMessage: {
    kind: size,
    default: defaults.maxMessage,
    group: 'Limits',
    help: 'largest message, after decompression',
  },
  maxConnections: {
    kind: count,
    default: defaults.maxConnections,
    group: 'Limits',
    help: 'limit on simultaneous connections',
  },
  maxPerAddress: {
    kind: countOrHalf,
    default: defaults.maxPerAddress,
    group: 'Limits',
    help: 'per client address; half: of all places',
  },
  maxBuffered: {
    kind: size,
    default: defaults.maxBuffered,
    group: 'Limits',
    help: 'unsent bytes before a client is cut off',
  },
  maxMemory: {
    kind: size,
    default: defaultMaxMemory(),
    group: 'Limits',
    help: 'memory for all connections together',
  },
  maxSubscriptions: {
    kind: count,
    default: defaults.maxSubscriptions,
    group: 'Limits',
    help: 'channels of one connection',
  },
  maxChannels: {
    kind: count,
    default: 0,
    group: 'Limits',
    help: 'channels that exist at once; 0: no limit',
  },
  messageRate: {
    kind: rate,
    default: { perSecond: 0, burst: 0 },
    group: 'Limits',
    help: 'messages of one connection, as 50/s:100',
  },
  connectRate: {
    kind: rate,
    default: { perSecond: 0, burst: 0 },
    group: 'Limits',
    help: 'new connections of one address, as 10/s:20',
  },
  maxHeader: {
    kind: size,
    default: defaults.maxHeader,
    group: 'Limits',
    help: 'largest HTTP request header',
  },
  handshakeTimeout: {
    kind: duration,
    default: defaults.handshakeTimeout,
    group: 'Timeouts',
    help: 'from accept to the end of the handshake',
  },
  greetingDelay: {
    kind: duration,
    alias: 'greetAfter',
    default: defaults.greetingDelay,
    group: 'Timeouts',
    help: 'silence before a module greets; 0: never',
  },
  pingInterval: {
    kind: duration,
    default: defaults.pingInterval,
    group: 'Timeouts',
    help: 'ping a client after this much silence',
  },
  pongTimeout: {
    kind: duration,
    default: defaults.pongTimeout,
    group: 'Timeouts',
    help: 'time to answer a ping',
  },
  idleTimeout: {
    kind: duration,
    default: defaults.idleTimeout,
    group: 'Timeouts',
    help: 'close after this long without a message',
  },
  keepAlive: {
    kind: duration,
    default: defaults.keepAlive,
    group: 'Timeouts',
    help: 'keep idle HTTP connections; 0: never',
  },
  closeTimeout: {
    kind: duration,
    default: defaults.closeTimeout,
    group: 'Timeouts',
    help: 'time to complete the closing handshake',
  },
  pollTimeout: {
    kind: duration,
    default: defaults.pollTimeout,
    group: 'Timeouts',
    help: 'silence that ends an HTTP polling session',
  },
  drainTimeout: {
    kind: duration,
    default: defaults.drainTimeout,
    group: 'Timeouts',
    help: 'time for clients to leave on SIGTERM',
  },
  ...testOptions,
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

export type OptionName = keyof typeof serverOptions;

/** The table, or a variant of it. */
export type Options = OptionTable<OptionName>;

export type OptionValues = ValuesOf<typeof serverOptions>;

export const optionEntries = Object.entries(serverOptions) as readonly (readonly [OptionName, Option])[];

/** `max-message` is `POLLYWOG_MAX_MESSAGE`. */
export function environmentName(hyphenatedName: string): string {
  return `POLLYWOG_${hyphenatedName.replaceAll('-', '_').toUpperCase()}`;
}

/**
 * Half of the memory of the machine or of this process's control group, at most 512 MiB, which leaves memory for other
 * programs. redis recommends 5% for its clients, because its data takes the rest.
 */
function defaultMaxMemory(): number {
  const MiB = 1024 * 1024;
  // Without a limit, this is 0 or more than the machine's memory.
  const constrained = process.constrainedMemory() ?? 0;
  const total = constrained > 0 ? Math.min(constrained, totalmem()) : totalmem();
  return Math.min(512, Math.max(1, Math.floor(total / 2 / MiB))) * MiB;
}
