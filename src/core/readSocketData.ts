/**
 * The WebSocket wire: `readSocketData` makes messages of a connection's bytes, and hands them to `processData`.
 *
 *     bytes → receive (protocol/websocket/endpoint.ts): frame headers → unmasking → ping, pong, close → fragments → whole messages
 *           → processData
 */

import {
  noteCloseReceived,
  noteCloseSent,
  noteClosing,
  noteDeadline,
  noteFailed,
  noteOverdue,
} from '../diagnostics/closeReason.ts';
import { beginReading, endReading, rememberReceived } from '../diagnostics/recorder.ts';
import { CloseCode, Opcode } from '../protocol/codes.ts';
import { probeInterval } from '../protocol/limits.ts';
import {
  type EndpointEvents,
  endEndpoint,
  failConnection,
  isControlNext,
  receive,
  startClosing,
} from '../protocol/websocket/endpoint.ts';
import type { Connection } from './connection.ts';
import { charge, mayInflate, startBudget } from './fairness.ts';
import { areMessagesPaused, resumeMessages } from './hold.ts';
import { dropConnection, endConnection } from './outbox.ts';
import { closeSession, processData, resumeMessage } from './processData.ts';
import { hasInputStalled, hasOutputStalled, startSending } from './progress.ts';
import { sendControl } from './send.ts';
import type { Wire } from './wire.ts';

/**
 * Reads what came on one connection: unframes, unmasks, answers pings and closes, puts fragments together, and gives
 * each whole message to `processData`.
 * @returns where it stopped in `bytes[start, end)`, which are unmasked in place
 */
export function readSocketData(connection: Connection, bytes: Buffer, start: number, end: number): number {
  if (connection.endpoint === undefined) return end;
  startBudget(connection);
  // Once we have said that we are closing, nobody answers to the rest of a message either.
  if (connection.endpoint.state !== 'OPEN') connection.resumableMessage = undefined;
  if (!areMessagesPaused(connection) && !resumeMessage(connection)) return start;
  beginReading(connection);
  const at = receive(connection.endpoint, events, connection, bytes, start, end);
  endReading();
  return at;
}

const events: EndpointEvents<Connection> = {
  message(connection, message) {
    const size = message.end - message.start;
    return processData(connection, message) && charge(connection, size) && connection.phase === 'open';
  },

  pong(connection, bytes, start, end) {
    connection.pingedAt = 0;
    if (connection.pings === undefined) return;
    const payload = bytes.subarray(start, end);
    for (const ping of connection.pings) ping.onPong(payload);
  },

  mayInflate,

  mayGoOn: connection => charge(connection, 0),

  frame: rememberReceived,

  sendControl(connection, opcode, bytes, start, end) {
    if (opcode === Opcode.Close) noteCloseSent(connection, bytes.subarray(start, end));
    sendControl(connection, opcode, bytes, start, end);
  },

  closed(connection, code, reason) {
    notifyPingsLost(connection);
    if (connection.endpoint?.hasFailed) noteFailed(connection, code, reason);
    else noteCloseReceived(connection, code, reason);
    closeSession(connection, code, reason);
    // RFC 6455 §7.1.1: the server closes the TCP connection first.
    endConnection(connection);
  },
};

function notifyPingsLost(connection: Connection): void {
  for (const ping of connection.pings ?? []) ping.onLost();
}

const noPayload = Buffer.alloc(0);

export const websocket: Wire = {
  name: 'websocket',

  receive: readSocketData,

  receiveUrgent(connection, bytes, start, end) {
    const { endpoint } = connection;
    if (endpoint === undefined || !endpoint.takesMessages)
      return readSocketData(connection, bytes, start, end);
    // For so long, as if its handler were busy.
    endpoint.takesMessages = false;
    const at = readSocketData(connection, bytes, start, end);
    endpoint.takesMessages = true;
    return at;
  },

  isUrgent(connection, bytes, start) {
    return isControlNext(connection.endpoint?.incoming, bytes[start]!);
  },

  close(connection, code, reason) {
    if (connection.endpoint === undefined || connection.endpoint.state !== 'OPEN') return;
    noteClosing(connection, reason);
    startClosing(connection.endpoint, events, connection, code, reason);
    connection.endingAt = connection.server.now;
    startSending(connection);
    // The answer may lie behind messages that nobody wants any more.
    resumeMessages(connection);
  },

  fail(connection, code, reason) {
    if (connection.endpoint !== undefined)
      failConnection(connection.endpoint, events, connection, code, reason);
  },

  onEnd(connection, error) {
    const endpoint = connection.endpoint;
    if (endpoint === undefined || endpoint.state === 'CLOSED') return;
    endEndpoint(endpoint);
    notifyPingsLost(connection);
    // RFC 6455 §7.1.5: no close frame came, so the code is 1006.
    closeSession(connection, CloseCode.AbnormalClosure, error ?? 'the peer ended the TCP connection');
    endConnection(connection);
  },

  checkDeadlines(connection) {
    const { endpoint, server } = connection;
    const { handshakeTimeout, pingInterval, pongTimeout, closeTimeout, idleTimeout } = server.configuration;
    const { now } = server;
    if (endpoint === undefined) return;
    if (endpoint.state === 'CLOSING') {
      // The peer reads our close frame behind all that was queued before it.
      if (hasOutputStalled(connection, closeTimeout)) {
        noteOverdue(connection, 'no answer to our close frame', 'closeTimeout');
        giveUp(connection, 'the closing handshake was not answered');
      }
      return;
    }
    // A long message that is still arriving is not silence.
    if (idleTimeout > 0 && !hasInputStalled(connection, idleTimeout) && endpoint.incoming !== undefined)
      connection.messageAt = now;
    if (isLevelOverdue(connection, handshakeTimeout)) {
      noteDeadline(connection, 'no magic and nick', 'handshakeTimeout');
      websocket.close(
        connection,
        CloseCode.PolicyViolation,
        `no magic and nick within ${handshakeTimeout / 1000} s`,
      );
      return;
    }
    if (areMessagesPaused(connection) && !connection.isReading) probe(connection);
    if (connection.heardAt >= connection.pingedAt && connection.pingedAt > 0) {
      // Any byte counts as life, not the pong alone.
      connection.pingedAt = 0;
    } else if (connection.pingedAt > 0) {
      if (pongTimeout === 0 || now - connection.pingedAt < pongTimeout) return;
      // That whom we hold back is not heard is our doing.
      if (areMessagesPaused(connection) || connection.socket.unsent() < connection.unsentAtPing) {
        connection.heardAt = now;
      } else {
        noteDeadline(connection, 'no answer to a ping', 'pongTimeout');
        giveUp(connection, 'no answer to a ping');
      }
    } else if (pingInterval > 0 && now - connection.heardAt >= pingInterval) {
      connection.pingedAt = now;
      connection.unsentAtPing = connection.socket.unsent();
      sendControl(connection, Opcode.Ping, noPayload, 0, 0);
    }
  },
};

/**
 * While a connection's input is paused for its handler, the system does not report that the peer is gone: only a write finds
 * out. An unsolicited pong gets no answer (RFC 6455 §5.5.3), so it does not add to the input.
 */
function probe(connection: Connection): void {
  const { heardAt, probedAt, queue, server, socket } = connection;
  if (server.now - Math.max(heardAt, probedAt) < probeInterval || queue.size > 0 || socket.isBusy) return;
  connection.probedAt = server.now;
  sendControl(connection, Opcode.Pong, noPayload, 0, 0);
}

/** A level of trust is to be left within the time that the handshake has. */
export function isLevelOverdue({ trustLevel, stageSince, server }: Connection, timeout: number): boolean {
  return trustLevel < 3 && timeout > 0 && server.now - stageSince >= timeout;
}

/** The peer does not answer: nobody is there to be told. */
function giveUp(connection: Connection, why: string): void {
  websocket.onEnd(connection, why);
  dropConnection(connection);
}
