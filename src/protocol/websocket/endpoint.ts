/**
 * The outermost layer: one end of an open WebSocket connection. Bytes in, messages out, and the answers that the
 * protocol itself asks for: a pong to a ping (RFC 6455 §5.5.2), a close frame to a close frame (§5.5.1).
 *
 * Nothing here reads, writes or waits. Whoever owns the connection gives the bytes to `receive` and takes what comes of
 * them through an `EndpointEvents`.
 */

import { CloseCode, isSendableCloseCode, Opcode, ProtocolError } from '../codes.ts';
import { longestMessage, maxCloseReason } from '../limits.ts';
import { type Deflater, dropInflation, type Inflater } from './deflate.ts';
import { type FrameHeader, newFrameHeader, type Role, readFrameHeader } from './frame.ts';
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
  inflateSlice,
  type Message,
} from './message.ts';
import { utf8Start } from './utf8.ts';

/** RFC 6455 §4.1, §7.1: CLOSING once we have sent a close frame, CLOSED once nothing more can be said. */
export type EndpointState = 'OPEN' | 'CLOSING' | 'CLOSED';

export interface Endpoint {
  readonly role: Role;
  state: EndpointState;
  /** Bytes. */
  readonly maxMessage: number;
  /** Both set where permessage-deflate was negotiated. */
  readonly inflater: Inflater | undefined;
  readonly deflater: Deflater | undefined;
  /** The peer broke a rule, and was told so. */
  hasFailed: boolean;
  /** The message of which some is missing, if there is one. */
  incoming: IncomingMessage | undefined;
  /** The message that is being inflated. Until it is delivered no other begins. */
  inflating: InflatingMessage | undefined;
  /** Unset while its owner wants no message: `receive` stops before the next frame of one. */
  takesMessages: boolean;
  /** Unset while it does not take a close frame either, as it has something to say before that. */
  takesClose: boolean;
}

/** What comes of received bytes, for the `owner` of the endpoint (a connection, a test's record). */
export interface EndpointEvents<Owner> {
  /**
   * A frame begins at `bytes[start]`, and its header is as the protocol wants it: `[payload, end)` are what is there of
   * its payload, still masked. Header and bytes are lent. Optional: for whoever wants to see frames as they come.
   */
  frame?(
    owner: Owner,
    header: FrameHeader,
    bytes: Uint8Array,
    start: number,
    payload: number,
    end: number,
  ): void;
  /** Whether messages that come after our close frame are wanted: what the peer had sent before it saw that. */
  readonly hearsWhileClosing?: boolean;
  /**
   * A whole message came. It is lent for this call only.
   * @returns whether to go on: false stops `receive` after this message
   */
  message(owner: Owner, message: Message): boolean;
  /**
   * A message is too large to be inflated in one call into zlib: asked before each further call. If false, `receive` stops
   * before the next message, and the next `receive` asks again, even without new bytes. Without it, it is inflated at once.
   */
  mayInflate?(owner: Owner): boolean;
  /** A control frame was worked through. @returns whether to go on, as after a message */
  mayGoOn?(owner: Owner): boolean;
  /** A pong came, with this payload, lent for this call only. */
  pong(owner: Owner, bytes: Uint8Array, start: number, end: number): void;
  /** Send this control frame now. The state is still OPEN, for the last time if it is a close frame. */
  sendControl(owner: Owner, opcode: number, bytes: Uint8Array, start: number, end: number): void;
  /**
   * The WebSocket connection is CLOSED: the peer's close frame came (its code, 1005 if it named none, and its reason), or
   * the connection failed (the code and reason we gave it). The TCP connection is still to be closed.
   */
  closed(owner: Owner, code: number, reason: string): void;
}

export function newEndpoint(
  role: Role,
  maxMessage: number,
  inflater?: Inflater,
  deflater?: Deflater,
): Endpoint {
  const most = Math.min(maxMessage, longestMessage);
  return {
    role,
    state: 'OPEN',
    maxMessage: most,
    inflater,
    deflater,
    hasFailed: false,
    incoming: undefined,
    inflating: undefined,
    takesMessages: true,
    takesClose: true,
  };
}

/** One of each serves every connection: they are filled anew before each use, and used up before the next. */
const header: FrameHeader = newFrameHeader();
const message: Message = { isText: false, bytes: new Uint8Array(0), start: 0, end: 0 };

/**
 * Inflates more of the message in progress, if there is one, and then works through `bytes[start, end)`, which the caller gives
 * up: payloads are unmasked in place.
 * @returns where it stopped. What is left is either the beginning of a header or control frame (at most 130 bytes; to be
 *   given again, with what follows it), or what came after a message that the owner wanted to stop at, or a message that
 *   it does not take now.
 */
export function receive<Owner>(
  endpoint: Endpoint,
  events: EndpointEvents<Owner>,
  owner: Owner,
  bytes: Uint8Array,
  start: number,
  end: number,
): number {
  let at = start;
  try {
    if (endpoint.inflating !== undefined && !resumeInflating(endpoint, events, owner)) return at;
    while (at < end && endpoint.state !== 'CLOSED') {
      const { incoming, inflating } = endpoint;
      if ((!endpoint.takesMessages || inflating !== undefined) && !isTakenNext(endpoint, bytes[at]!))
        return at;
      if (incoming !== undefined && incoming.missing > 0) {
        at = addPayload(incoming, bytes, at, end, endpoint.role === 'server');
        if (!isWhole(incoming)) continue;
        if (!deliver(endpoint, events, owner, incoming)) return at;
        continue;
      }
      const size = readFrameHeader(header, endpoint.role, endpoint.inflater !== undefined, bytes, at, end);
      if (size === 0) return at;
      const payload = at + size;
      const next = payload + header.length;
      if (header.opcode >= 8 && next > end) return at;
      events.frame?.(owner, header, bytes, at, payload, Math.min(next, end));
      if (header.opcode >= 8) {
        if (header.key !== 0) unmask(bytes, payload, next, header.key);
        receiveControl(endpoint, events, owner, bytes, payload, next);
        at = next;
        if (events.mayGoOn?.(owner) === false) break;
      } else if (incoming !== undefined) {
        continueMessage(incoming, header, endpoint.maxMessage);
        at = payload;
        if (isWhole(incoming) && !deliver(endpoint, events, owner, incoming)) return at;
      } else if (next <= end && header.fin && !header.rsv1 && header.opcode !== Opcode.Continuation) {
        // Nearly every message: one frame, all of it here. It is delivered from where it lies.
        at = next;
        readWholeMessage(endpoint, bytes, payload, next);
        if (!deliverMessage(endpoint, events, owner)) return at;
      } else {
        const begun = beginMessage(header, endpoint.maxMessage);
        endpoint.incoming = begun;
        at = payload;
        if (isWhole(begun) && !deliver(endpoint, events, owner, begun)) return at;
      }
    }
  } catch (error) {
    if (!(error instanceof ProtocolError)) throw error;
    failConnection(endpoint, events, owner, error.code, error.message);
  }
  // RFC 6455 §1.4: after the close frame, what still comes is discarded.
  return endpoint.state === 'CLOSED' ? end : at;
}

/** Whether a control frame begins here: opcodes from 8 on are; inside a frame, the byte is payload. */
export function isControlNext(incoming: IncomingMessage | undefined, first: number): boolean {
  return (first & 0x08) !== 0 && (incoming === undefined || incoming.missing === 0);
}

/** Whether what begins here is taken though messages are not. A close frame waits for the message before it. */
function isTakenNext({ incoming, inflating, takesClose }: Endpoint, first: number): boolean {
  const isClose = (first & 0x0f) === Opcode.Close;
  return isControlNext(incoming, first) && (!isClose || (takesClose && inflating === undefined));
}

function readWholeMessage(endpoint: Endpoint, bytes: Uint8Array, start: number, end: number): void {
  checkSize(end - start, endpoint.maxMessage);
  const isText = header.opcode === Opcode.Text;
  // A key of zero changes nothing, but it is a client's right to choose it.
  const notAscii = endpoint.role === 'server' ? unmask(bytes, start, end, header.key) : 1;
  if (isText && notAscii !== 0) checkTextEnd(checkText(utf8Start, bytes, start, end));
  message.isText = isText;
  message.bytes = bytes;
  message.start = start;
  message.end = end;
}

function isWhole(incoming: IncomingMessage): boolean {
  return incoming.missing === 0 && incoming.isLastFrame;
}

function deliver<Owner>(
  endpoint: Endpoint,
  events: EndpointEvents<Owner>,
  owner: Owner,
  incoming: IncomingMessage,
): boolean {
  endpoint.incoming = undefined;
  if (incoming.isCompressed && endpoint.inflater !== undefined) {
    // What nobody hears is not inflated.
    if (!isHeard(endpoint, events)) {
      dropMessage(incoming);
      return true;
    }
    endpoint.inflating = beginInflating(incoming, endpoint.inflater, endpoint.maxMessage);
    return inflate(endpoint, events, owner, endpoint.inflating);
  }
  finishMessage(incoming, message);
  const goesOn = deliverMessage(endpoint, events, owner);
  dropMessage(incoming);
  return goesOn;
}

/** @returns whether to go on, as after a message */
function inflate<Owner>(
  endpoint: Endpoint,
  events: EndpointEvents<Owner>,
  owner: Owner,
  inflating: InflatingMessage,
): boolean {
  while (!inflateSlice(inflating, message)) {
    if (events.mayInflate?.(owner) === false) return true;
  }
  endpoint.inflating = undefined;
  const goesOn = deliverMessage(endpoint, events, owner);
  dropInflation(inflating.inflation);
  return goesOn;
}

function resumeInflating<Owner>(endpoint: Endpoint, events: EndpointEvents<Owner>, owner: Owner): boolean {
  const { inflating } = endpoint;
  if (inflating === undefined) return true;
  if (!isHeard(endpoint, events)) dropInflating(endpoint);
  else if (endpoint.takesMessages && events.mayInflate?.(owner) !== false)
    return inflate(endpoint, events, owner, inflating);
  return true;
}

/** The endpoint is CLOSED, or about to be: what it has of a message is not wanted any more. */
function dropInflating(endpoint: Endpoint): void {
  if (endpoint.inflating !== undefined) dropInflation(endpoint.inflating.inflation);
  endpoint.inflating = undefined;
}

/** Whether anyone hears a message. Once we have said that we are closing, no one here answers any more. */
function isHeard<Owner>({ state }: Endpoint, events: EndpointEvents<Owner>): boolean {
  return state === 'OPEN' || (state === 'CLOSING' && events.hearsWhileClosing === true);
}

function deliverMessage<Owner>(endpoint: Endpoint, events: EndpointEvents<Owner>, owner: Owner): boolean {
  return !isHeard(endpoint, events) || events.message(owner, message);
}

/** Nothing more is received or sent. */
export function endEndpoint(endpoint: Endpoint): void {
  endpoint.state = 'CLOSED';
  dropUnfinished(endpoint);
}

/** Frees what is held of a message that is not whole. No further byte of it may be received. */
export function dropUnfinished(endpoint: Endpoint): void {
  if (endpoint.incoming !== undefined) dropMessage(endpoint.incoming);
  endpoint.incoming = undefined;
  dropInflating(endpoint);
}

function receiveControl<Owner>(
  endpoint: Endpoint,
  events: EndpointEvents<Owner>,
  owner: Owner,
  bytes: Uint8Array,
  start: number,
  end: number,
): void {
  if (header.opcode === Opcode.Ping) {
    // RFC 6455 §5.5.2: a pong, with the ping's payload, unless a close frame was received. After our own close frame
    // nothing is sent either: its peer is about to answer that, and does not wait for anything else.
    if (endpoint.state === 'OPEN') events.sendControl(owner, Opcode.Pong, bytes, start, end);
  } else if (header.opcode === Opcode.Pong) {
    events.pong(owner, bytes, start, end);
  } else {
    receiveClose(endpoint, events, owner, bytes, start, end);
  }
}

/** RFC 6455 §5.5.1, §7.4. @throws ProtocolError 1002 or 1007 */
function receiveClose<Owner>(
  endpoint: Endpoint,
  events: EndpointEvents<Owner>,
  owner: Owner,
  bytes: Uint8Array,
  start: number,
  end: number,
): void {
  let code: number = CloseCode.NoStatusReceived;
  let reason = '';
  if (end - start === 1) {
    throw new ProtocolError(CloseCode.ProtocolError, 'a close frame with half a close code');
  }
  if (end - start >= 2) {
    code = (bytes[start]! << 8) | bytes[start + 1]!;
    if (!isSendableCloseCode(code)) {
      throw new ProtocolError(CloseCode.ProtocolError, `close code ${code} must not be sent`);
    }
    // RFC 6455 §5.5.1: the reason is UTF-8.
    checkTextEnd(checkText(utf8Start, bytes, start + 2, end));
    reason = Buffer.from(bytes.buffer, bytes.byteOffset + start + 2, end - start - 2).toString('utf8');
  }
  // RFC 6455 §5.5.1: whoever has not sent a close frame answers with one, typically echoing the code.
  if (endpoint.state === 'OPEN') {
    events.sendControl(owner, Opcode.Close, bytes, start, Math.min(end, start + 2));
  }
  endEndpoint(endpoint);
  events.closed(owner, code, reason);
}

/**
 * Starts the closing handshake (RFC 6455 §7.1.2). Does nothing where a close frame was already sent or received.
 * @param code 1000, 1001 … or 3000 to 4999; 1005 for a close frame without one
 * @param reason as much of it as fits in 123 bytes is sent
 */
export function startClosing<Owner>(
  endpoint: Endpoint,
  events: EndpointEvents<Owner>,
  owner: Owner,
  code: number,
  reason: string,
): void {
  if (endpoint.state !== 'OPEN') return;
  const payload = closePayload(code, reason);
  events.sendControl(owner, Opcode.Close, payload, 0, payload.length);
  endpoint.state = 'CLOSING';
}

/** Fails the connection (RFC 6455 §7.1.7): says why, if that can still be said, and is CLOSED. */
export function failConnection<Owner>(
  endpoint: Endpoint,
  events: EndpointEvents<Owner>,
  owner: Owner,
  code: number,
  reason: string,
): void {
  if (endpoint.state === 'CLOSED') return;
  startClosing(endpoint, events, owner, code, reason);
  endEndpoint(endpoint);
  endpoint.hasFailed = true;
  events.closed(owner, code, reason);
}

/** The payload of a close frame, its reason cut where a character ends. */
export function closePayload(code: number, reason: string): Buffer {
  if (code === CloseCode.NoStatusReceived) return Buffer.alloc(0);
  const payload = Buffer.alloc(2 + maxCloseReason);
  payload.writeUInt16BE(code);
  return payload.subarray(0, 2 + payload.write(reason, 2, 'utf8'));
}
