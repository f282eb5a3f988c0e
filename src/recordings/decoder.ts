/**
 * Decodes the bytes of a connection, in both directions, into the events of a recording: the opening handshake, frames, and bytes
 * that are not frames. It enforces only the rules of framing. Complete frames are copied.
 */
import { CloseCode, Opcode, ProtocolError } from '../protocol/codes.ts';
import { beginsAsRequest, type Head, parseRequestHead, parseResponseHead } from '../protocol/http/head.ts';
import { absoluteMaxHeader } from '../protocol/limits.ts';
import { beginsProxyHeader, readProxyHeader } from '../protocol/proxyHeader.ts';
import { maxRecordedFrame, maxRecordedMessage } from '../protocol/recordingLimits.ts';
import { type DeflateContext, inflateMessage, newContextOf } from '../protocol/websocket/deflate.ts';
import {
  acceptDeflateResponse,
  type DeflateParameters,
  parseExtensions,
} from '../protocol/websocket/extensions.ts';
import { newFrameHeader, readFrameHeader } from '../protocol/websocket/frame.ts';
import { asksForWebSocket } from '../protocol/websocket/handshake.ts';
import { unmask } from '../protocol/websocket/mask.ts';
import type { BytesEvent, Content, FrameEvent, RequestEvent, ResponseEvent, Side } from './recording.ts';

export type DecodedEvent = RequestEvent | ResponseEvent | FrameEvent | BytesEvent;

/** `head`: waits for an HTTP head. `answer`: waits for the response to a handshake. `ignored`: not a WebSocket. */
type Stage = 'head' | 'answer' | 'frames' | 'bytes' | 'ignored';

/** One direction. */
interface Stream {
  readonly from: Side;
  stage: Stage;
  /** The bytes so far of the next head or frame, and their number. */
  pieces: Buffer[];
  size: number;
  /** The size at which the next head or frame can be complete. */
  needed: number;
  /** Bytes to skip: the rest of a request's body, or of a frame that began before the recording. */
  toSkip: number;
  /** The payloads of the incomplete message. */
  message:
    | { readonly isText: boolean; readonly isCompressed: boolean; payloads: Buffer[]; size: number }
    | undefined;
  /**
   * Undefined without permessage-deflate. `lost`: a message was not inflated, so later ones that may refer to it (RFC 7692 §7.1.1)
   * cannot be inflated either.
   */
  inflater: DeflateContext | 'lost' | undefined;
}

/** The largest frame and message that a decoder decodes, in bytes. */
export interface DecoderLimits {
  readonly frame: number;
  readonly message: number;
  /** The event of a longer frame has its beginning. Otherwise a longer frame ends the decoding, and later events are `bytes`. */
  readonly isBeginningEnough: boolean;
}

const recordedLimits: DecoderLimits = {
  frame: maxRecordedFrame,
  message: maxRecordedMessage,
  isBeginningEnough: false,
};

export interface SessionDecoder {
  readonly limits: DecoderLimits;
  readonly client: Stream;
  readonly server: Stream;
  readonly onEvent: (event: DecodedEvent) => void;
  /** The handshake without a response yet, and its time of arrival. */
  request: { readonly head: Head; readonly at: number } | undefined;
  /** Receives the input that is left when a call of `stopDecoder` ends the decoding. */
  onRest: ((from: Side, rest: Buffer) => void) | undefined;
}

function newStream(from: Side): Stream {
  return {
    from,
    stage: 'head',
    pieces: [],
    size: 0,
    needed: 1,
    toSkip: 0,
    message: undefined,
    inflater: undefined,
  };
}

/** @param onEvent owns the events */
export function newSessionDecoder(
  onEvent: (event: DecodedEvent) => void,
  limits: DecoderLimits = recordedLimits,
): SessionDecoder {
  return {
    limits,
    client: newStream('client'),
    server: newStream('server'),
    onEvent,
    request: undefined,
    onRest: undefined,
  };
}

/** An estimate of the memory of a `Buffer` object, besides its bytes: a peer can send very many small pieces. */
const pieceOverhead = 100;

/** Bytes of memory that the decoder holds. */
export function decoderMemory({ client, server }: SessionDecoder): number {
  return streamMemory(client) + streamMemory(server);
}

function streamMemory({ pieces, size, message, inflater }: Stream): number {
  const payloads = message?.payloads ?? [];
  const content = payloads.length === 0 ? 0 : message!.size;
  const window = typeof inflater === 'object' ? inflater.window.length : 0;
  return size + content + window + pieceOverhead * (pieces.length + payloads.length);
}

/** Ends the decoding, and frees the memory. */
export function stopDecoder({ client, server }: SessionDecoder): void {
  for (const stream of [client, server])
    Object.assign(stream, { ...newStream(stream.from), stage: 'ignored' satisfies Stage });
}

/** Frames follow: the handshake is complete, or began before the recording. @param deflate the negotiated parameters */
export function beginFrames(decoder: SessionDecoder, deflate: DeflateParameters | undefined): void {
  for (const stream of [decoder.client, decoder.server]) {
    stream.stage = 'frames';
    stream.inflater = newContextOf(deflate, stream.from);
  }
}

/** Whether this direction has lost its context: a message could not be inflated, and later ones may refer to it. */
export function hasLostContext(decoder: SessionDecoder, from: Side): boolean {
  return decoder[from].inflater === 'lost';
}

/** Whether this direction is neither a handshake nor frames. */
export function isIgnored(decoder: SessionDecoder, from: Side): boolean {
  return decoder[from].stage === 'ignored';
}

/** Sets the window, the end of earlier messages: later ones may refer to it. */
export function setWindow(decoder: SessionDecoder, from: Side, window: Buffer): void {
  const { inflater } = decoder[from];
  if (typeof inflater === 'object' && inflater.keepsContext) inflater.window = Buffer.from(window);
}

/** Skips the rest of a frame that began before the recording. @param rest its length */
export function skipRest(decoder: SessionDecoder, from: Side, rest: number): void {
  decoder[from].toSkip = rest;
}

/** Decodes a copy of `bytes[start, end)`. @param at when they arrived or were sent */
export function decode(
  decoder: SessionDecoder,
  from: Side,
  bytes: Uint8Array,
  start: number,
  end: number,
  at: number,
): void {
  const stream = decoder[from];
  const skipped = Math.min(stream.toSkip, end - start);
  stream.toSkip -= skipped;
  if (start + skipped === end || stream.stage === 'ignored') return;
  const piece = Buffer.from(bytes.subarray(start + skipped, end));
  stream.pieces.push(piece);
  stream.size += piece.length;
  decodeStream(decoder, stream, at);
}

function decodeStream(decoder: SessionDecoder, stream: Stream, at: number): void {
  while (stream.size > 0 && stream.size >= stream.needed) {
    const input = stream.pieces.length === 1 ? stream.pieces[0]! : Buffer.concat(stream.pieces);
    stream.pieces = [input];
    const { stage } = stream;
    const used = decodeOne(decoder, stream, input, at);
    if (used > 0) {
      const rest = input.subarray(used);
      stream.pieces = rest.length === 0 ? [] : [rest];
      stream.size = rest.length;
    } else if (stream.stage === stage) {
      return;
    }
  }
}

/** @returns how many bytes of the input were decoded; 0 if more are needed, or the stage has changed */
function decodeOne(decoder: SessionDecoder, stream: Stream, input: Buffer, at: number): number {
  switch (stream.stage) {
    case 'head':
      return stream.from === 'client'
        ? decodeRequest(decoder, input, at)
        : decodeResponse(decoder, input, at);
    case 'answer':
      // The client did not wait for the response: its frames are decoded after the response.
      if (input.length > absoluteMaxHeader) stream.stage = 'ignored';
      return 0;
    case 'frames':
      return decodeFrame(decoder, stream, input, at);
    case 'bytes':
      decoder.onEvent({ kind: 'bytes', at, from: stream.from, bytes: Buffer.from(input) });
      return input.length;
    case 'ignored':
      decoder.onRest?.(stream.from, input);
      return input.length;
  }
}

function decodeRequest(decoder: SessionDecoder, input: Buffer, at: number): number {
  const { client } = decoder;
  try {
    const isProxied = beginsProxyHeader(input, 0, input.length);
    if (isProxied === undefined) return 0;
    if (isProxied) return readProxyHeader(input, 0, input.length)?.end ?? 0;
    if (beginsAsRequest(input, 0, input.length) === false) {
      client.stage = 'ignored';
      return 0;
    }
    const parsed = parseRequestHead(input, 0, input.length, absoluteMaxHeader);
    if (parsed === undefined) return 0;
    const { head, end } = parsed;
    if (asksForWebSocket(head)) {
      decoder.request = { head, at };
      client.stage = 'answer';
      return end;
    }
    const skipped = Math.min(head.bodyLength, input.length - end);
    client.toSkip = head.bodyLength - skipped;
    // This decoder cannot find the end of a chunked body.
    if (head.bodyLength === Number.POSITIVE_INFINITY) client.stage = 'ignored';
    return end + skipped;
  } catch (error) {
    if (!(error instanceof ProtocolError)) throw error;
    client.stage = 'ignored';
    return 0;
  }
}

/** Skips everything except the response to the handshake. The server writes the head of a response in one piece. */
function decodeResponse(decoder: SessionDecoder, input: Buffer, at: number): number {
  const { request, server, client } = decoder;
  if (request === undefined || !input.toString('latin1', 0, 13).startsWith('HTTP/1.1 101 ')) {
    return 'HTTP/1.1 101 '.startsWith(input.toString('latin1', 0, 13)) && request !== undefined
      ? 0
      : input.length;
  }
  try {
    const parsed = parseResponseHead(input, 0, input.length, absoluteMaxHeader);
    if (parsed === undefined) return 0;
    const { head, end } = parsed;
    const requestHeaders = Object.fromEntries(request.head.headers);
    const target = request.head.target;
    decoder.onEvent({ kind: 'request', at: request.at, from: 'client', target, headers: requestHeaders });
    const { status, headers } = head;
    decoder.onEvent({ kind: 'response', at, from: 'server', status, headers: Object.fromEntries(headers) });
    beginFrames(decoder, agreedDeflate(headers.get('sec-websocket-extensions')));
    decodeStream(decoder, client, at);
    return end;
  } catch (error) {
    if (!(error instanceof ProtocolError)) throw error;
    client.stage = 'ignored';
    server.stage = 'ignored';
    return 0;
  }
}

/** The parameters in a response. @throws ProtocolError */
export function agreedDeflate(extensions: string | undefined): DeflateParameters | undefined {
  if (extensions === undefined) return undefined;
  return acceptDeflateResponse(parseExtensions(extensions, CloseCode.ProtocolError), 'takeover');
}

const header = newFrameHeader();

function decodeFrame(decoder: SessionDecoder, stream: Stream, input: Buffer, at: number): number {
  const { from } = stream;
  const range = { bytes: input, start: 0, end: input.length };
  let size = 0;
  try {
    size = readFrameHeader(
      header,
      range,
      from === 'client' ? 'server' : 'client',
      stream.inflater !== undefined,
    );
  } catch (error) {
    if (!(error instanceof ProtocolError)) throw error;
    stream.stage = 'bytes';
    stream.needed = 1;
    return 0;
  }
  stream.needed = size === 0 ? input.length + 1 : size + header.length;
  if (size === 0) return 0;
  const { limits } = decoder;
  if (header.length > limits.frame) {
    stream.needed = 1;
    if (limits.isBeginningEnough) return decodeBeginning(decoder, stream, input, { size, at });
    stream.stage = 'bytes';
    return 0;
  }
  if (input.length < stream.needed) return 0;
  stream.needed = 1;
  const end = size + header.length;
  const payload = Buffer.from(input.subarray(size, end));
  if (header.key !== 0) unmask(payload, 0, payload.length, header.key);
  const { opcode, fin: isFinal, rsv1: isCompressed } = header;
  const content =
    opcode >= 8
      ? { isText: opcode !== Opcode.Close, bytes: payload }
      : addToMessage(stream, payload, limits.message);
  const raw = Buffer.from(input.subarray(0, end));
  decoder.onEvent({ kind: 'frame', at, from, opcode, isFinal, isCompressed, content, raw });
  return end;
}

/** Decodes the beginning of a long frame, and skips the rest. @param size of its header */
function decodeBeginning(
  decoder: SessionDecoder,
  stream: Stream,
  input: Buffer,
  { size, at }: { size: number; at: number },
): number {
  const { opcode, fin: isFinal, rsv1: isCompressed, length } = header;
  const end = Math.min(input.length, size + length);
  stream.toSkip = size + length - end;
  addToMessage(stream, noBytes, decoder.limits.message);
  const { from } = stream;
  const raw = Buffer.from(input.subarray(0, end));
  decoder.onEvent({
    kind: 'frame',
    at,
    from,
    opcode,
    isFinal,
    isCompressed,
    content: undefined,
    raw,
    length,
  });
  return end;
}

const noBytes = Buffer.alloc(0);

/** @returns the content of the message that the frame of `header` completes; undefined if it is longer than `maxLength` */
function addToMessage(stream: Stream, payload: Buffer, maxLength: number): Content | undefined {
  const { opcode, fin, rsv1 } = header;
  if (opcode !== Opcode.Continuation)
    stream.message = { isText: opcode === Opcode.Text, isCompressed: rsv1, payloads: [], size: 0 };
  const { message } = stream;
  if (message === undefined) return undefined;
  message.size += header.length;
  // Above the limit, only the frames of a message are recorded.
  if (message.size > maxLength) message.payloads = [];
  else if (payload.length > 0) message.payloads.push(payload);
  if (!fin) return undefined;
  stream.message = undefined;
  const { isText, isCompressed, payloads } = message;
  const isTooLong = message.size > maxLength;
  const whole = payloads.length === 1 ? payloads[0] : Buffer.concat(payloads);
  const received = isTooLong ? undefined : whole;
  const bytes = isCompressed ? inflate(stream, received, maxLength) : received;
  return bytes && { isText, bytes };
}

/**
 * @param bytes undefined if the message was too long
 * @returns undefined if the message is too long or invalid, or may refer to one that was not inflated
 */
function inflate(stream: Stream, bytes: Buffer | undefined, maxLength: number): Buffer | undefined {
  const { inflater } = stream;
  if (typeof inflater !== 'object') return undefined;
  try {
    if (bytes !== undefined) return inflateMessage(inflater, bytes, maxLength);
  } catch (error) {
    if (!(error instanceof ProtocolError)) throw error;
  }
  if (inflater.keepsContext) stream.inflater = 'lost';
  return undefined;
}
