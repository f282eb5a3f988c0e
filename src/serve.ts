/** The server: options → configuration → listeners → serverLoop. */

import { openEntry } from './access/entry.ts';
import { openTokens } from './access/tokens.ts';
import { newApiRoute, newControlRoute } from './commands/api.ts';
import { print, runCommandLine } from './commands/cli.ts';
import type { Control } from './commands/command.ts';
import { newCommandQueue, runCommands } from './commands/commandQueue.ts';
import { commandNames } from './commands/help.ts';
import { newLoneMetricsRoute, newMetricsRoute } from './commands/metricsRoute.ts';
import { newPublishRoute } from './commands/publishRoute.ts';
import { reloadAndLog, reloadConfiguration } from './commands/reload.ts';
import { openSpool } from './commands/spool/spool.ts';
import { runStdinCommands } from './commands/stdin.ts';
import { newServer } from './core/server.ts';
import { serverLoop } from './core/serverLoop.ts';
import { drainServer, stopServer } from './core/shutdown.ts';
import { closeAccessLog, openAccessLog } from './diagnostics/accessLog.ts';
import { traceConnection } from './diagnostics/trace.ts';
import { startRechecks } from './handlers/authorize.ts';
import { closeChannels, openChannels } from './handlers/channels/channels.ts';
import type { Channels } from './handlers/channels/records.ts';
import { neededBy } from './handlers/channels/subscribers.ts';
import { openChat, roomNeedsOf } from './handlers/chat/chat.ts';
import type { Chat } from './handlers/chat/room.ts';
import { addHandlers, checkDefault, handlerNames, startHandlers, stopHandlers } from './handlers/handlers.ts';
import { startModules, stopModules } from './handlers/modules/modules.ts';
import { log } from './log/log.ts';
import { printableLine } from './log/printable.ts';
import { openControl, openLastingListener } from './net/listeners.ts';
import { openTls } from './net/tls.ts';
import { type Configuration, readConfiguration } from './options/configuration.ts';
import { Exit, UsageError } from './options/error.ts';
import { helpText } from './options/help.ts';
import { defaultPaths, logPath } from './options/paths.ts';
import { checkProcessText } from './options/text.ts';
import { announceListeners, drainOutput, notified } from './process/announce.ts';
import { findParent, startDaemon } from './process/daemon.ts';
import { makeDefaultFolders, openLogFile, openPidFile } from './process/files.ts';
import { deferReload, installSignalHandlers } from './process/signals.ts';
import { maxDescriptors, version } from './process/system.ts';
import type { Listener, Server } from './records/records.ts';
import { publisherOfHandshake } from './wires/bearer.ts';
import { newSubscribeRoute } from './wires/channels/subscribeRoute.ts';
import { newDetectWire } from './wires/detectWire.ts';
import { newHttpWire } from './wires/http.ts';
import { newLinesWire } from './wires/lines.ts';
import { newPacketsWire } from './wires/packets.ts';
import { newPollRoute } from './wires/polling/pollRoute.ts';
import { newStaticRoute } from './wires/static/staticRoute.ts';

const argv = process.argv.slice(2);
const usual = defaultPaths(process.env, process.getuid?.());
/** The process that waits until this daemon listens. */
const parent = findParent();

/** Reads the configuration, at the start and at every reload. */
function readAgain(): Configuration {
  return readConfiguration(argv, process.env, handlerNames, usual.configFiles);
}

/** Runs the server until it ends the process. @returns the exit code, if there was nothing to serve */
async function serve(): Promise<number> {
  const configuration = readAgain();
  if (configuration.action === 'help') return print(helpText(commandNames()));
  if (configuration.action === 'version') return print(version());
  deferReload();
  makeDefaultFolders(configuration, usual);
  if (configuration.daemon && parent === undefined) return startDaemon(logPath(configuration, usual));
  const server = newServer(configuration, maxDescriptors());
  openLogFile(server, usual);
  openAccessLog(server);
  openPidFile(server, usual);
  if (configuration.trace) traceConnection(server.trace, 'all');

  const channels = await openChannels(server);
  const chat = openChat(server, channels);
  addHandlers(server, chat, channels);
  const modules = await startModules(server, channels);
  checkDefault(server);

  const control = newControl(server, chat, channels);
  const tokens = openTokens(server);
  const entry = openEntry(server, tokens);
  channels.entry = entry;
  startRechecks(entry, connection => [...neededBy(channels, connection), ...roomNeedsOf(chat, connection)]);
  channels.publisherOf = (head, connection) =>
    publisherOfHandshake(tokens, head, connection, entry.takesTokens());
  const routes = [
    newMetricsRoute(control, tokens),
    newApiRoute(control, tokens),
    newPublishRoute(channels, tokens),
    newSubscribeRoute(channels),
    newPollRoute(server, entry),
    ...(configuration.static === '' ? [] : [newStaticRoute(server)]),
  ];
  const http = newHttpWire(server, routes, entry);
  const packets = newPacketsWire(chat);
  const lines = newLinesWire(chat);
  // Those of modules are asked before HTTP, which takes all that is not text; but they are not asked about its requests.
  const wires = [{ wires: [packets] }, modules, { wires: [http, lines] }];
  const secure = await openTls(server);
  const greeter = () => modules.greeter;
  const firstWires = {
    shared: newDetectWire(wires, http, { wire: greeter, isImmediate: false }, secure, entry),
    lines: newDetectWire(wires, http, { wire: () => lines, isImmediate: true }, secure, entry),
    greet: newDetectWire(wires, http, { wire: greeter, isImmediate: true }, secure, entry),
  };
  warnOfGreetings(configuration, modules.greeter !== undefined);

  installSignalHandlers({
    isDraining: () => server.isDraining,
    drain: signal => drainServer(server, signal),
    reload: () => void reloadAndLog(server, readAgain, 'SIGHUP'),
  });
  const listeners: Listener[] = [];
  for (const address of configuration.listeners) {
    listeners.push(await openLastingListener(server, address, firstWires[address.greeting ?? 'shared']));
  }
  for (const address of configuration.metricsListen)
    await openLastingListener(
      server,
      address,
      newHttpWire(server, [newLoneMetricsRoute(control)], undefined, 'metrics'),
    );
  await openControl(server, usual, newHttpWire(server, [newControlRoute(control)], undefined, 'control'));
  if (configuration.stdin) void runStdinCommands(control);
  const spool = configuration.spool === '' ? undefined : await openSpool(control, configuration.spool);
  await announceListeners(listeners, configuration, parent);

  startHandlers(server);
  await serverLoop(server, () => runCommands(control));
  await stopHandlers(server);
  stopModules(modules);
  await spool?.close();
  closeChannels(channels);
  log('info', 'stopped');
  await closeAccessLog(server);
  await notified();
  await drainOutput();
  // Ends even if stdin is open or a module has pending work.
  process.exit(Exit.Done);
}

/** Warns of options that ask for a greeting which no module gives. Before 0.1, `--greet-after` greeted terminals. */
function warnOfGreetings({ greetingDelay, listeners }: Configuration, hasGreeter: boolean): void {
  if (hasGreeter) return;
  if (greetingDelay > 0) {
    const remedy = 'for terminals use --listen tcp://HOST:PORT?lines';
    log('warn', 'nothing to greet with', { option: 'greeting-delay', remedy });
  }
  if (listeners.some(({ greeting }) => greeting === 'greet'))
    log('warn', 'nothing to greet with', { option: 'listen', remedy: 'load a module whose wire has greet' });
}

function newControl(server: Server, chat: Chat, channels: Channels): Control {
  return {
    server,
    chat,
    channels,
    queue: newCommandQueue(),
    version: version(),
    startedAt: Date.now(),
    places: usual,
    reload: () => reloadConfiguration(server, readAgain),
    drain: () => drainServer(server, 'command'),
    stop: () => stopServer(server, 'command'),
  };
}

// The server keeps running after the reader of stdout has left.
process.stdout.on('error', () => {});

try {
  checkProcessText(argv, process.env);
  process.exitCode = (await runCommandLine(argv, process.env, usual, handlerNames)) ?? (await serve());
} catch (error) {
  const { message } = error as Error;
  const exitCode = error instanceof UsageError ? Exit.Usage : Exit.Failed;
  process.stderr.write(`pollywog: ${printableLine(message)}\n`);
  await parent?.failed(message, exitCode);
  process.exit(exitCode);
}
