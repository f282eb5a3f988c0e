#!/usr/bin/env node
/** The server: options → configuration → listeners → serverLoop. */
import { mkdirSync, readFileSync } from 'node:fs';
import { dirname } from 'node:path';
import type { Listener, Server } from './connection/server.ts';
import { newTable } from './connection/table.ts';
import { traceConnection } from './connection/trace.ts';
import type { Wire } from './connection/wire.ts';
import { newOwnersDoor, newTokenDoor } from './control/api.ts';
import type { Control } from './control/command.ts';
import { findStarter, startDaemon } from './control/daemon.ts';
import { commandHelp, commandLines } from './control/help.ts';
import { notify } from './control/notify.ts';
import { holdPidFile } from './control/pidFile.ts';
import { knownCommand, recall, wordsOf } from './control/recall.ts';
import { reload, reloadAndLog } from './control/reload.ts';
import { openSpool } from './control/spool.ts';
import { takeStdin } from './control/stdin.ts';
import { readToken } from './control/token.ts';
import { configureLog, log } from './log/log.ts';
import { checkLog, logTo } from './log/sink.ts';
import { drain, stop } from './loop/drain.ts';
import { openListener } from './loop/listeners.ts';
import { clock, serverLoop } from './loop/serverLoop.ts';
import { openTls } from './loop/tls.ts';
import { startModules } from './modules/modules.ts';
import { catchStrays } from './modules/strays.ts';
import { checkConfiguration } from './options/check.ts';
import { type Configuration, readConfiguration } from './options/configuration.ts';
import { UsageError } from './options/error.ts';
import { defaultFile } from './options/file.ts';
import { helpText } from './options/help.ts';
import { controlPlace, logPlace, pidPlace, places } from './options/places.ts';
import { boundHistories, newChat } from './session/chat.ts';
import { handlerNames, makeHandlers } from './session/handlers.ts';
import type { Chat } from './session/room.ts';
import { closeStore, openStore, type StoreOptions } from './storage/store.ts';
import { newFirstWire } from './wire/first.ts';
import { newHttpWire } from './wire/http.ts';
import { newLinesWire } from './wire/lines.ts';
import { newPacketsWire } from './wire/packets.ts';
import { newPollRoute } from './wire/poll.ts';

/** Exit codes: 0 done, 1 failed, 2 usage. */
const failed = 1;
const usage = 2;

const usual = places(process.env, process.getuid?.());
/** Who waits for this process to listen, if it is a daemon. */
const starter = findStarter();

async function main(): Promise<number> {
  const argv = process.argv.slice(2);
  const [word, file] = wordsOf(argv);
  if (word === undefined) return serve();
  // These ask nobody.
  if (word === 'help')
    return print(file === undefined ? helpText(commandLines()) : commandHelp(knownCommand(file)));
  if (word === 'defaultconfig') return print(defaultFile());
  if (word === 'checkconfig') {
    return print(checkConfiguration(file, process.env, handlerNames, usual.configFiles));
  }
  return recall(argv, process.env, usual);
}

async function serve(): Promise<number> {
  const configuration = readAgain();
  if (configuration.action === 'help') return print(helpText(commandLines()));
  if (configuration.action === 'version') return print(version());
  makeUsualFolders(configuration);
  if (configuration.daemon && starter === undefined) return startDaemon(logPlace(configuration, usual));
  logTo(logPlace(configuration, usual));
  configureLog(configuration.logLevel, configuration.logFormat);
  const pidFile = pidPlace(configuration, usual);
  if (pidFile !== undefined) holdPidFile(pidFile);
  if (configuration.trace) traceConnection('all');
  const store = configuration.data === '' ? undefined : openStore(storeOptions(configuration));
  const chat = newChat(configuration.history, store);
  const server = newServer(configuration, chat);
  const modules = await startModules(server);
  checkDefault(server);
  if (configuration.handlers !== '') catchStrays(() => modules.slots.values());
  const control = newControl(server, chat);
  const http = newHttpWire(server, [newTokenDoor(control, keepToken(server)), newPollRoute(server)]);
  const packets = newPacketsWire(chat);
  const lines = newLinesWire(chat, http);
  const secure = await openTls(server);
  // Those of modules are asked before HTTP, which takes all that is not text; but they are not asked about its requests.
  const wires = () => [packets, ...modules.wires, http, lines];
  const firstWire = newFirstWire(wires, http, () => modules.greeter ?? lines, secure);
  obeySignals(server);
  const listeners: Listener[] = [];
  for (const address of configuration.listeners) {
    listeners.push(await openListener(server, address, firstWire));
  }
  await openControl(server, newHttpWire(server, [newOwnersDoor(control)], 'control'));
  if (configuration.stdin) void takeStdin(control);
  const spool = configuration.spool === '' ? undefined : await openSpool(control, configuration.spool);
  await announce(listeners, configuration);
  for (const handler of server.handlers.values()) handler.started?.(server);
  await serverLoop(server);
  await Promise.all([...server.handlers.values()].map(handler => handler.stopped?.()));
  await spool?.close();
  if (store !== undefined) closeStore(store);
  // Who has no more commands to wait for ends, though stdin has not.
  if (configuration.stdin) process.stdin.destroy();
  log('info', 'stopped');
  return 0;
}

/** The configuration, from where it comes at the start and at every reload. */
function readAgain(): Configuration {
  return readConfiguration(process.argv.slice(2), process.env, handlerNames, usual.configFiles);
}

function newControl(server: Server, chat: Chat): Control {
  return {
    server,
    chat,
    version: version(),
    startedAt: Date.now(),
    places: usual,
    reload: () => reload(server, readAgain),
    drain: () => drain(server, 'command'),
    stop: () => stop(server, 'command'),
  };
}

/** The token of now: its file is read at the start, and at every reload. */
function keepToken(server: Server): () => string | undefined {
  let token = readToken(server.configuration.apiToken);
  server.reloadables.push({
    async prepare(next) {
      const read = readToken(next.apiToken);
      return () => {
        token = read;
        return [];
      };
    },
  });
  return () => token;
}

/** Two servers may run side by side: then the second one can do without its usual place, but not without a named one. */
async function openControl(server: Server, wire: Wire): Promise<void> {
  const { control } = server.configuration;
  const path = controlPlace(server.configuration, usual);
  if (path === undefined) return;
  try {
    if (control === 'auto') mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
    await openListener(server, { transport: 'unix', path }, wire, true);
  } catch (error) {
    if (control !== 'auto') throw error;
    log('warn', 'no commands', { reason: (error as Error).message });
  }
}

/** Only the usual places are made: a folder that was named and is not there is more likely a slip. */
function makeUsualFolders(configuration: Configuration): void {
  for (const place of [logPlace(configuration, usual), pidPlace(configuration, usual)]) {
    if (place !== usual.logFile && place !== usual.pidFile) continue;
    try {
      mkdirSync(dirname(place), { recursive: true, mode: 0o700 });
    } catch {
      // Opening the file will say why not.
    }
  }
}

function newServer(configuration: Configuration, chat: Chat): Server {
  return {
    configuration,
    reloadables: [
      { prepare: async next => reopenLog(next) },
      { prepare: async next => () => boundHistories(chat, next.history) },
    ],
    handlers: makeHandlers(configuration, chat),
    table: newTable(),
    counters: { turns: 0, accepted: 0, refused: 0, messagesIn: 0, fellBehind: 0 },
    connections: 0,
    polling: { clients: 0, requests: 0 },
    now: clock(),
    isDraining: false,
    drainDeadline: 0,
  };
}

/** Which handlers there are is known when all are loaded. */
function checkDefault({ handlers, configuration: { defaultHandler } }: Server): void {
  if (handlers.has(defaultHandler)) return;
  const known = [...handlers.keys()].join(', ');
  throw new UsageError(`--default wants one of ${known}, not "${defaultHandler}"`);
}

function storeOptions(configuration: Configuration): StoreOptions {
  const { data: directory, fsync, historyRotate: rotateAt, historyKeep: keep } = configuration;
  return { directory, fsync, rotateAt, keep };
}

/** Once all is checked, the file is opened anew: it may have been put aside, as logrotate does. */
function reopenLog(next: Configuration): () => readonly string[] {
  const place = logPlace(next, usual);
  checkLog(place);
  return () => {
    logTo(place);
    configureLog(next.logLevel, next.logFormat);
    return [];
  };
}

/** One line a listener on stdout, for whoever waits for it: that it listens, where, and who. */
async function announce(listeners: readonly Listener[], { logFormat }: Configuration): Promise<void> {
  const { pid } = process;
  const lines = listeners.map(({ url, port }) =>
    logFormat === 'json'
      ? JSON.stringify({ event: 'listening', url, port, pid })
      : `pollywog listens on ${url} (pid ${pid})`,
  );
  notify('READY=1', `STATUS=listens on ${listeners.map(({ url }) => url).join(', ')}`);
  if (starter === undefined) print(lines.join('\n'));
  else await starter.ready(lines);
}

function obeySignals(server: Server): void {
  for (const signal of ['SIGTERM', 'SIGINT'] as const) {
    process.on(signal, () => {
      // The second one is meant: it does not wait.
      if (server.isDraining) process.exit(failed);
      notify('STOPPING=1');
      drain(server, signal);
    });
  }
  process.on('SIGHUP', () => void reloadAndLog(server, readAgain));
}

function print(text: string): 0 {
  process.stdout.write(`${text}\n`);
  return 0;
}

function version(): string {
  const file = readFileSync(new URL('../package.json', import.meta.url), 'utf8');
  return (JSON.parse(file) as { version: string }).version;
}

// Whoever reads our output may go away: that is no reason to stop serving.
process.stdout.on('error', () => {});

try {
  process.exitCode = await main();
} catch (error) {
  const { message } = error as Error;
  const exitCode = error instanceof UsageError ? usage : failed;
  process.stderr.write(`pollywog: ${message}\n`);
  await starter?.failed(message, exitCode);
  process.exit(exitCode);
}
