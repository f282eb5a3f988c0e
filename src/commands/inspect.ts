/**
 * `pollywog inspect`: opens the inspector over the control socket, for a server without `--inspect`.
 *
 * The calling program listens on 127.0.0.1 and forwards the inspector's page and its WebSocket to the control socket, and nothing
 * else: no commands. The control socket's file mode keeps other users out, but any user and any page on this machine can connect to
 * a TCP port. So:
 *
 * - The printed link works once. It redirects to a path with another secret. Other users cannot see that one in the terminal or in the
 *   arguments of a process.
 * - The Host field must name this port on 127.0.0.1, because DNS rebinding points foreign names here.
 * - A WebSocket needs the Origin of this page. Pages of other sites may not load anything.
 */
import { randomBytes } from 'node:crypto';
import { createServer, type IncomingMessage, request, type Server, type ServerResponse } from 'node:http';
import { type AddressInfo, connect, type Socket } from 'node:net';
import { isEqual } from '../access/tokens.ts';
import { inspectorPath } from '../handlers/inspector/messages.ts';

/** Connections of browsers at once: a page needs three. */
const maxBrowserConnections = 16;

/** The running forwarder. Its link works once. */
export interface LocalInspector {
  readonly link: string;
  close(): void;
}

interface Forwarder {
  readonly controlSocket: string;
  /** The first segments of the paths of the link and of the page. */
  readonly linkSecret: string;
  readonly pageSecret: string;
  isLinkUsed: boolean;
  /** `127.0.0.1:40123` */
  host: string;
}

/** Listens for a browser on this machine. */
export async function openLocalInspector(controlSocket: string): Promise<LocalInspector> {
  const newSecret = () => randomBytes(32).toString('base64url');
  const forwarder: Forwarder = {
    controlSocket,
    linkSecret: newSecret(),
    pageSecret: newSecret(),
    isLinkUsed: false,
    host: '',
  };
  const server = createServer((request, response) => answer(forwarder, request, response));
  server.maxConnections = maxBrowserConnections;
  server.on('upgrade', (request, socket: Socket, head: Buffer) => upgrade(forwarder, request, socket, head));
  await listen(server);
  forwarder.host = `127.0.0.1:${(server.address() as AddressInfo).port}`;
  return {
    link: `http://${forwarder.host}/${forwarder.linkSecret}`,
    close() {
      server.close();
      server.closeAllConnections();
    },
  };
}

function listen(server: Server): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(0, '127.0.0.1', resolve);
  });
}

interface Refusal {
  readonly status: number;
  readonly reason: string;
}

/** @returns the path behind the page's secret, such as `/inspect`, or why the request is refused */
function pathBehindSecret(forwarder: Forwarder, { headers, url = '' }: IncomingMessage): string | Refusal {
  if (headers.host !== forwarder.host)
    return { status: 403, reason: `the host in the URL must be ${forwarder.host}` };
  const [, secret = '', rest = ''] = /^\/([\w-]*)(\/[\w./-]*)?$/.exec(url) ?? [];
  if (!isEqual(secret, forwarder.pageSecret))
    return { status: 404, reason: 'wrong link; pollywog inspect prints a new one' };
  const isPage = rest === inspectorPath || rest.startsWith(`${inspectorPath}/`);
  // At other paths, the control socket runs commands.
  if (!isPage || rest.includes('..')) return { status: 404, reason: 'no such page' };
  return rest;
}

function answer(forwarder: Forwarder, incoming: IncomingMessage, response: ServerResponse): void {
  incoming.resume();
  const isFromOtherSite = /^(?:cross-site|same-site)$/.test(String(incoming.headers['sec-fetch-site'] ?? ''));
  const { method = '' } = incoming;
  if (method !== 'GET' && method !== 'HEAD')
    return refuse(response, { status: 405, reason: 'only GET and HEAD are allowed here' });
  // Programs that preview links send HEAD.
  if (
    method === 'GET' &&
    incoming.headers.host === forwarder.host &&
    isEqual((incoming.url ?? '').slice(1), forwarder.linkSecret)
  )
    return useLink(forwarder, response);
  const path = pathBehindSecret(forwarder, incoming);
  if (typeof path !== 'string') return refuse(response, path);
  if (isFromOtherSite && incoming.headers['sec-fetch-mode'] !== 'navigate')
    return refuse(response, { status: 403, reason: 'pages of other sites may not load this' });
  const accept = incoming.headers['accept-encoding'];
  const forwarded = request({
    socketPath: forwarder.controlSocket,
    method,
    path,
    headers: { Connection: 'close', ...(accept === undefined ? {} : { 'Accept-Encoding': accept }) },
  });
  forwarded.on('error', ({ message }) => {
    if (!response.headersSent)
      refuse(response, { status: 502, reason: `the server cannot be reached: ${message}` });
    else response.destroy();
  });
  forwarded.on('response', from => {
    const { connection: _, 'keep-alive': __, ...headers } = from.headers;
    response.writeHead(from.statusCode ?? 502, { ...headers, 'Cache-Control': 'no-store' });
    from.pipe(response);
  });
  forwarded.end();
}

/** The link redirects to the page once. */
function useLink(forwarder: Forwarder, response: ServerResponse): void {
  if (forwarder.isLinkUsed)
    return refuse(response, {
      status: 403,
      reason: 'this link was used already; run pollywog inspect again',
    });
  forwarder.isLinkUsed = true;
  response.writeHead(303, {
    Location: `/${forwarder.pageSecret}${inspectorPath}`,
    'Cache-Control': 'no-store',
    'Referrer-Policy': 'no-referrer',
  });
  response.end();
}

function refuse(response: ServerResponse, { status, reason }: Refusal): void {
  response.writeHead(status, { 'Content-Type': 'text/plain; charset=utf-8', 'Cache-Control': 'no-store' });
  response.end(`${reason}\n`);
}

/** The fields of a handshake that the control socket gets. */
const forwardedFields = ['sec-websocket-key', 'sec-websocket-version', 'sec-websocket-protocol'];

function upgrade(forwarder: Forwarder, incoming: IncomingMessage, browser: Socket, head: Buffer): void {
  const path = pathBehindSecret(forwarder, incoming);
  if (typeof path !== 'string') return refuseUpgrade(browser, path);
  if (path !== inspectorPath || incoming.headers.origin !== `http://${forwarder.host}`)
    return refuseUpgrade(browser, { status: 403, reason: 'only the page of this address may connect' });
  const server = connect({ path: forwarder.controlSocket });
  const end = () => {
    browser.destroy();
    server.destroy();
  };
  for (const socket of [browser, server]) socket.on('error', end).on('close', end);
  const fields = forwardedFields.flatMap(name => {
    const value = incoming.headers[name];
    return value === undefined ? [] : [`${name}: ${String(value)}`];
  });
  const lines = [
    `GET ${path} HTTP/1.1`,
    'Host: control',
    'Upgrade: websocket',
    'Connection: Upgrade',
    ...fields,
  ];
  server.write(`${lines.join('\r\n')}\r\n\r\n`);
  server.write(head);
  browser.pipe(server);
  server.pipe(browser);
}

function refuseUpgrade(socket: Socket, { status, reason }: Refusal): void {
  socket.on('error', () => {});
  // A browser that does not end its side must not occupy one of the few places.
  socket.end(
    `HTTP/1.1 ${status} Refused\r\nConnection: close\r\nContent-Type: text/plain\r\n\r\n${reason}\n`,
    () => socket.destroy(),
  );
}
