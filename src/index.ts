/** The package: a server in the process of a test. Its types are in testing/interface.ts. */

import { newServer } from './core/server.ts';
import { stopServer } from './core/shutdown.ts';
import { handlerNames } from './handlers/handlers.ts';
import { type LogSource, logAs } from './log/log.ts';
import { unrefServer } from './net/listeners.ts';
import { type Host, openListeners, type PreparedServer, prepareServer, runServer } from './open.ts';
import { type Configuration, configurationFrom } from './options/configuration.ts';
import { invalidValue } from './options/error.ts';
import { readOptionObject } from './options/object.ts';
import type { DefaultPaths } from './options/paths.ts';
import { maxDescriptors } from './process/system.ts';
import type { Listener } from './records/records.ts';
import { newCommandMethods } from './testing/commandMethods.ts';
import { viewConnections } from './testing/connections.ts';
import { type EventRing, forgetEvents, openEvents, readEvents, waitForEvent } from './testing/events.ts';
import { forgetFrames, type SeenFrames, watchFrames } from './testing/frames.ts';
import type { ListenOptions, TestServer } from './testing/interface.ts';
import { openServerLog } from './testing/log.ts';
import { resetServer } from './testing/reset.ts';

/** Without default paths, the server uses only the files that options name. */
const noPlaces: DefaultPaths = { controlPath: '', pidFile: '', logFile: '', recordings: '', configFiles: [] };

/** Starts a server in this process. @throws Error if an option is unknown or invalid, or the server cannot listen */
export async function listen(options: ListenOptions = {}): Promise<TestServer> {
  const { handlers, script, timeouts, ...others } = options;
  if (timeouts !== undefined && timeouts !== 'test')
    throw invalidValue('timeouts', 'the word test', timeouts);
  const given = {
    ...others,
    ...(typeof handlers === 'string' ? { handlers } : {}),
    ...(typeof script === 'string' ? { script } : {}),
  };
  const readAgain = () => configurationFrom(readOptionObject(given, timeouts), handlerNames);
  const configuration = readAgain();
  const source: LogSource = {};
  const inProcess = {
    handlers: typeof handlers === 'string' ? {} : (handlers ?? {}),
    scripts: typeof script === 'string' ? {} : (script ?? {}),
  };
  return logAs(source, () => open(source, configuration, readAgain, inProcess));
}

async function open(
  source: LogSource,
  configuration: Configuration,
  readAgain: () => Configuration,
  inProcess: Pick<Host, 'handlers' | 'scripts'>,
): Promise<TestServer> {
  const server = newServer(configuration, maxDescriptors());
  const closeLog = openServerLog(server);
  const events = openEvents(source);
  const closeOutput = () => {
    events.close();
    closeLog();
  };
  try {
    const seen = watchFrames(server);
    const prepared = await prepareServer(server, { places: noPlaces, readAgain, ...inProcess });
    const listeners = await openListeners(prepared);
    return newTestServer({ source, prepared, listeners, ring: events.ring, seen, readAgain, closeOutput });
  } catch (error) {
    closeOutput();
    throw error;
  }
}

interface Opened {
  readonly source: LogSource;
  readonly prepared: PreparedServer;
  readonly listeners: readonly Listener[];
  readonly ring: EventRing;
  readonly seen: SeenFrames;
  readonly readAgain: () => Configuration;
  /** Ends the events and the log. */
  readonly closeOutput: () => void;
}

function newTestServer({
  source,
  prepared,
  listeners,
  ring,
  seen,
  readAgain,
  closeOutput,
}: Opened): TestServer {
  const { server, control } = prepared;
  const events = { [Symbol.asyncIterator]: () => readEvents(ring) };
  const commands = newCommandMethods(control, events);
  let hasEnded = false;
  const ended = runServer(prepared).finally(async () => {
    hasEnded = true;
    commands.fail(new Error('the server has closed'));
    // libuv closes descriptors after its next poll.
    await new Promise(resolve => setImmediate(resolve));
    closeOutput();
  });
  const self: TestServer = {
    url: urlOf(listeners[0], server.configuration),
    port: listeners[0]?.port ?? 0,
    get connections() {
      return viewConnections(control, seen, source);
    },
    commands: commands.methods,
    events,
    waitFor: (isWanted, options) => waitForEvent(ring, isWanted, options),
    async reset() {
      await logAs(source, () => resetServer(control, readAgain));
      forgetEvents(ring);
      forgetFrames(seen);
    },
    close() {
      if (!hasEnded) logAs(source, () => stopServer(server, 'close'));
      return ended;
    },
    [Symbol.asyncDispose]: () => self.close(),
    unref() {
      unrefServer(server);
      return self;
    },
  };
  return self;
}

function urlOf(listener: Listener | undefined, { tlsCert }: Configuration): string {
  const url = listener?.url ?? '';
  return tlsCert.length > 0 ? url.replace(/^ws:/, 'wss:') : url;
}
