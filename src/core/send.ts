/**
 * Sending: a message becomes a frame in the output arena, and the frame's range is appended to the connection's queue. The flush at
 * the end of the turn writes the queues to the sockets. To send one message to many connections, see fanout.ts.
 */

import { recordSent } from '../diagnostics/recorder.ts';
import { tapCompressed } from '../diagnostics/tap.ts';
import type { ByteRange } from '../protocol/buffers.ts';
import { Opcode } from '../protocol/codes.ts';
import { maxAlwaysCompressed, maxCompressedOutput, maxTriedCompression } from '../protocol/limits.ts';
import { type DeflateContext, deflateLarge, deflateMessage } from '../protocol/websocket/deflate.ts';
import { takeMessageBuffer } from '../protocol/websocket/endpoint.ts';
import { FIN, frameHeaderSize, maxHeaderSize, RSV1, writeFrameHeader } from '../protocol/websocket/frame.ts';
import { copyInArena, ioArena } from '../protocol/websocket/mask.ts';
import type { Message } from '../protocol/websocket/message.ts';
import { workUnits } from '../protocol/workUnits.ts';
import {
  type ArenaUse,
  appendRange,
  type Chunk,
  newKeptChunk,
  type Range,
  reserve,
  slotSize,
} from '../records/arena.ts';
import type { Connection, PendingFanout } from '../records/records.ts';
import { wake } from './poll.ts';

/** Sends one message, in a frame if the wire has frames. The bytes are copied; those of a text must be UTF-8. */
export function sendMessage(
  connection: Connection,
  isText: boolean,
  bytes: Uint8Array,
  start: number,
  end: number,
): void {
  const { endpoint, phase } = connection;
  // RFC 6455 §6.1 [5.1-7, 5.5.1-5, 6.1-2, 6.1-3]: messages are sent only while the connection is open.
  if (phase !== 'open' || (endpoint !== undefined && endpoint.state !== 'OPEN')) return;
  connection.messagesOut++;
  if (endpoint === undefined) {
    queueBytes(connection, bytes, start, end);
    return;
  }
  // RFC 6455 §6.1 [6.1-6, 6.1-7]: the opcode marks text or binary data, and FIN the last frame.
  const first = FIN | (isText ? Opcode.Text : Opcode.Binary);
  const { deflater } = endpoint;
  const deflated = deflater === undefined ? undefined : compress(deflater, bytes, start, end);
  // RFC 6455 §5.2 [5.2-2]; RFC 7692 §6 [7692-6-4, 7692-6.1-1]: RSV1 marks a compressed message.
  if (deflated === undefined) queueFrame(connection, first, bytes, start, end);
  else {
    if (connection.server.taps.isOn) tapCompressed(connection, { isText, bytes, start, end });
    queueFrame(connection, first | RSV1, deflated, 0, deflated.length);
  }
}

/**
 * Sends a long received message from its own buffer, without a copy. The handler must not change the bytes afterwards.
 * @returns false if nothing was sent: the message is short, compression was negotiated, or the buffer cannot be kept. Then
 *   `sendMessage` sends it
 */
export function sendUncopied(connection: Connection, message: Message): boolean {
  const { server, endpoint } = connection;
  if (endpoint === undefined || endpoint.deflater !== undefined || !canSend(connection)) return false;
  const frame = keptFrame(server.arena, message);
  if (frame === undefined) return false;
  connection.messagesOut++;
  queueRange(connection, frame.chunk, frame.start, frame.end);
  return true;
}

/**
 * Turns a long received message into a frame in place: the header is written in front of it.
 * @returns undefined if the message is short, or its buffer cannot be kept
 */
export function keptFrame(arena: ArenaUse, { isText, bytes, start, end }: Message): Range | undefined {
  const size = end - start;
  const isKeepable = Buffer.isBuffer(bytes) && bytes !== ioArena && start >= maxHeaderSize;
  // A queue keeps the whole buffer in memory.
  if (size <= slotSize || !isKeepable || 2 * size < bytes.length) return undefined;
  const from = start - frameHeaderSize(size);
  writeFrameHeader(bytes, from, FIN | (isText ? Opcode.Text : Opcode.Binary), size);
  return { chunk: newKeptChunk(arena, bytes, takeMessageBuffer(bytes)), start: from, end };
}

/** Sends a control frame. Its payload of at most 125 bytes is copied. */
export function sendControl(connection: Connection, opcode: number, { bytes, start, end }: ByteRange): void {
  // RFC 6455 §5.5 [5.4-2, 5.5-1, 5.5.2-1]; RFC 7692 §6 [7692-6-2, 7692-6-6]: never fragmented or compressed.
  queueFrame(connection, FIN | opcode, bytes, start, end);
}

/** Sends bytes without a frame: an HTTP response, for example. They are copied. */
export function sendBytes(connection: Connection, bytes: Uint8Array): void {
  queueBytes(connection, bytes, 0, bytes.length);
}

function queueBytes(connection: Connection, bytes: Uint8Array, start: number, end: number): void {
  const range = writeBytes(connection.server.arena, bytes, start, end);
  queueRange(connection, range.chunk, range.start, range.end);
}

/** Writes a frame into the arena and queues it. */
function queueFrame(
  connection: Connection,
  first: number,
  bytes: Uint8Array,
  start: number,
  end: number,
): void {
  // The second half is `queueRange`, inlined: every message comes through here.
  const { server, queue } = connection;
  // RFC 6455 §5.5.1 [5.5.1-8]: a close frame follows the messages before it.
  if (server.pendingFanout !== undefined) keepOrder(connection, server.pendingFanout);
  const chunk = reserve(server.arena, maxHeaderSize + end - start);
  const from = chunk.used;
  // RFC 6455 §6.1 [6.1-1, 6.1-4]: the data is encapsulated in a frame.
  writeFrame(chunk, first, bytes, start, end);
  recordSent(connection, chunk.bytes, from, chunk.used);
  workUnits.spent++;
  appendRange(queue, chunk, from, chunk.used);
  if (!connection.isWriteQueued) scheduleFlush(connection);
}

/** Queues `[start, end)` of the chunk. */
export function queueRange(connection: Connection, chunk: Chunk, start: number, end: number): void {
  const { pendingFanout } = connection.server;
  if (pendingFanout !== undefined) keepOrder(connection, pendingFanout);
  recordSent(connection, chunk.bytes, start, end);
  appendOutput(connection, chunk, start, end);
}

/** Delivers a pending fan-out first, if the connection is one of its recipients. */
function keepOrder(connection: Connection, pending: PendingFanout): void {
  if (pending.group === undefined || pending.group.members.has(connection))
    pending.deliver(connection.server);
}

/** Compressing a shorter message takes more time than the bytes are worth. ws has the same threshold. */
export const compressFrom = 1024;

/** Whether messages can still be sent. */
export function canSend({ endpoint, phase }: Connection): boolean {
  return phase === 'open' && (endpoint === undefined || endpoint.state === 'OPEN');
}

/** Appends `[start, end)` of the chunk to the connection's queue. */
export function appendOutput(connection: Connection, chunk: Chunk, start: number, end: number): void {
  workUnits.spent++;
  appendRange(connection.queue, chunk, start, end);
  scheduleFlush(connection);
}

/** Has the turn's flush look at this connection. */
export function scheduleFlush(connection: Connection): void {
  if (connection.isWriteQueued) return;
  connection.isWriteQueued = true;
  const { server } = connection;
  if (server.pendingWrites.push(connection) === 1) wake(server);
}

/** Writes one frame at `chunk.used`, and advances that. The chunk has room for the payload and `maxHeaderSize` bytes. */
export function writeFrame(chunk: Chunk, first: number, bytes: Uint8Array, start: number, end: number): void {
  const length = end - start;
  // RFC 6455 §5.1 [5.1-4]: a server masks no frame.
  const at = writeFrameHeader(chunk.bytes, chunk.used, first, length);
  // Inside the arena, bytes are copied without a view of them, which would cost more than the copy.
  if (bytes === ioArena && chunk.bytes === ioArena) copyInArena(at, start, end);
  else copyBytes(chunk.bytes, at, bytes, start, end);
  chunk.used = at + length;
}

/** Up to this length, a loop takes less time than a view of the bytes, and allocates nothing. */
const longestLoop = 128;

/** Copies bytes from outside the arena, such as deferred input or a program's output. A flood of short messages calls it often. */
function copyBytes(to: Buffer, at: number, bytes: Uint8Array, start: number, end: number): void {
  if (end - start > longestLoop) {
    to.set(bytes.subarray(start, end), at);
    return;
  }
  for (let from = start, next = at; from < end; from++, next++) to[next] = bytes[from]!;
}

/** Writes bytes without a frame into the arena. */
export function writeBytes(arena: ArenaUse, bytes: Uint8Array, start: number, end: number): Range {
  const chunk = reserve(arena, end - start);
  const at = chunk.used;
  copyBytes(chunk.bytes, at, bytes, start, end);
  chunk.used += end - start;
  return { chunk, start: at, end: chunk.used };
}

/** @returns the compressed payload; `undefined` if the message is too small, too large, or hardly gets smaller */
export function compress(
  deflater: DeflateContext,
  bytes: Uint8Array,
  start: number,
  end: number,
): Buffer | undefined {
  // RFC 7692 §6.1 [7692-6.1-2]: any message may be sent without compression.
  if (end - start < compressFrom) return undefined;
  if (end - start <= maxAlwaysCompressed) return deflateMessage(deflater, bytes, start, end);
  if (end - start > maxTriedCompression) return undefined;
  return deflateLarge(deflater, bytes, start, end, maxCompressedOutput);
}
