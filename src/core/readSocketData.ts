/**
 * Reading a WebSocket: the loop with the `switch` shows the whole protocol on one screen, what can arrive and what the server
 * does about it.
 *
 *     bytes → nextEvent (protocol/websocket/endpoint.ts): header → unmask → fragments → message
 *           → readSocketData: pong, closing handshake, or processData
 */

import { noteCloseReceived, noteCloseSent, noteFailed } from '../diagnostics/closeReason.ts';
import { commitFrames, recordReceived, recordRefusedFrame } from '../diagnostics/recorder.ts';
import { tapAssembled } from '../diagnostics/tap.ts';
import type { ByteRange } from '../protocol/buffers.ts';
import { Opcode } from '../protocol/codes.ts';
import {
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
} from '../protocol/websocket/endpoint.ts';
import { ioArena } from '../protocol/websocket/mask.ts';
import type { Connection } from '../records/records.ts';
import { endConnection } from './close.ts';
import { charge, mayInflate, startBudget } from './fairness.ts';
import { closeSession, processData, resumeMessage } from './processData.ts';
import { limitMessages } from './rates.ts';
import { sendControl } from './send.ts';

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
    // After our close frame the rest of a message is dropped.
    connection.resumableMessage = undefined;
  } else if (!onlyControl && endpoint.acceptsMessages) {
    if (connection.resumableMessage !== undefined && !resumeMessage(connection)) return start;
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
        goesOn = charge(connection, 0);
        break;

      case ProtocolEvent.Inflating:
        // Large messages take turns. Meanwhile the control frames behind this one are answered.
        messagesWait = !mayInflate(connection);
        break;

      case ProtocolEvent.Message: {
        const size = message.end - message.start;
        if (message.bytes !== bytes && connection.server.taps.isOn) tapAssembled(connection, message);
        const isProcessed = processData(connection, message);
        if (connection.rate !== undefined) limitMessages(connection, connection.rate);
        goesOn = isProcessed && charge(connection, size) && connection.phase === 'open';
        // Often this was the last message: saves the call that would find nothing.
        if (input.start === end) goesOn = false;
        if (message.bytes !== bytes) releaseMessage();
        break;
      }
      case ProtocolEvent.Ping:
        // RFC 6455 §5.5.2, §5.5.3 [5.5.2-2, 5.5.3-a]: a ping is answered with a pong that has the same payload.
        if (control.isReplyDue) sendControl(connection, Opcode.Pong, control);
        goesOn = charge(connection, 0);
        break;

      case ProtocolEvent.Pong:
        // RFC 6455 §5.5.3: a pong may also come without a ping.
        notePong(connection);
        goesOn = charge(connection, 0);
        break;

      case ProtocolEvent.Close:
        // RFC 6455 §5.5.1 [5.5.1-6]: a close frame is answered with one.
        if (control.isReplyDue) sendClose(connection, control);
        finishClosing(connection, endpoint, control);
        goesOn = false;
        break;

      case ProtocolEvent.Failed:
        // RFC 6455 §7.1.7 [7.1.7-4, 10.7-3]: an endpoint that fails the connection first sends the reason in a close frame.
        recordRefusedFrame(connection, input, frame.size, control);
        if (control.isReplyDue) sendClose(connection, control);
        failWebSocket(connection, endpoint, control);
        goesOn = false;
        break;
    }
  }
  commitFrames();
  return input.start;
}

/** Whether the input begins with a control frame: opcodes 0x8 to 0xF (RFC 6455 §5.5). */
export function startsWithControlFrame({ endpoint }: Connection, bytes: Buffer, start: number): boolean {
  return (bytes[start]! & 0x08) !== 0 && isControlNext(endpoint?.incoming, bytes[start]!);
}

/** Handles the pong in `control`. */
export function notePong(connection: Connection): void {
  connection.pingedAt = 0;
  if (connection.pings === undefined) return;
  const payload = control.bytes.subarray(control.start, control.end);
  for (const ping of connection.pings) ping.onPong(payload);
}

export function sendClose(connection: Connection, payload: ByteRange): void {
  noteCloseSent(connection, payload.bytes.subarray(payload.start, payload.end));
  sendControl(connection, Opcode.Close, payload);
}

/** Both close frames are exchanged. @param received the peer's close frame */
export function finishClosing(
  connection: Connection,
  endpoint: Endpoint,
  { code, reason }: { code: number; reason: string },
): void {
  endEndpoint(endpoint);
  noteCloseReceived(connection, code, reason);
  // RFC 6455 §5.5.1, §7.1.1 [5.5.1-9, 5.5.1-10, 7.1.1-3, 7.1.1-5, 7.1.2-2]: then the server closes the TCP connection.
  closed(connection, code, reason);
}

/** RFC 6455 §7.1.7: the connection failed. @param why the code, the reason, and the option whose limit was exceeded */
export function failWebSocket(
  connection: Connection,
  endpoint: Endpoint,
  { code, reason, option }: { code: number; reason: string; option?: string | undefined },
): void {
  // RFC 6455 §7.1.7 [7.1.7-6]: later input is not processed.
  failEndpoint(endpoint);
  // RFC 6455 §7.1.7 [7.1.7-1, 7.1.7-3]: the server logs the problem.
  noteFailed(connection, code, reason, option);
  // RFC 6455 §7.1.7, §10.7 [7.1.7-3, 10.7-2]: then it closes the connection.
  closed(connection, code, reason);
}

/** The WebSocket connection is closed: the handler learns of it, and the TCP connection ends when the output has left. */
function closed(connection: Connection, code: number, reason: string): void {
  notifyPingsLost(connection);
  closeSession(connection, code, reason);
  endConnection(connection);
}

export function notifyPingsLost(connection: Connection): void {
  for (const ping of connection.pings ?? []) ping.onLost();
}

export const wholeOf = (bytes: Uint8Array): ByteRange => ({ bytes, start: 0, end: bytes.length });
