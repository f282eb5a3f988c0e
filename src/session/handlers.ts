/** The handlers there are. A new one is a file beside this and a line here. */
import type { Handler } from '../connection/handler.ts';
import type { Configuration } from '../options/configuration.ts';
import { newBroadcastHandler } from './broadcast.ts';
import { echo } from './echo.ts';

const makers: Readonly<Record<string, (configuration: Configuration) => Handler>> = {
  echo: () => echo,
  broadcast: ({ includeSender }) => newBroadcastHandler(includeSender),
};

/** What `--default` may name. */
export const handlerNames: readonly string[] = Object.keys(makers);

export function makeHandlers(configuration: Configuration): ReadonlyMap<string, Handler> {
  return new Map(Object.entries(makers).map(([name, make]) => [name, make(configuration)]));
}
