/** A server in the process of the test, whose channels the test publishes to. */
import { openAccess } from '../../src/access/access.ts';
import { openApp } from '../../src/access/app.ts';
import { newEntry } from '../../src/access/entry.ts';
import type { Access } from '../../src/access/records.ts';
import { openTokens } from '../../src/access/tokens.ts';
import { newPublishRoute } from '../../src/commands/publishRoute.ts';
import { newServer } from '../../src/core/server.ts';
import { serverLoop } from '../../src/core/serverLoop.ts';
import { drainServer, stopServer } from '../../src/core/shutdown.ts';
import { closeChannels, openChannels } from '../../src/handlers/channels/channels.ts';
import { answerTo, publish } from '../../src/handlers/channels/publish.ts';
import type { Channels, Publication } from '../../src/handlers/channels/records.ts';
import { newChat } from '../../src/handlers/chat/chat.ts';
import { addHandlers, handlerNames } from '../../src/handlers/handlers.ts';
import { configureLog } from '../../src/log/log.ts';
import { openListener } from '../../src/net/listeners.ts';
import { openTls } from '../../src/net/tls.ts';
import { readConfiguration } from '../../src/options/configuration.ts';
import type { Server } from '../../src/records/records.ts';
import { newSubscribeRoute } from '../../src/wires/channels/subscribeRoute.ts';
import { newDetectWire } from '../../src/wires/detectWire.ts';
import { newHttpWire } from '../../src/wires/http.ts';
import { newPollRoute } from '../../src/wires/polling/pollRoute.ts';
import type { Hooks } from './serverProcess.ts';

export interface ChannelServer {
  readonly server: Server;
  readonly channels: Channels;
  /** The rights table and the keys, which a test may replace. */
  readonly access: Access;
  readonly port: number;
  /** Publishes a text, or what `further` says. @returns its id */
  publish(channel: string, data: string | Uint8Array, further?: Partial<Publication>): Promise<string>;
  /** The id of the message with this number. */
  id(seq: number): string;
  /** Stops the server, and closes its log. */
  stop(): Promise<void>;
  /** Starts a graceful shutdown. */
  drain(): void;
  /** Resolves when all connections are closed, after `drain`. */
  readonly over: Promise<void>;
}

/** Starts a server, which stops when the test ends. */
export async function startChannels(test: Hooks, ...options: string[]): Promise<ChannelServer> {
  configureLog('error', 'text');
  const server = newServer(readConfiguration(options, {}, handlerNames));
  const channels = await openChannels(server);
  await addHandlers(server, newChat(server, channels, ['*']), channels);
  const tokens = openTokens(server);
  const access = openAccess(server);
  const entry = newEntry(server, access, openApp(server), tokens);
  channels.entry = entry;
  const routes = [
    newPublishRoute(channels, tokens),
    newSubscribeRoute(channels),
    newPollRoute(server, entry),
  ];
  const http = newHttpWire(server, routes, entry);
  const greeting = { wire: () => undefined, isImmediate: false };
  const firstWire = newDetectWire([{ wires: [http] }], http, greeting, await openTls(server));
  const { port } = await openListener(server, { transport: 'tcp', host: '127.0.0.1', port: 0 }, firstWire);
  const over = serverLoop(server, () => {});
  let stopped: Promise<void> | undefined;
  const stop = () => {
    stopped ??= over.then(() => closeChannels(channels));
    stopServer(server, 'the test is over');
    return stopped;
  };
  test.after(() => stopped ?? stop());
  return {
    server,
    channels,
    access,
    port: port!,
    over,
    stop,
    id: seq => `${channels.epoch}-${seq}`,
    drain: () => drainServer(server, 'a test'),
    publish: (channel, data, further = {}) =>
      new Promise((resolve, reject) => {
        const kind = typeof data === 'string' ? 'text' : 'bytes';
        const publication = { channel, kind, data: Buffer.from(data as string), ...further } as Publication;
        publish(channels, publication, outcome => {
          if (typeof outcome === 'string') reject(new Error(outcome));
          else resolve(answerTo(channels, outcome).id);
        });
      }),
  };
}

/** Waits until the condition holds, which the server's turns make true. */
export async function until(holds: () => boolean): Promise<void> {
  while (!holds()) await new Promise(setImmediate);
}
