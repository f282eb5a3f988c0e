/** The handlers there are. A new one is a file beside this and a line here. */
import type { Handler } from '../core/handler.ts';
import type { Server } from '../core/server.ts';
import { log } from '../log/log.ts';
import type { Configuration } from '../options/configuration.ts';
import { quoted, UsageError } from '../options/error.ts';
import { newBroadcastHandler } from './broadcast.ts';
import type { Chat } from './chat/room.ts';
import { newTpacketHandler } from './chat/tpacket.ts';
import { echo } from './echo.ts';
import { checkProgram } from './programs/executable.ts';
import { newProgramHandler } from './programs/perConnection.ts';
import { newPrograms } from './programs/programs.ts';
import { newSharedProgramHandler } from './programs/shared.ts';

const makers: Readonly<Record<string, (configuration: Configuration, chat: Chat) => Handler>> = {
  echo: () => echo,
  broadcast: () => newBroadcastHandler(),
  tpacket: (_, chat) => newTpacketHandler(chat),
};

/** What `--default-handler` may name, besides the user's programs. */
export const handlerNames: readonly string[] = Object.keys(makers);

/** @throws UsageError where a program of the user's is not there, or not to be run */
export function addHandlers(server: Server, chat: Chat): void {
  const { configuration, handlers } = server;
  const ours = Object.values(makers).map(make => make(configuration, chat));
  for (const handler of [...ours, ...makeProgramHandlers(server)]) handlers.set(handler.name, handler);
}

/** The handlers that are programs of the user's. @throws UsageError where a program is not there, or not to be run */
function makeProgramHandlers(server: Server): readonly Handler[] {
  const { exec, execShared } = server.configuration;
  for (const entry of [...exec, ...execShared]) checkProgram(entry);
  if (process.pid === 1 && exec.length + execShared.length > 0) {
    log('warn', 'no init', {
      means:
        'processes that programs leave behind stay as zombies: the server is process 1, and Node does not wait for them',
      remedy: 'docker run --init',
    });
  }
  const programs = newPrograms(server);
  return [
    ...exec.map(entry => newProgramHandler(entry, programs)),
    ...execShared.map(entry => newSharedProgramHandler(entry, programs)),
  ];
}

/** Which handlers there are is known when all are loaded. @throws UsageError where `--default-handler` names none of them */
export function checkDefault({ handlers, configuration: { defaultHandler } }: Server): void {
  if (handlers.has(defaultHandler)) return;
  const known = [...handlers.keys()].join(', ');
  throw new UsageError(`--default-handler must be one of ${known}, not ${quoted(defaultHandler)}`);
}

/** The server listens. */
export function startHandlers(server: Server): void {
  for (const handler of server.handlers.values()) handler.started?.(server);
}

/** The server has ended. Resolves when nothing of theirs is left. */
export async function stopHandlers({ handlers }: Server): Promise<void> {
  await Promise.all([...handlers.values()].map(handler => handler.stopped?.()));
}
