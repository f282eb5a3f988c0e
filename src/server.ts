#!/usr/bin/env node
/** The server: options → configuration → listeners → serverLoop. */
import { readFileSync } from 'node:fs';
import type { Listener, Server } from './connection/server.ts';
import { newTable } from './connection/table.ts';
import { configureLog, log } from './log/log.ts';
import { drain } from './loop/drain.ts';
import { openListener } from './loop/listeners.ts';
import { clock, serverLoop } from './loop/serverLoop.ts';
import { type Configuration, readConfiguration } from './options/configuration.ts';
import { UsageError } from './options/error.ts';
import { helpText } from './options/help.ts';
import { newChat } from './session/chat.ts';
import { handlerNames, makeHandlers } from './session/handlers.ts';
import type { Chat } from './session/room.ts';
import { closeStore, openStore, type StoreOptions } from './storage/store.ts';
import { newFirstWire } from './wire/first.ts';
import { newHttpWire } from './wire/http.ts';
import { newLinesWire } from './wire/lines.ts';
import { newPacketsWire } from './wire/packets.ts';

/** Exit codes: 0 done, 1 failed, 2 usage. */
const failed = 1;
const usage = 2;

async function main(): Promise<number> {
  const configuration = readConfiguration(process.argv.slice(2), process.env, handlerNames);
  if (configuration.action === 'help') return print(helpText());
  if (configuration.action === 'version') return print(version());
  configureLog(configuration.logLevel, configuration.logFormat);
  const store = configuration.data === '' ? undefined : openStore(storeOptions(configuration));
  const chat = newChat(configuration.history, store);
  const server = newServer(configuration, chat);
  const http = newHttpWire(server, []);
  const packets = newPacketsWire(chat);
  const lines = newLinesWire(chat, http);
  drainOnSignals(server);
  for (const address of configuration.listeners) {
    announce(await openListener(server, address), configuration);
  }
  await serverLoop(server, newFirstWire([packets, http, lines], http, lines));
  if (store !== undefined) closeStore(store);
  log('info', 'stopped');
  return 0;
}

function newServer(configuration: Configuration, chat: Chat): Server {
  return {
    configuration,
    reloadables: [],
    handlers: makeHandlers(configuration, chat),
    table: newTable(),
    counters: { turns: 0, accepted: 0, refused: 0, messagesIn: 0, fellBehind: 0 },
    connections: 0,
    now: clock(),
    isDraining: false,
    drainDeadline: 0,
  };
}

function storeOptions(configuration: Configuration): StoreOptions {
  const { data: directory, fsync, historyRotate: rotateAt, historyKeep: keep } = configuration;
  return { directory, fsync, rotateAt, keep };
}

/** One line a listener on stdout, for whoever waits for it: that it listens, where, and who. */
function announce({ url, port }: Listener, { logFormat }: Configuration): void {
  const { pid } = process;
  if (logFormat === 'json') print(JSON.stringify({ event: 'listening', url, port, pid }));
  else print(`pollywog listens on ${url} (pid ${pid})`);
}

function drainOnSignals(server: Server): void {
  for (const signal of ['SIGTERM', 'SIGINT'] as const) {
    process.on(signal, () => {
      // The second one is meant: it does not wait.
      if (server.isDraining) process.exit(failed);
      drain(server, signal);
    });
  }
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
  process.stderr.write(`pollywog: ${(error as Error).message}\n`);
  process.exit(error instanceof UsageError ? usage : failed);
}
