/** WebSocket, as a wire: `readSocketData` reads it; here is how it closes, and its deadlines. */

import { dropConnection, endConnection } from '../core/close.ts';
import { areMessagesPaused } from '../core/connection.ts';
import { isLevelOverdue } from '../core/deadlines.ts';
import { closeSession, resumeMessages } from '../core/processData.ts';
import { hasInputStalled, hasOutputStalled, startSending } from '../core/progress.ts';
import {
  failWebSocket,
  notifyPingsLost,
  readSocketData,
  sendClose,
  startsWithControlFrame,
  wholeOf,
} from '../core/readSocketData.ts';
import { sendControl } from '../core/send.ts';
import { noteClosing, noteDeadline, noteOverdue } from '../diagnostics/closeReason.ts';
import { CloseCode, Opcode } from '../protocol/codes.ts';
import { probeInterval } from '../protocol/limits.ts';
import { closePayload, endEndpoint, startClosing } from '../protocol/websocket/endpoint.ts';
import type { Connection, Wire } from '../records/records.ts';

const noPayload = wholeOf(Buffer.alloc(0));

const magicAndNick = { what: 'magic string and nick', code: CloseCode.PolicyViolation };

export const websocket: Wire = {
  name: 'websocket',

  receive: readSocketData,

  /** Control frames are read before the messages of all connections. */
  isUrgent: startsWithControlFrame,

  receiveUrgent(connection, bytes, start, end) {
    return readSocketData(connection, bytes, start, end, true);
  },

  close(connection, code, reason) {
    const { endpoint } = connection;
    if (endpoint?.state !== 'OPEN') return;
    noteClosing(connection, reason);
    // RFC 6455 §7.1.2 [7.1.2-1]: a close frame with this code and reason starts the closing handshake.
    sendClose(connection, wholeOf(closePayload(code, reason)));
    startClosing(endpoint);
    connection.endingAt = connection.server.now;
    startSending(connection);
    // The answer may follow paused messages. Resume, so that they are discarded.
    resumeMessages(connection);
  },

  fail(connection, code, reason) {
    const { endpoint } = connection;
    if (endpoint === undefined || endpoint.state === 'CLOSED') return;
    // RFC 6455 §7.1.7 [7.1.7-4]: the close frame has the reason.
    if (endpoint.state === 'OPEN') sendClose(connection, wholeOf(closePayload(code, reason)));
    failWebSocket(connection, endpoint, { code, reason });
  },

  onEnd(connection, error) {
    const endpoint = connection.endpoint;
    if (endpoint === undefined || endpoint.state === 'CLOSED') return;
    endEndpoint(endpoint);
    notifyPingsLost(connection);
    // RFC 6455 §7.1.5 [7.1.5-b]: no close frame arrived, so the code is 1006.
    closeSession(connection, CloseCode.AbnormalClosure, error ?? 'the peer ended the TCP connection');
    endConnection(connection);
  },

  checkDeadlines(connection) {
    const { endpoint, server } = connection;
    const { handshakeTimeout, pingInterval, pongTimeout, closeTimeout, idleTimeout } = server.configuration;
    const { now } = server;
    if (endpoint === undefined) return;
    if (endpoint.state === 'CLOSING') {
      // Our close frame may be queued after much output: the deadline counts from the last progress.
      if (hasOutputStalled(connection, closeTimeout)) {
        noteOverdue(connection, 'no answer to our close frame', 'closeTimeout');
        giveUp(connection, 'the closing handshake was not answered');
      }
      return;
    }
    // A connection on which a long message is arriving is not idle.
    if (idleTimeout > 0 && !hasInputStalled(connection, idleTimeout) && endpoint.incoming !== undefined)
      connection.messageAt = now;
    if (isLevelOverdue(connection, handshakeTimeout)) {
      const { what, code } = connection.handler?.awaited ?? magicAndNick;
      noteDeadline(connection, `no ${what}`, 'handshakeTimeout');
      websocket.close(connection, code, `no ${what} within ${handshakeTimeout / 1000} s`);
      return;
    }
    if (areMessagesPaused(connection) && !connection.isReading) probe(connection);
    if (connection.heardAt >= connection.pingedAt && connection.pingedAt > 0) {
      // Any byte received is a sign of life, not only the pong.
      connection.pingedAt = 0;
    } else if (connection.pingedAt > 0) {
      if (pongTimeout === 0 || now - connection.pingedAt < pongTimeout) return;
      // If we paused reading from this peer, or our output is still leaving, its silence proves nothing.
      if (areMessagesPaused(connection) || connection.socket.unsent() < connection.unsentAtPing) {
        connection.heardAt = now;
      } else {
        noteDeadline(connection, 'no answer to a ping', 'pongTimeout');
        giveUp(connection, 'no answer to a ping');
      }
    } else if (pingInterval > 0 && now - connection.heardAt >= pingInterval) {
      connection.pingedAt = now;
      connection.unsentAtPing = connection.socket.unsent();
      // RFC 6455 §5.5.2 [5.5.2-4]: a ping may be sent at any time.
      sendControl(connection, Opcode.Ping, noPayload);
    }
  },
};

/**
 * While we do not read from a connection, the system does not report that the peer is gone. Only a write finds out. A peer does
 * not answer an unsolicited pong (RFC 6455 §5.5.3), so this one adds nothing to the input that waits.
 */
function probe(connection: Connection): void {
  const { heardAt, probedAt, queue, server, socket } = connection;
  if (server.now - Math.max(heardAt, probedAt) < probeInterval || queue.size > 0 || socket.isBusy) return;
  connection.probedAt = server.now;
  // RFC 6455 §5.5.3 [5.5.3-2]: a pong may be sent without a ping.
  sendControl(connection, Opcode.Pong, noPayload);
}

/** The peer does not answer: drops the connection without a close frame. */
function giveUp(connection: Connection, why: string): void {
  websocket.onEnd(connection, why);
  // RFC 6455 §7.1.1, §7.1.7 [7.1.1-2, 7.1.7-5]: this peer is unlikely to read a close frame.
  dropConnection(connection);
}
