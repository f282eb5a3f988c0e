/** How a connection gets its faults: by `--fault` and by the handler `faulty` at its handshake, later by command. */
import { logForAddress } from '../../core/addressLog.ts';
import { UsageError } from '../../options/error.ts';
import type { Configuration } from '../../options/configuration.ts';
import { ProtocolError } from '../../protocol/codes.ts';
import { asksForWebSocket } from '../../protocol/websocket/handshake.ts';
import type { Head } from '../../protocol/http/head.ts';
import type { Connection, Handler, Server } from '../../records/records.ts';
import type { FaultPlan } from './fault.ts';
import { FaultySocket } from './faultySocket.ts';
import { parseFaults, queryWords } from './parse.ts';

/** By URL and by option, a fault acts after the first message; by command at once. */
const usualAfter = 1;

/** A handshake is accepted: installs the faults that `--fault` has for its handler. */
export function faultHandshake(connection: Connection, { name }: Handler): void {
  const words = connection.server.configuration.fault.filter(({ handler }) => handler === name).flatMap(one => one.words);
  if (words.length > 0) installFaults(connection, parseFaults(words, usualAfter), true);
}

/** The handler `faulty`: an echo with the faults that the query of the URL names. */
export const faulty: Handler = {
  name: 'faulty',

  admit(connection, head) {
    if (!connection.server.configuration.faults)
      throw new ProtocolError(404, 'this server has no faults by URL; start it with --faults');
    if (!asksForWebSocket(head)) throw new ProtocolError(400, 'faults by URL need a WebSocket');
    installFaults(connection, planOf(head), true);
  },

  message: (connection, message) => echo.message(connection, message),
};
