/**
 * GET requests to the web app of `--auth-url`. Only the head of the response is used. The app is trusted no more than a
 * client: the size of the head, of the body and the time are bounded.
 */

import { Agent, type ClientRequest, type IncomingMessage, request } from 'node:http';
import type { AppAddress } from '../options/addresses.ts';
import { appIdleTimeout } from '../protocol/accessLimits.ts';
import { defaults, maxIgnoredBody } from '../protocol/limits.ts';
import type { Descriptors } from '../records/resources.ts';

/** The kept connections to one app. */
export interface AppConnections {
  readonly address: AppAddress;
  readonly agent: Agent;
  readonly descriptors: Descriptors;
}

/** The head of the response, or why the request failed: `why` completes "the app …". */
export type AppReply =
  | { readonly kind: 'head'; readonly status: number; readonly headers: NodeJS.Dict<string[]> }
  | { readonly kind: 'failed'; readonly why: string };

export interface Subrequest {
  /** By name. */
  readonly fields: Readonly<Record<string, string>>;
  /** Milliseconds from now to the end of the response; 0: no limit. */
  readonly timeout: number;
  /** Called once. */
  onReply(reply: AppReply): void;
  /** The body has arrived too, or the connection is closed. Called once, after `onReply`. */
  onDone(): void;
}

export function newAppConnections(address: AppAddress, descriptors: Descriptors): AppConnections {
  const agent = new Agent({ keepAlive: true, timeout: appIdleTimeout, maxFreeSockets: maxIdleConnections });
  return { address, agent, descriptors };
}

/** Connections kept while they are idle. */
const maxIdleConnections = 32;

/** Closes idle connections. Those in use close `appIdleTimeout` after their last response. */
export function closeIdle({ agent }: AppConnections): void {
  for (const sockets of Object.values(agent.freeSockets))
    for (const socket of sockets ?? []) socket.destroy();
}

/**
 * Sends the request. If the app closes a kept connection at the same moment, the request is sent once more on a new
 * connection (RFC 9110 §9.2.2: GET is idempotent). No callback runs before this returns.
 */
export function sendSubrequest(connections: AppConnections, subrequest: Subrequest): void {
  const { timeout } = subrequest;
  const exchange: Exchange = {
    connections,
    subrequest,
    request: undefined,
    timer: undefined,
    isAnswered: false,
    isDone: false,
  };
  if (timeout > 0) {
    // After a blocked loop, timers run first. `setImmediate` runs behind the poll, which reads an answer that has arrived.
    exchange.timer = setTimeout(() => setImmediate(onTimeout, exchange), timeout);
  }
  send(exchange, connections.agent);
}

interface Exchange {
  readonly connections: AppConnections;
  readonly subrequest: Subrequest;
  request: ClientRequest | undefined;
  timer: NodeJS.Timeout | undefined;
  isAnswered: boolean;
  isDone: boolean;
}

/** @param agent false: on a new connection, which is not kept */
function send(exchange: Exchange, agent: Agent | false): void {
  const { address, descriptors } = exchange.connections;
  const { host, port, socketPath, path } = address;
  const place = socketPath === undefined ? { host, port } : { socketPath };
  let sent: ClientRequest;
  try {
    const headers = { ...exchange.subrequest.fields };
    sent = request({ ...place, path, headers, agent, maxHeaderSize: defaults.maxHeader });
  } catch (error) {
    // A field with a character that Node does not send.
    setImmediate(fail, exchange, `cannot be sent: ${(error as Error).message}`);
    return;
  }
  exchange.request = sent;
  sent.on('socket', socket => {
    if (sent.reusedSocket) return;
    descriptors.app++;
    socket.once('close', () => descriptors.app--);
  });
  sent.on('response', response => onResponse(exchange, response));
  sent.on('error', error => {
    const isStale = sent.reusedSocket && agent !== false && hasLostConnection(error);
    if (isStale && !exchange.isAnswered && !exchange.isDone) send(exchange, false);
    else fail(exchange, explain(error, address));
  });
  sent.on('close', () => {
    if (exchange.request !== sent) return;
    if (!exchange.isAnswered) reply(exchange, { kind: 'failed', why: lostConnection });
    // The agent takes the connection back after this event.
    setImmediate(finish, exchange);
  });
  sent.end();
}

function onResponse(exchange: Exchange, response: IncomingMessage): void {
  const { statusCode = 0, headersDistinct } = response;
  response.on('error', () => {});
  let size = 0;
  response.on('data', (chunk: Buffer) => {
    size += chunk.length;
    if (size > maxIgnoredBody) exchange.request?.destroy();
  });
  reply(exchange, { kind: 'head', status: statusCode, headers: headersDistinct });
}

function onTimeout(exchange: Exchange): void {
  if (exchange.isDone) return;
  fail(exchange, `has not answered within ${exchange.subrequest.timeout / 1000} s`);
  exchange.request?.destroy();
}

function fail(exchange: Exchange, why: string): void {
  reply(exchange, { kind: 'failed', why });
  finish(exchange);
}

function reply(exchange: Exchange, outcome: AppReply): void {
  if (exchange.isAnswered) return;
  exchange.isAnswered = true;
  exchange.subrequest.onReply(outcome);
}

function finish(exchange: Exchange): void {
  if (exchange.isDone) return;
  exchange.isDone = true;
  clearTimeout(exchange.timer);
  exchange.subrequest.onDone();
}

function hasLostConnection({ code }: NodeJS.ErrnoException): boolean {
  return code === 'ECONNRESET' || code === 'EPIPE';
}

const lostConnection = 'closed the connection without an answer';

/** Completes "the app …". */
function explain(error: NodeJS.ErrnoException, { text }: AppAddress): string {
  const { code = '', message } = error;
  if (code === 'ECONNREFUSED' || code === 'ENOENT')
    return `does not listen at ${text}; start it, or correct --auth-url`;
  if (code === 'ENOTFOUND' || code === 'EAI_AGAIN')
    return `has a host name that cannot be resolved (${code})`;
  if (code === 'EACCES') return `has a socket that this user may not open (${code})`;
  if (code === 'HPE_HEADER_OVERFLOW')
    return `answered with a head of more than ${defaults.maxHeader / 1024} KB`;
  if (code.startsWith('HPE_')) return `answered with something that is not HTTP/1.1 (${code})`;
  if (hasLostConnection(error)) return lostConnection;
  return `cannot be reached: ${code || message}`;
}
