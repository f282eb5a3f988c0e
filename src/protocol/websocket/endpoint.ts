/**
 * The outer layer: one end of an open WebSocket connection. `nextEvent` takes one step through the bytes that arrived and
 * returns what happened. This layer never reads, writes, waits or calls back: the owner of the connection loops over the
 * events and acts on them.
 *
 *     frame.ts     one header                             RFC 6455 §5.2
 *     mask.ts      payload ^ masking key                  RFC 6455 §5.3
 *     utf8.ts      text, checked as it arrives            RFC 6455 §8.1
 *     message.ts   fragments → messages                   RFC 6455 §5.4
 *     deflate.ts   compressed messages                    RFC 7692 §7
 *     endpoint.ts  control frames, the closing handshake  RFC 6455 §5.5, §7
 */

import { type ByteRange, giveBuffer } from '../buffers.ts';
import { CloseCode, isSendableCloseCode, Opcode, ProtocolError, type Role } from '../codes.ts';
import { absoluteMaxMessage, maxCloseReason } from '../limits.ts';
import { type DeflateContext, dropInflation } from './deflate.ts';
import { type FrameHeader, readFrameHeader } from './frame.ts';
import { unmask } from './mask.ts';
import {
  addPayload,
  beginInflating,
  beginMessage,
  checkSize,
  checkText,
  checkTextEnd,
  continueMessage,
  dropMessage,
  finishMessage,
  type IncomingMessage,
  type InflatingMessage,
  inflateNextSlice,
  type Message,
} from './message.ts';
import { utf8Start } from './utf8.ts';

/** RFC 6455 §4.1, §7.1: CLOSING after our close frame was sent; CLOSED when nothing more is sent or received. */
export type EndpointState = 'OPEN' | 'CLOSING' | 'CLOSED';

export interface Endpoint {
  readonly role: Role;
  state: EndpointState;
  /** Bytes. */
  readonly maxMessage: number;
  /** Both are set if permessage-deflate was negotiated. */
  readonly inflater: DeflateContext | undefined;
  readonly deflater: DeflateContext | undefined;
  /** The peer broke a rule, and this side failed the connection (RFC 6455 §7.1.7). */
  hasFailed: boolean;
  /** The message that has arrived in part. */
  incoming: IncomingMessage | undefined;
  /** The message that is being inflated. No other message begins before it is delivered. */
  inflating: InflatingMessage | undefined;
  /** False while the owner has paused messages: only control frames are read. */
  acceptsMessages: boolean;
  /** False while a close frame has to wait, too: the owner still has to answer the last message. */
  acceptsClose: boolean;
  /** Whether messages that arrive after our close frame are delivered. Otherwise they are discarded. */
  deliversWhileClosing: boolean;
}

export function newEndpoint(
  role: Role,
  maxMessage: number,
  inflater?: DeflateContext,
  deflater?: DeflateContext,
): Endpoint {
  return {
    role,
    state: 'OPEN',
    maxMessage: Math.min(maxMessage, absoluteMaxMessage),
    inflater,
    deflater,
    hasFailed: false,
    incoming: undefined,
    inflating: undefined,
    acceptsMessages: true,
    acceptsClose: true,
    deliversWhileClosing: false,
  };
}

/** What `nextEvent` found. */
export const ProtocolEvent = {
  /** All input was read, except the beginning of a header or control frame: at most 130 bytes, to be read again with more. */
  NeedMore: 0,
  /** The next frame belongs to a message, or is a close frame that follows a waiting message; it must wait. */
  Paused: 1,
  /** A frame was read, but no message is complete yet (or it was discarded): `frame` has its header. */
  Frame: 2,
  /** A slice of a large compressed message was inflated. The next call inflates the next slice. */
  Inflating: 3,
  /** A message is complete: `message`. */
  Message: 4,
  /** `control` has the payload, which a pong must echo. */
  Ping: 5,
  /** `control` has the payload. */
  Pong: 6,
  /** The peer's close frame: `control` has its code and reason. The owner sends the reply, if it is due; then `endEndpoint`. */
  Close: 7,
  /** The peer broke a rule: `control` has the code and reason. The owner sends the reply, if it is due; then `failEndpoint`. */
  Failed: 8,
} as const;

export type ProtocolEvent = (typeof ProtocolEvent)[keyof typeof ProtocolEvent];

/** The frame whose header was read by the last call of `nextEvent`: its bytes are the part of its payload that has arrived. */
export interface Frame extends FrameHeader, ByteRange {
  /** The size of the header, which ends at `start`; 0 if the call read no header. */
  size: number;
}

/** A control frame: the bytes are the payload of a ping or pong, or of the close frame with which we reply. */
export interface ControlFrame extends ByteRange {
  /** Whether we reply: to a ping with a pong, to a close frame or a broken rule with a close frame. */
  isReplyDue: boolean;
  /** For `Close`, the peer's code, or 1005 if its frame had none; for `Failed`, ours. */
  code: number;
  reason: string;
  /** For `Failed`, the option that sets the limit, if one was exceeded. */
  option: string | undefined;
}

const noBytes = Buffer.alloc(0);

/**
 * The data of the last event. These records serve all connections of the process: a call of `nextEvent` fills them, and
 * the caller uses them up before the next call.
 */
export const frame: Frame = {
  fin: false,
  rsv1: false,
  opcode: 0,
  length: 0,
  key: 0,
  bytes: noBytes,
  start: 0,
  end: 0,
  size: 0,
};
export const message: Message = { bytes: noBytes, start: 0, end: 0, isText: false };
export const control: ControlFrame = {
  bytes: noBytes,
  start: 0,
  end: 0,
  isReplyDue: false,
  code: 0,
  reason: '',
  option: undefined,
};

/** The buffer of `message`, if the message was assembled or inflated. */
let messageBuffer: Buffer | undefined;

/** Returns the message's buffer to the pool. Call it when the message has been processed. */
export function releaseMessage(): void {
  if (messageBuffer === undefined) return;
  giveBuffer(messageBuffer);
  messageBuffer = undefined;
}

/** Keeps the message's buffer out of the pool. @returns false if `bytes` is not that buffer */
export function takeMessageBuffer(bytes: Uint8Array): boolean {
  if (bytes !== messageBuffer) return false;
  messageBuffer = undefined;
  return true;
}

/**
 * Reads up to the next event, unmasking in place, and advances `input.start`.
 * @param onlyControl whether to read control frames only
 */
export function nextEvent(endpoint: Endpoint, input: ByteRange, onlyControl = false): ProtocolEvent {
  frame.size = 0;
  try {
    while (endpoint.state !== 'CLOSED') {
      const { incoming, inflating } = endpoint;
      const isPaused = onlyControl || !endpoint.acceptsMessages;
      if (inflating !== undefined && !isPaused) return inflate(endpoint, inflating);
      if (input.start === input.end) return ProtocolEvent.NeedMore;
      if ((isPaused || inflating !== undefined) && !mayReadDespitePause(endpoint, input))
        return ProtocolEvent.Paused;

      if (incoming !== undefined && incoming.missing > 0) {
        addPayload(incoming, input, endpoint.role === 'server');
        if (isComplete(incoming) && completeMessage(endpoint, incoming)) return ProtocolEvent.Message;
        continue;
      }

      // RFC 6455 §6.2 [6.2-1]: input is parsed as frames.
      const size = readFrameHeader(frame, input, endpoint.role, endpoint.inflater !== undefined);
      if (size === 0) return ProtocolEvent.NeedMore;
      const start = input.start + size;
      // RFC 6455 §5.2 [5.2-f, 5.2-g]: without extension data, the whole payload is application data.
      const end = start + frame.length;
      if (frame.opcode >= 8 && end > input.end) return ProtocolEvent.NeedMore;
      frame.bytes = input.bytes;
      frame.start = start;
      frame.end = Math.min(end, input.end);
      frame.size = size;

      // RFC 6455 §5.4 [5.4-1, 5.4-5, 6.2-2]: control frames may arrive between the fragments of a message.
      if (frame.opcode >= 8) {
        input.start = end;
        return readControl(endpoint);
      }
      // RFC 6455 §5.2 [5.2-1]: the first fragment may also be the final one.
      if (
        incoming === undefined &&
        frame.fin &&
        end <= input.end &&
        !frame.rsv1 &&
        frame.opcode !== Opcode.Continuation
      ) {
        // Nearly every message is one frame that has arrived completely. It is delivered without a copy.
        input.start = end;
        // RFC 6455 §10.4 [10.4-1, 10.4-2]: a limit on the size of a message.
        if (frame.length > endpoint.maxMessage) checkSize(frame.length, endpoint.maxMessage);
        // RFC 6455 §6.2 [6.2-3, 5.2-b]: the opcode determines the type of the message.
        const isText = frame.opcode === Opcode.Text;
        // RFC 6455 §6.2 [6.2-7]: a server MUST remove masking.
        const notAscii = endpoint.role === 'server' ? unmask(input.bytes, start, end, frame.key) : 1;
        frame.key = 0;
        // RFC 6455 §5.6, §8.1 [5.6-1, 8.1-1, 10.7-1]: text MUST be valid UTF-8.
        if (isText && notAscii !== 0) checkTextEnd(checkText(utf8Start, input.bytes, start, end));
        message.isText = isText;
        message.bytes = input.bytes;
        message.start = start;
        message.end = end;
        // The first check of `isDelivered` is inlined: this is the hot path.
        const isWanted = endpoint.state === 'OPEN' || isDelivered(endpoint);
        return isWanted ? ProtocolEvent.Message : ProtocolEvent.Frame;
      }
      input.start = start;
      const begun = beginFragment(endpoint, incoming);
      return isComplete(begun) && completeMessage(endpoint, begun)
        ? ProtocolEvent.Message
        : ProtocolEvent.Frame;
    }
    // RFC 6455 §1.4, §7.1.7 [7.1.1-1, 7.1.7-6]: an endpoint discards all bytes after a close frame or a fault.
    input.start = input.end;
    return ProtocolEvent.NeedMore;
  } catch (error) {
    if (!(error instanceof ProtocolError)) throw error;
    return reportFault(endpoint, error);
  }
}

/** Whether the input begins with a control frame: inside a frame, the next byte is payload. */
export function isControlNext(incoming: IncomingMessage | undefined, first: number): boolean {
  return (first & 0x08) !== 0 && (incoming === undefined || incoming.missing === 0);
}

/** Whether the next frame is read although messages wait. A close frame waits for the message before it. */
function mayReadDespitePause(
  { incoming, inflating, acceptsClose }: Endpoint,
  { bytes, start }: ByteRange,
): boolean {
  const first = bytes[start]!;
  const isClose = (first & 0x0f) === Opcode.Close;
  // RFC 6455 §5.5.1, §5.5.2 [5.5.1-7]: the endpoint answers control frames as soon as practical.
  return isControlNext(incoming, first) && (!isClose || (acceptsClose && inflating === undefined));
}

/** After our close frame we discard the peer's messages unless the owner wants them (RFC 6455 does not require it). */
function isDelivered({ state, deliversWhileClosing }: Endpoint): boolean {
  return state === 'OPEN' || deliversWhileClosing;
}

/** RFC 6455 §5.4: the frame begins a message, or continues `incoming`. @throws ProtocolError 1002, 1009 */
function beginFragment(endpoint: Endpoint, incoming: IncomingMessage | undefined): IncomingMessage {
  if (incoming === undefined) {
    endpoint.incoming = beginMessage(frame, endpoint.maxMessage);
    return endpoint.incoming;
  }
  continueMessage(incoming, frame, endpoint.maxMessage);
  return incoming;
}

function isComplete(incoming: IncomingMessage): boolean {
  return incoming.missing === 0 && incoming.isLastFrame;
}

/** The last byte of a message has arrived. @returns whether it is `message` now: not if it is discarded or still compressed */
function completeMessage(endpoint: Endpoint, incoming: IncomingMessage): boolean {
  // RFC 6455 §6.2 [6.2-4]: the next data frame begins a new message.
  endpoint.incoming = undefined;
  if (!isDelivered(endpoint)) {
    dropMessage(incoming);
    return false;
  }
  // RFC 7692 §6.2 [6.2-6, 7692-6.2-1]: inflation covers all fragments together.
  if (incoming.isCompressed && endpoint.inflater !== undefined) {
    endpoint.inflating = beginInflating(incoming, endpoint.inflater, endpoint.maxMessage);
    return false;
  }
  finishMessage(incoming, message);
  messageBuffer = incoming.buffer;
  return true;
}

function inflate(endpoint: Endpoint, inflating: InflatingMessage): ProtocolEvent {
  if (!inflateNextSlice(inflating, message)) return ProtocolEvent.Inflating;
  endpoint.inflating = undefined;
  const { compressed, output } = inflating.inflation;
  giveBuffer(compressed);
  messageBuffer = output;
  return ProtocolEvent.Message;
}

/** Reads the control frame that `frame` holds completely (RFC 6455 §5.5). */
function readControl(endpoint: Endpoint): ProtocolEvent {
  const { bytes, start, end, key, opcode } = frame;
  // RFC 6455 §6.2 [6.2-7]: a client also masks control frames.
  if (key !== 0) unmask(bytes, start, end, key);
  frame.key = 0;
  control.bytes = bytes;
  control.start = start;
  control.end = end;
  // RFC 6455 §5.5.2 [5.5.2-2]: pings are answered until the peer's close frame arrives. As an exception, we send no pong
  // after our own close frame, which the peer is about to answer.
  control.isReplyDue = endpoint.state === 'OPEN' && opcode !== Opcode.Pong;
  if (opcode === Opcode.Ping) return ProtocolEvent.Ping;
  if (opcode === Opcode.Pong) return ProtocolEvent.Pong;
  readClose(bytes, start, end);
  return ProtocolEvent.Close;
}

/** RFC 6455 §5.5.1, §7.4. @throws ProtocolError 1002 or 1007 */
function readClose(bytes: Uint8Array, start: number, end: number): void {
  // RFC 6455 §7.1.5 [7.1.5-a]: the code of a close frame without one is 1005.
  control.code = CloseCode.NoStatusReceived;
  control.reason = '';
  if (end === start) return;
  // RFC 6455 §5.5.1 [5.5.1-2]: a payload begins with a code of two bytes.
  if (end - start === 1) {
    throw new ProtocolError(CloseCode.ProtocolError, 'a close frame with half a close code');
  }
  control.code = (bytes[start]! << 8) | bytes[start + 1]!;
  // RFC 6455 §7.4 [7.4.1-3, 7.4.1-4, 7.4.1-6]: some codes must not be sent.
  if (!isSendableCloseCode(control.code)) {
    throw new ProtocolError(CloseCode.ProtocolError, `close code ${control.code} must not be sent`);
  }
  // RFC 6455 §5.5.1 [5.5.1-3]: the reason is UTF-8.
  checkTextEnd(checkText(utf8Start, bytes, start + 2, end));
  control.reason = Buffer.from(bytes.buffer, bytes.byteOffset + start + 2, end - start - 2).toString('utf8');
  // RFC 6455 §5.5.1: the answer typically echoes the code.
  control.end = start + 2;
}

/** Turns a broken rule into a `Failed` event with the close frame to send. */
function reportFault({ state }: Endpoint, { code, message: reason, option }: ProtocolError): ProtocolEvent {
  // RFC 6455 §7.1.7 [7.1.7-4, 10.7-3]: an open connection gets a close frame.
  control.isReplyDue = state === 'OPEN';
  control.bytes = closePayload(code, reason);
  control.start = 0;
  control.end = control.bytes.length;
  control.code = code;
  control.reason = reason;
  control.option = option;
  return ProtocolEvent.Failed;
}

/** Nothing more is received or sent: bytes that still arrive are discarded. */
export function endEndpoint(endpoint: Endpoint): void {
  endpoint.state = 'CLOSED';
  dropUnfinished(endpoint);
}

/** Frees the message that has arrived in part. No byte of it may be read after this. */
export function dropUnfinished(endpoint: Endpoint): void {
  if (endpoint.incoming !== undefined) dropMessage(endpoint.incoming);
  endpoint.incoming = undefined;
  dropInflating(endpoint);
}

function dropInflating(endpoint: Endpoint): void {
  if (endpoint.inflating !== undefined) dropInflation(endpoint.inflating.inflation);
  endpoint.inflating = undefined;
}

/** Our close frame was sent: the closing handshake has begun (RFC 6455 §7.1.2, §7.1.3). */
export function startClosing(endpoint: Endpoint): void {
  // RFC 6455 §5.5.1 [5.5.1-5]: no data follows a close frame.
  endpoint.state = 'CLOSING';
  if (!endpoint.deliversWhileClosing) dropInflating(endpoint);
}

/** This side fails the connection (RFC 6455 §7.1.7). */
export function failEndpoint(endpoint: Endpoint): void {
  endpoint.hasFailed = true;
  endEndpoint(endpoint);
}

/**
 * The payload of a close frame.
 * @param code a code that `isSendableCloseCode` allows; 1005 for a close frame without a code
 * @param reason cut at the end of a character, if it is longer than 123 bytes
 */
export function closePayload(code: number, reason: string): Buffer {
  // RFC 6455 §7.4.1 [7.4.1-3]: 1005 MUST NOT be sent.
  if (code === CloseCode.NoStatusReceived) return Buffer.alloc(0);
  const payload = Buffer.alloc(2 + maxCloseReason);
  // RFC 6455 §5.5.1 [5.5.1-1, 5.5.1-2, 7.4-1]: the code in network byte order, then the reason.
  payload.writeUInt16BE(code);
  return payload.subarray(0, 2 + payload.write(reason, 2, 'utf8'));
}
