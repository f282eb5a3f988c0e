/** All built-in handlers and the user's programs. To add a handler, write a file beside this one and add a line here. */

import { log } from '../log/log.ts';
import { noHandler } from '../options/configuration.ts';
import { quoted, UsageError } from '../options/error.ts';
import type { Handler, Server } from '../records/records.ts';
import { newBroadcastHandler } from './broadcast.ts';
import { newChannelsHandler } from './channels/handler.ts';
import type { Channels } from './channels/records.ts';
import type { Chat } from './chat/room.ts';
import { newTpacketHandler } from './chat/tpacket.ts';
import { echo } from './echo.ts';
import { faulty } from './faults/faults.ts';
import { checkProgram } from './programs/executable.ts';
import { newProgramHandler } from './programs/perConnection.ts';
import { newPrograms } from './programs/programs.ts';
import { newSharedProgramHandler } from './programs/shared.ts';
import { newReplayHandler } from './replay.ts';
import { type GivenScripts, newScriptsHandler } from './scripts/handler.ts';

const builtIn: Readonly<Record<string, (chat: Chat) => Handler>> = {
  echo: () => echo,
  broadcast: () => newBroadcastHandler(),
  tpacket: newTpacketHandler,
  faulty: () => faulty,
};

/** The names of the built-in handlers, which the user's programs cannot have. */
export const handlerNames: readonly string[] = [
  ...Object.keys(builtIn),
  'channels',
  'script',
  'replay',
  'inspect',
];

/**
 * @param scripts scripts in addition to those of `--script`
 * @throws UsageError for a program that does not exist or is not executable, and for a mistake in a script
 */
export async function addHandlers(
  server: Server,
  chat: Chat,
  channels: Channels,
  scripts?: GivenScripts,
): Promise<void> {
  const own = Object.values(builtIn).map(make => make(chat));
  // Channels are last: at the end of a turn they deliver what the others have published.
  const all = [
    ...own,
    ...newProgramHandlers(channels),
    newScriptsHandler(server, scripts),
    newReplayHandler(server),
    ...(await newConformanceHandlers(server)),
    newChannelsHandler(channels),
  ];
  for (const handler of all) server.handlers.set(handler.name, handler);
}

/** The handlers of `--conformance`. The cases are loaded only for them: they are a tenth of the program. */
export async function newConformanceHandlers({
  configuration,
}: Pick<Server, 'configuration'>): Promise<readonly Handler[]> {
  if (!configuration.conformance) return [];
  const { conformanceHandlers } = await import('./conformance/handlers.ts');
  return conformanceHandlers(configuration);
}

/** The handlers of `--exec` and `--exec-shared`. */
function newProgramHandlers(channels: Channels): readonly Handler[] {
  const { exec, execShared } = channels.server.configuration;
  for (const entry of [...exec, ...execShared]) checkProgram(entry);
  if (process.pid === 1 && exec.length + execShared.length > 0) {
    log('warn', 'no init', {
      means:
        'orphans of programs become zombies: the server is process 1, and Node does not wait for orphans',
      remedy: 'start the container with an init, for instance docker run --init; see pollywog help programs',
    });
  }
  const programs = newPrograms(channels);
  return [
    ...exec.map(entry => newProgramHandler(entry, programs)),
    ...execShared.map(entry => newSharedProgramHandler(entry, programs)),
  ];
}

/** The part of a server that knows which handlers are served. */
type Served = Pick<Server, 'handlers' | 'configuration'>;

/** Whether clients can use the handler with this name. */
export function isServed({ handlers, configuration }: Served, name: string): boolean {
  const handler = handlers.get(name);
  return handler !== undefined && handler.isOff?.(configuration) !== true;
}

export function servedNames(server: Served): readonly string[] {
  return [...server.handlers.keys()].filter(name => isServed(server, name));
}

/** Checks `--default-handler` once all handlers are loaded, and at every reload. @throws UsageError if it names none of them */
export function openDefault(server: Server): void {
  checkDefault(server);
  // Modules check it themselves, because a reload may change their names.
  if (server.configuration.handlers !== '') return;
  server.reloadables.push({
    async prepare(configuration) {
      checkDefault({ handlers: server.handlers, configuration });
      return () => [];
    },
  });
}

function checkDefault(server: Served): void {
  const { defaultHandler } = server.configuration;
  if (defaultHandler === noHandler || isServed(server, defaultHandler)) return;
  const known = [...servedNames(server), noHandler].join(', ');
  throw new UsageError(`--default-handler must be one of ${known}, not ${quoted(defaultHandler)}`);
}

/** Called when the server listens. */
export function startHandlers(server: Server): void {
  for (const handler of server.handlers.values()) handler.started?.(server);
}

/** Called when the server has ended. Resolves when the handlers have released everything. */
export async function stopHandlers({ handlers }: Server): Promise<void> {
  await Promise.all([...handlers.values()].map(handler => handler.stopped?.()));
}
