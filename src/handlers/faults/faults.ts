/** How a connection gets its faults: at its handshake by `--fault` or from the handler `faulty`, later by command. */
import type { Configuration } from '../../options/configuration.ts';
import { nearest, UsageError } from '../../options/error.ts';
import { ProtocolError } from '../../protocol/codes.ts';
import type { Head } from '../../protocol/http/head.ts';
import { asksForWebSocket } from '../../protocol/websocket/handshake.ts';
import type { Connection, Handler, Server } from '../../records/records.ts';
import { echo } from '../echo.ts';
import type { FaultPlan } from './fault.ts';
import { FaultySocket } from './faultySocket.ts';
import { parseFaults, queryWords } from './parse.ts';

/** By URL and by option, a fault acts after the first message; by command at once. */
const defaultAfter = 1;

/** The handler `faulty`: an echo with the faults in the URL's query. */
export const faulty: Handler = {
  name: 'faulty',
  isOff: ({ faults }) => !faults,

  admit(connection, head) {
    if (!connection.server.configuration.faults)
      throw new ProtocolError(404, 'this server takes no faults from URLs; start it with --faults');
    if (!asksForWebSocket(head)) throw new ProtocolError(400, 'faults in a URL work on WebSockets only');
    installFaults(connection, planOf(connection, head), true);
  },

  message: (connection, message) => echo.message(connection, message),
};

/** @throws ProtocolError 400 */
function planOf(connection: Connection, { query }: Head): FaultPlan {
  try {
    return parseFaults([...configuredWords(connection, faulty), ...queryWords(query)], defaultAfter);
  } catch (error) {
    throw error instanceof UsageError ? new ProtocolError(400, error.message) : error;
  }
}

/** Installs the faults that `--fault` configures for the handler, just before the server accepts the handshake. */
export function faultHandshake(connection: Connection, handler: Handler): void {
  const words = handler === faulty ? [] : configuredWords(connection, handler);
  if (words.length > 0) installFaults(connection, parseFaults(words, defaultAfter), true);
}

function configuredWords({ server }: Connection, { name }: Handler): readonly string[] {
  return server.configuration.fault.filter(({ handler }) => handler === name).flatMap(({ words }) => words);
}

function installFaults(connection: Connection, plan: FaultPlan, isHandshake: boolean): void {
  const { socket } = connection;
  const faultySocket = socket instanceof FaultySocket ? socket : new FaultySocket(connection);
  connection.socket = faultySocket;
  faultySocket.setFaults(plan, isHandshake);
}

/**
 * Faults for open connections.
 * @param words each `NAME` or `NAME=VALUE`; `off` alone: no faults
 * @throws UsageError
 */
export function readFaults(words: readonly string[]): FaultPlan {
  const isOff = words.length === 1 && words[0] === 'off';
  const plan = parseFaults(isOff ? [] : words, 0);
  if (!isOff && plan.settings.length === 0)
    throw new UsageError('no faults given; name a fault, or write off to turn faults off');
  return plan;
}

/**
 * Replaces the faults of an open connection. The former faults send the output that they hold.
 * @returns the faults, as the user wrote them
 * @throws ProtocolError 409 if the connection cannot have them
 */
export function setFaults(connection: Connection, plan: FaultPlan): readonly string[] {
  const isOff = plan.settings.length === 0;
  const { id, phase, socket, endpoint, isControl } = connection;
  if (phase === 'gone') throw new ProtocolError(409, `connection ${id} has ended`);
  if (socket.isVirtual)
    throw new ProtocolError(409, `connection ${id} is a polling session; faults need a socket`);
  if (isControl) throw new ProtocolError(409, `connection ${id} carries commands; faults would break them`);
  for (const { kind } of plan.settings) {
    if (kind.takes === 'response')
      throw new ProtocolError(
        409,
        `${kind.name} is a fault of the handshake, but connection ${id} is already open`,
      );
    if (kind.needsFrames && endpoint === undefined)
      throw new ProtocolError(409, `${kind.name} works on WebSockets only, and connection ${id} is not one`);
  }
  if (!isOff || socket instanceof FaultySocket) installFaults(connection, plan, false);
  return plan.settings.map(setting => setting.words);
}

/** Checks `--fault` once all handlers are loaded, and again at every reload. @throws UsageError */
export function openFaults(server: Server): void {
  checkNames(server, server.configuration);
  checkFaultWords(server.configuration);
  server.reloadables.push({
    async prepare(next) {
      // Modules check the names, because a reload may change theirs.
      if (next.handlers === '') checkNames(server, next);
      checkFaultWords(next);
      return () => [];
    },
  });
}

function checkNames({ handlers }: Server, { fault }: Configuration): void {
  for (const { handler } of fault) {
    if (handlers.has(handler)) continue;
    const likely = nearest(handler, handlers.keys());
    const advice =
      likely === undefined ? `choose one of ${[...handlers.keys()].join(', ')}` : `did you mean ${likely}?`;
    throw new UsageError(`--fault: there is no handler ${handler}; ${advice}`);
  }
}

/** Checks the faults of `--fault`, but not the names of the handlers. @throws UsageError */
export function checkFaultWords({ fault }: Configuration): void {
  for (const { handler, words, text } of fault) {
    try {
      if (parseFaults(words, defaultAfter).settings.length === 0)
        throw new UsageError('no fault given; name one after the handler');
    } catch (error) {
      throw error instanceof UsageError
        ? new UsageError(`--fault ${handler}: ${text}: ${error.message}`)
        : error;
    }
  }
}
