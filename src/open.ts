/**
 * Opens a server, without the process around it (serve.ts, index.ts). The order is prepare, listen, run. When the server has
 * ended or a step fails, all opened resources are released.
 */

import { openEntry } from './access/entry.ts';
import { openTokens } from './access/tokens.ts';
import { newApiRoute, newControlRoute } from './commands/api.ts';
import type { Control } from './commands/command.ts';
import { newCommandQueue, runCommands } from './commands/commandQueue.ts';
import { newLoneMetricsRoute, newMetricsRoute } from './commands/metricsRoute.ts';
import { newPublishRoute } from './commands/publishRoute.ts';
import { reloadConfiguration } from './commands/reload.ts';
import { openSpool } from './commands/spool/spool.ts';
import { serverLoop } from './core/serverLoop.ts';
import { drainServer, stopServer } from './core/shutdown.ts';
import { closeAccessLog, openAccessLog } from './diagnostics/accessLog.ts';
import { closeRecordings, startRecording } from './diagnostics/recordings.ts';
import { openTrace } from './diagnostics/trace.ts';
import { startRechecks } from './handlers/authorize.ts';
import { closeChannels, openChannels } from './handlers/channels/channels.ts';
import { neededBy } from './handlers/channels/subscribers.ts';
import { openChat, roomNeedsOf } from './handlers/chat/chat.ts';
import { openFaults } from './handlers/faults/faults.ts';
import { addHandlers, openDefault, startHandlers, stopHandlers } from './handlers/handlers.ts';
import { openInspectors } from './handlers/inspector/handler.ts';
import { type GivenHandlers, startModules, stopModules } from './handlers/modules/modules.ts';
import type { GivenScripts } from './handlers/scripts/handler.ts';
import { log } from './log/log.ts';
import { openControl, openLastingListener } from './net/listeners.ts';
import { openTls } from './net/tls.ts';
import { type Configuration, idleOptions } from './options/configuration.ts';
import type { DefaultPaths } from './options/paths.ts';
import { version } from './process/system.ts';
import type { Listener, Server, Wire } from './records/records.ts';
import { publisherOfHandshake } from './wires/bearer.ts';
import { newSubscribeRoute } from './wires/channels/subscribeRoute.ts';
import { newDetectWire } from './wires/detectWire.ts';
import { newHttpWire } from './wires/http.ts';
import { newInspectRoute } from './wires/inspectRoute.ts';
import { newLinesWire } from './wires/lines.ts';
import { newPacketsWire } from './wires/packets.ts';
import { newPollRoute } from './wires/polling/pollRoute.ts';
import { newStaticRoute } from './wires/static/staticRoute.ts';

/** The parts of a server that depend on the process or test around it. */
export interface Host {
  readonly places: DefaultPaths;
  /** Reads the configuration again, from the same sources. @throws UsageError */
  readAgain(): Configuration;
  readonly handlers?: GivenHandlers;
  readonly scripts?: GivenScripts;
}

/** A server with its handlers and wires. */
export interface PreparedServer {
  readonly server: Server;
  readonly control: Control;
  /** The wires of new connections, by the kind of the listener. */
  readonly firstWires: Readonly<Record<'shared' | 'lines' | 'greet' | 'metrics' | 'control', Wire>>;
  /** They release the opened resources; the last one runs first. */
  readonly releases: (() => void | Promise<void>)[];
}

/**
 * Loads handlers and modules, opens the stored messages, and makes the wires. Opens no listener.
 * @throws Error, a sentence; then everything is released
 */
export async function prepareServer(server: Server, host: Host): Promise<PreparedServer> {
  const releases: PreparedServer['releases'] = [];
  return releasingOnFailure(releases, () => assemble(server, host, releases));
}

async function assemble(
  server: Server,
  host: Host,
  releases: PreparedServer['releases'],
): Promise<PreparedServer> {
  const { configuration } = server;
  openAccessLog(server);
  releases.push(() => closeAccessLog(server));
  openTrace(server);
  startRecording(server);
  releases.push(() => closeRecordings(server));

  const channels = await openChannels(server);
  releases.push(() => closeChannels(channels));
  const chat = openChat(server, channels);
  const tokens = openTokens(server);
  const inspectors = openInspectors(server, channels, tokens);
  releases.push(() => stopHandlers(server));
  await addHandlers(server, chat, channels, host.scripts);
  const modules = await startModules(server, channels, host.handlers);
  releases.push(() => stopModules(modules));
  openDefault(server);
  openFaults(server);

  const control: Control = {
    server,
    chat,
    channels,
    queue: newCommandQueue(),
    version: version(),
    startedAt: Date.now(),
    places: host.places,
    reload: () => reloadConfiguration(server, host.readAgain),
    drain: () => drainServer(server, 'command'),
    stop: () => stopServer(server, 'command'),
  };
  const entry = openEntry(server, tokens);
  channels.entry = entry;
  releases.push(
    startRechecks(entry, connection => [...neededBy(channels, connection), ...roomNeedsOf(chat, connection)]),
  );
  channels.publisherOf = (head, connection) =>
    publisherOfHandshake(tokens, head, connection, entry.takesTokens());
  const routes = [
    newMetricsRoute(control, tokens),
    newApiRoute(control, tokens),
    newPublishRoute(channels, tokens),
    newSubscribeRoute(channels),
    newPollRoute(server, entry),
    newInspectRoute(server, tokens, false),
    ...(configuration.static === '' ? [] : [newStaticRoute(server)]),
  ];
  const controlRoutes = [newControlRoute(control), newInspectRoute(server, tokens, true)];
  const http = newHttpWire(server, routes, entry);
  inspectors.workbenchWire = http;
  const packets = newPacketsWire(chat);
  const lines = newLinesWire(chat);
  // Modules' wires come before HTTP, which takes all input that is not text; HTTP requests never reach them.
  const wires = [{ wires: [packets] }, modules, { wires: [http, lines] }];
  const secure = await openTls(server);
  const greeter = () => modules.greeter;
  warnOfGreetings(configuration, modules.greeter !== undefined);
  warnOfIdleOptions(server);
  return {
    ...{ server, control, releases },
    firstWires: {
      shared: newDetectWire(wires, http, { wire: greeter, isImmediate: false }, secure, entry),
      lines: newDetectWire(wires, http, { wire: () => lines, isImmediate: true }, secure, entry),
      greet: newDetectWire(wires, http, { wire: greeter, isImmediate: true }, secure, entry),
      metrics: newHttpWire(server, [newLoneMetricsRoute(control)], undefined, 'metrics'),
      control: newHttpWire(server, controlRoutes, undefined, 'control'),
    },
  };
}

/** Warns of options that have no effect without another one, now and at every reload. */
function warnOfIdleOptions({ configuration, reloadables }: Server): void {
  const warn = (now: Configuration) => {
    for (const { option, needs } of idleOptions(now))
      log('warn', 'option without effect', { option, remedy: `give ${needs}, too` });
  };
  warn(configuration);
  reloadables.push({
    prepare: async next => () => {
      warn(next);
      return [];
    },
  });
}

/** Warns of options that need a greeting if no module has one. Before 0.1, `--greet-after` greeted terminals. */
function warnOfGreetings({ greetingDelay, listeners }: Configuration, hasGreeter: boolean): void {
  if (hasGreeter) return;
  if (greetingDelay > 0) {
    const remedy = 'for terminals use --listen tcp://HOST:PORT?lines';
    log('warn', 'nothing to greet with', { option: 'greeting-delay', remedy });
  }
  if (listeners.some(({ greeting }) => greeting === 'greet'))
    log('warn', 'nothing to greet with', { option: 'listen', remedy: 'load a module whose wire has greet' });
}

/**
 * Listens on all configured addresses, and opens the control socket and the spool.
 * @returns the listeners for clients
 * @throws Error, a sentence; then everything is released
 */
export async function openListeners(prepared: PreparedServer): Promise<readonly Listener[]> {
  const { server, control, firstWires, releases } = prepared;
  const { configuration } = server;
  releases.push(() => closeAllListeners(server));
  return releasingOnFailure(releases, async () => {
    const listeners: Listener[] = [];
    for (const address of configuration.listeners)
      listeners.push(await openLastingListener(server, address, firstWires[address.greeting ?? 'shared']));
    for (const address of configuration.metricsListen)
      await openLastingListener(server, address, firstWires.metrics);
    await openControl(server, control.places, firstWires.control);
    if (configuration.spool !== '') {
      const spool = await openSpool(control, configuration.spool);
      releases.push(() => spool.close());
    }
    return listeners;
  });
}

function closeAllListeners({ table }: Server): void {
  for (const entry of table.entries) if (entry?.kind === 'listener') entry.close();
}

/** Runs the server until it has ended, and releases everything. */
export async function runServer({ server, control, releases }: PreparedServer): Promise<void> {
  startHandlers(server);
  await serverLoop(server, () => runCommands(control));
  await releaseAll(releases);
}

async function releasingOnFailure<T>(
  releases: PreparedServer['releases'],
  act: () => Promise<T>,
): Promise<T> {
  try {
    return await act();
  } catch (error) {
    await releaseAll(releases);
    throw error;
  }
}

async function releaseAll(releases: PreparedServer['releases']): Promise<void> {
  for (const release of releases.splice(0).toReversed()) await release();
}
