/** A small web app for `--auth-url`. It counts requests and connections. */
import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Hooks } from './serverProcess.ts';

export interface AppServer {
  readonly url: string;
  readonly server: Server;
  /** The requests so far. */
  readonly requests: IncomingMessage[];
  /** Connections accepted so far. */
  connections(): number;
  /** The most requests that were open at the same time. */
  mostAtOnce(): number;
  /** Resolves when there have been so many requests. */
  untilAsked(count: number): Promise<void>;
}

export type AppBehaviour = (request: IncomingMessage, response: ServerResponse) => void;

/** @param place a port of 127.0.0.1, 0 for a free one, or the path of a Unix socket */
export async function startApp(
  test: Hooks,
  answer: AppBehaviour,
  place: number | string = 0,
): Promise<AppServer> {
  const requests: IncomingMessage[] = [];
  let [open, most, connections] = [0, 0, 0];
  const server = createServer({ keepAliveTimeout: 60_000 }, (request, response) => {
    requests.push(request);
    most = Math.max(most, ++open);
    // The client may send its next request before the events 'finish' and 'close'.
    const end = response.end.bind(response) as (...words: unknown[]) => ServerResponse;
    response.end = (...words: unknown[]) => {
      open--;
      return end(...words);
    };
    answer(request, response);
    server.emit('asked');
  });
  server.on('connection', () => connections++);
  if (typeof place === 'string') server.listen(place);
  else server.listen(place, '127.0.0.1');
  await once(server, 'listening');
  test.after(() => {
    server.close();
    server.closeAllConnections();
  });
  const url =
    typeof place === 'string'
      ? `unix:${place}:/auth`
      : `http://127.0.0.1:${(server.address() as AddressInfo).port}/auth`;
  return {
    url,
    server,
    requests,
    connections: () => connections,
    mostAtOnce: () => most,
    async untilAsked(count) {
      while (requests.length < count) await once(server, 'asked');
    },
  };
}

/** Answers like a site whose session cookie is `sid=USER`: 401 without it. */
export const answerByCookie: AppBehaviour = ({ headers }, response) => {
  const [, user] = /(?:^|; )sid=([\w-]+)/.exec(headers.cookie ?? '') ?? [];
  if (user === undefined) response.writeHead(401).end('sign in first');
  else response.writeHead(200, { 'X-User': user, 'X-Channels': `user-${user}, news-*` }).end('ok');
};
