/** The route of the inspector's page: `GET /inspect`, and the page's files below that path. */
import type { Tokens } from '../access/tokens.ts';
import { judgeEntry } from '../handlers/inspector/entry.ts';
import { inspectorPath } from '../handlers/inspector/messages.ts';
import type { Server } from '../records/records.ts';
import { answerInspectorPage } from '../web/pages.ts';
import { type Route, respond } from './route.ts';

/**
 * The page has no secrets. A client that needs the API token may load it, and the page asks for the token.
 * @param isAlwaysOn for the control socket: the route exists without `--inspect`
 */
export function newInspectRoute(server: Server, tokens: Tokens, isAlwaysOn: boolean): Route {
  return {
    // Without the option, a site may have its own page there.
    takes: ({ path }) =>
      (isAlwaysOn || server.configuration.inspect) &&
      (path === inspectorPath || path.startsWith(`${inspectorPath}/`)),
    admit(head, connection) {
      judgeEntry(connection, head, tokens);
      return 0;
    },
    answer: (connection, head) => respond(connection, answerInspectorPage(head)),
  };
}
