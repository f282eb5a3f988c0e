/**
 * The WebSocket wire. `readSocketData` shows the protocol on one screen: what can arrive, and what the server does about it.
 *
 *     bytes → nextEvent (protocol/websocket/endpoint.ts): header → unmask → fragments → message
 *           → readSocketData: pong, closing handshake, or processData
 */

import {
  noteCloseReceived,
  noteCloseSent,
  noteClosing,
  noteDeadline,
  noteFailed,
  noteOverdue,
} from '../diagnostics/closeReason.ts';
import { commitFrames, recordReceived } from '../diagnostics/recorder.ts';
import type { ByteRange } from '../protocol/buffers.ts';
import { CloseCode, Opcode } from '../protocol/codes.ts';
import { probeInterval } from '../protocol/limits.ts';
import {
  closePayload,
  control,
  type Endpoint,
  endEndpoint,
  failEndpoint,
  frame,
  isControlNext,
  message,
  nextEvent,
  ProtocolEvent,
  releaseMessage,
  startClosing,
} from '../protocol/websocket/endpoint.ts';
import { ioArena } from '../protocol/websocket/mask.ts';
import type { Connection } from './connection.ts';
import { charge, mayInflate, startBudget } from './fairness.ts';
import { dropConnection, endConnection } from './outbox.ts';
import {
  areMessagesPaused,
  closeSession,
  processData,
  resumeMessage,
  resumeMessages,
} from './processData.ts';
import { hasInputStalled, hasOutputStalled, startSending } from './progress.ts';
import { sendControl } from './send.ts';
import type { Wire } from './wire.ts';

/** The bytes that are being read: one record serves all connections. */
const input: ByteRange = { bytes: ioArena, start: 0, end: 0 };

/**
 * Reads what arrived on one connection, in `bytes[start, end)`, which is unmasked in place.
 * @param onlyControl answers control frames, and stops before the next message
 * @returns where it stopped: before an incomplete frame, or when the connection used up its share of the turn
 */
export function readSocketData(
  connection: Connection,
  bytes: Buffer,
  start: number,
  end: number,
  onlyControl = false,
): number {
  const { endpoint } = connection;
  if (endpoint === undefined) return end;
  startBudget(connection);
  let messagesWait = onlyControl;
  if (endpoint.state !== 'OPEN') {
    // Nobody answers the rest of a message after our close frame.
    connection.resumableMessage = undefined;
  } else if (!onlyControl && endpoint.acceptsMessages) {
    if (!resumeMessage(connection)) return start;
    messagesWait = endpoint.inflating !== undefined && !mayInflate(connection);
  }

  input.bytes = bytes;
  input.start = start;
  input.end = end;
  for (let goesOn = true; goesOn; ) {
    const event = nextEvent(endpoint, input, messagesWait);
    recordReceived(connection, frame);
    switch (event) {
      case ProtocolEvent.NeedMore:
      case ProtocolEvent.Paused:
        goesOn = false;
        break;

      case ProtocolEvent.Frame:
        break;

      case ProtocolEvent.Inflating:
        // Large messages take turns. Meanwhile the control frames behind this one are answered.
        messagesWait = !mayInflate(connection);
        break;

      case ProtocolEvent.Message: {
        const size = message.end - message.start;
        const isProcessed = processData(connection, message);
        goesOn = isProcessed && charge(connection, size) && connection.phase === 'open';
        // Often this was the last message: saves the call that would find nothing.
        if (input.start === end) goesOn = false;
        releaseMessage();
        break;
      }
      case ProtocolEvent.Ping:
        // RFC 6455 §5.5.2: a ping is answered with a pong that has the same payload.
        if (control.isReplyDue) sendControl(connection, Opcode.Pong, control);
        goesOn = charge(connection, 0);
        break;

      case ProtocolEvent.Pong:
        // RFC 6455 §5.5.3: a pong may also come without a ping.
        notePong(connection);
        goesOn = charge(connection, 0);
        break;

      case ProtocolEvent.Close:
        // RFC 6455 §5.5.1: a close frame is answered with one. §7.1.1: then the server closes the TCP connection.
        if (control.isReplyDue) sendClose(connection, control);
        endEndpoint(endpoint);
        noteCloseReceived(connection, control.code, control.reason);
        closed(connection, control.code, control.reason);
        goesOn = false;
        break;

      case ProtocolEvent.Failed:
        // RFC 6455 §7.1.7: before an endpoint fails the connection, it says why in a close frame.
        if (control.isReplyDue) sendClose(connection, control);
        failed(connection, endpoint, control.code, control.reason);
        goesOn = false;
        break;
    }
  }
  commitFrames();
  return input.start;
}

function notePong(connection: Connection): void {
  connection.pingedAt = 0;
  if (connection.pings === undefined) return;
  const payload = control.bytes.subarray(control.start, control.end);
  for (const ping of connection.pings) ping.onPong(payload);
}

function sendClose(connection: Connection, payload: ByteRange): void {
  noteCloseSent(connection, payload.bytes.subarray(payload.start, payload.end));
  sendControl(connection, Opcode.Close, payload);
}

function failed(connection: Connection, endpoint: Endpoint, code: number, reason: string): void {
  failEndpoint(endpoint);
  noteFailed(connection, code, reason);
  closed(connection, code, reason);
}

/** The WebSocket connection is closed: the handler learns of it, and the TCP connection ends when the output has left. */
function closed(connection: Connection, code: number, reason: string): void {
  notifyPingsLost(connection);
  closeSession(connection, code, reason);
  endConnection(connection);
}

function notifyPingsLost(connection: Connection): void {
  for (const ping of connection.pings ?? []) ping.onLost();
}

const wholeOf = (bytes: Uint8Array): ByteRange => ({ bytes, start: 0, end: bytes.length });
const noPayload = wholeOf(Buffer.alloc(0));

export const websocket: Wire = {
  name: 'websocket',

  receive: readSocketData,

  /** Control frames are read before the messages of all connections. */
  isUrgent(connection, bytes, start) {
    return isControlNext(connection.endpoint?.incoming, bytes[start]!);
  },

  receiveUrgent(connection, bytes, start, end) {
    return readSocketData(connection, bytes, start, end, true);
  },

  close(connection, code, reason) {
    const { endpoint } = connection;
    if (endpoint?.state !== 'OPEN') return;
    noteClosing(connection, reason);
    sendClose(connection, wholeOf(closePayload(code, reason)));
    startClosing(endpoint);
    connection.endingAt = connection.server.now;
    startSending(connection);
    // The answer may arrive behind paused messages, which are discarded now.
    resumeMessages(connection);
  },

  fail(connection, code, reason) {
    const { endpoint } = connection;
    if (endpoint === undefined || endpoint.state === 'CLOSED') return;
    if (endpoint.state === 'OPEN') sendClose(connection, wholeOf(closePayload(code, reason)));
    failed(connection, endpoint, code, reason);
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
      // Our close frame may be queued behind much output: the deadline counts from the last progress.
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
  sendControl(connection, Opcode.Pong, noPayload);
}

/** Whether the connection has been at a trust level below 3 for too long. */
export function isLevelOverdue({ trustLevel, stageSince, server }: Connection, timeout: number): boolean {
  return trustLevel < 3 && timeout > 0 && server.now - stageSince >= timeout;
}

/** The peer does not answer: drops the connection without a close frame. */
function giveUp(connection: Connection, why: string): void {
  websocket.onEnd(connection, why);
  dropConnection(connection);
}
