/** How handlers speak to connections: frames are written into the outgoing arena and queued; the turn's end sends them. */
import { CloseCode, Opcode } from '../protocol/codes.ts';
import { type Deflater, deflateMessage } from '../protocol/deflate.ts';
import { frameHeaderSize, writeFrameHeader } from '../protocol/frame.ts';
import { type Chunk, reserve } from './arena.ts';
import type { Connection } from './connection.ts';
import { queueRange } from './outbox.ts';
import { clearQueue, type Range } from './queue.ts';

const FIN = 0x80;
const RSV1 = 0x40;

/** Shorter messages are not compressed: it costs more time than it saves bytes. ws has the same threshold. */
const compressFrom = 1024;

/** Writes one frame into the arena. @returns the chunk; the frame is the `size` bytes before `chunk.used` */
function writeFrame(first: number, bytes: Uint8Array, start: number, end: number): Chunk {
  const length = end - start;
  const chunk = reserve(frameHeaderSize(length) + length);
  const at = writeFrameHeader(chunk.bytes, chunk.used, first, length);
  // Within the turn's memory bytes are moved without making a view of them.
  if (bytes === chunk.bytes) chunk.bytes.copyWithin(at, start, end);
  else chunk.bytes.set(bytes.subarray(start, end), at);
  chunk.used = at + length;
  return chunk;
}

function queueFrame(
  connection: Connection,
  first: number,
  bytes: Uint8Array,
  start: number,
  end: number,
): void {
  const chunk = writeFrame(first, bytes, start, end);
  const size = frameHeaderSize(end - start) + end - start;
  queueRange(connection, chunk, chunk.used - size, chunk.used);
}

/** Sends one message: the bytes `[start, end)`, which are copied. A text's must be UTF-8. */
export function sendMessage(
  connection: Connection,
  isText: boolean,
  bytes: Uint8Array,
  start: number,
  end: number,
): void {
  const endpoint = connection.endpoint;
  if (endpoint === undefined || endpoint.state !== 'OPEN') return;
  connection.messagesOut++;
  const first = FIN | (isText ? Opcode.Text : Opcode.Binary);
  if (endpoint.deflater !== undefined && end - start >= compressFrom) {
    const deflated = deflateMessage(endpoint.deflater, bytes, start, end);
    queueFrame(connection, first | RSV1, deflated, 0, deflated.length);
  } else {
    queueFrame(connection, first, bytes, start, end);
  }
}

/** Sends a string as a text message. */
export function sendText(connection: Connection, text: string): void {
  const bytes = Buffer.from(text);
  sendMessage(connection, true, bytes, 0, bytes.length);
}

/** Sends a control frame: `[start, end)`, at most 125 bytes, are copied. */
export function sendControl(
  connection: Connection,
  opcode: number,
  bytes: Uint8Array,
  start: number,
  end: number,
): void {
  queueFrame(connection, FIN | opcode, bytes, start, end);
}

/** One message for many connections: each form of it is written when the first connection needs it, and then shared. */
export interface Broadcast {
  readonly isText: boolean;
  readonly bytes: Uint8Array;
  readonly start: number;
  readonly end: number;
  plain: Range | undefined;
  /** Compressed, by window bits. Those who keep a context each get one of their own. */
  readonly deflated: (Range | undefined)[];
}

/** The bytes `[start, end)` are borrowed until the last `sendBroadcast`, within the same call. */
export function newBroadcast(isText: boolean, bytes: Uint8Array, start: number, end: number): Broadcast {
  return { isText, bytes, start, end, plain: undefined, deflated: [] };
}

export function sendBroadcast(connection: Connection, broadcast: Broadcast): void {
  const endpoint = connection.endpoint;
  if (endpoint === undefined || endpoint.state !== 'OPEN') return;
  if (connection.socket.isBusy && connection.queue.size > connection.server.configuration.maxBuffered) {
    fellBehind(connection);
    return;
  }
  const { isText, bytes, start, end } = broadcast;
  const deflater = endpoint.deflater;
  let range: Range;
  if (deflater === undefined || end - start < compressFrom) {
    range = broadcast.plain ??= frameRange(isText, bytes, start, end);
  } else if (deflater.keepsContext) {
    sendMessage(connection, isText, bytes, start, end);
    return;
  } else {
    range = broadcast.deflated[deflater.windowBits] ??= deflatedRange(deflater, isText, bytes, start, end);
  }
  connection.messagesOut++;
  queueRange(connection, range.chunk, range.start, range.end);
}

function frameRange(isText: boolean, bytes: Uint8Array, start: number, end: number, rsv1 = 0): Range {
  const chunk = writeFrame(FIN | rsv1 | (isText ? Opcode.Text : Opcode.Binary), bytes, start, end);
  return { chunk, start: chunk.used - frameHeaderSize(end - start) - (end - start), end: chunk.used };
}

function deflatedRange(
  deflater: Deflater,
  isText: boolean,
  bytes: Uint8Array,
  start: number,
  end: number,
): Range {
  const deflated = deflateMessage(deflater, bytes, start, end);
  return frameRange(isText, deflated, 0, deflated.length, RSV1);
}

/**
 * The peer reads too slowly for what is said to it. What waits for it is dropped, so that memory is free at once: only
 * the frame that the system has begun to send is finished, and then the reason is given.
 */
function fellBehind(connection: Connection): void {
  connection.server.counters.fellBehind++;
  clearQueue(connection.queue);
  connection.wire.close(connection, CloseCode.TryAgainLater, 'too far behind');
}
