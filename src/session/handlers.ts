/** The handlers there are. A new one is a file beside this and a line here. */
import type { Handler } from '../connection/handler.ts';
import { makeProgramHandlers } from '../exec/programs.ts';
import type { Configuration } from '../options/configuration.ts';
import { newBroadcastHandler } from './broadcast.ts';
import { echo } from './echo.ts';
import type { Chat } from './room.ts';
import { newTpacketHandler } from './tpacket.ts';

const makers: Readonly<Record<string, (configuration: Configuration, chat: Chat) => Handler>> = {
  echo: () => echo,
  broadcast: () => newBroadcastHandler(),
  tpacket: (_, chat) => newTpacketHandler(chat),
};

/** What `--default` may name, besides the user's programs. */
export const handlerNames: readonly string[] = Object.keys(makers);

export function makeHandlers(configuration: Configuration, chat: Chat): Map<string, Handler> {
  const ours = Object.values(makers).map(make => make(configuration, chat));
  return new Map([...ours, ...makeProgramHandlers(configuration)].map(handler => [handler.name, handler]));
}
