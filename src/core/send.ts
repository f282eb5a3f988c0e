/** Sending: frames are written into the output arena and queued. The flush at the end of the turn writes them to the sockets. */

import { noteRule } from '../diagnostics/closeReason.ts';
import { log } from '../log/log.ts';
import { size } from '../options/values.ts';
import type { ByteRange } from '../protocol/buffers.ts';
import { CloseCode, Opcode } from '../protocol/codes.ts';
import { maxAlwaysCompressed, maxCompressedOutput, maxTriedCompression } from '../protocol/limits.ts';
import {
  type Deflater,
  deflateLarge,
  deflateMessage,
  newDeflateState,
  updateWindow,
} from '../protocol/websocket/deflate.ts';
import { frameHeaderSize, writeFrameHeader } from '../protocol/websocket/frame.ts';
import { copyInArena, ioArena } from '../protocol/websocket/mask.ts';
import { type ArenaUse, type Chunk, reserve } from './arena.ts';
import type { Connection } from './connection.ts';
import { updateHeld } from './memory.ts';
import { flushFanout, queueForAll, queueRange, scheduleFlush } from './outbox.ts';
import { clearQueue, type Range } from './queue.ts';
import type { Server } from './server.ts';

const FIN = 0x80;
const RSV1 = 0x40;

/** Compressing a shorter message takes more time than the bytes are worth. ws has the same threshold. */
const compressFrom = 1024;

/** @returns the compressed payload; `undefined` if the message is too small, or takes too long to compress */
function compress(deflater: Deflater, bytes: Uint8Array, start: number, end: number): Buffer | undefined {
  if (end - start < compressFrom) return undefined;
  if (end - start <= maxAlwaysCompressed) return deflateMessage(deflater, bytes, start, end);
  if (end - start > maxTriedCompression) return undefined;
  return deflateLarge(deflater, bytes, start, end, maxCompressedOutput);
}

/** Writes one frame into the arena. @returns the chunk, in which the frame ends at `chunk.used` */
function writeFrame(arena: ArenaUse, first: number, bytes: Uint8Array, start: number, end: number): Chunk {
  const length = end - start;
  const chunk = reserve(arena, frameHeaderSize(length) + length);
  const at = writeFrameHeader(chunk.bytes, chunk.used, first, length);
  // Inside the arena, bytes are copied without a view of them, which would cost more than the copy.
  if (bytes === ioArena && chunk.bytes === ioArena) copyInArena(at, start, end);
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
  const chunk = writeFrame(connection.server.arena, first, bytes, start, end);
  const size = frameHeaderSize(end - start) + end - start;
  queueRange(connection, chunk, chunk.used - size, chunk.used);
}

/** Sends one message, in a frame if the wire has frames. The bytes are copied; those of a text must be UTF-8. */
export function sendMessage(
  connection: Connection,
  isText: boolean,
  bytes: Uint8Array,
  start: number,
  end: number,
): void {
  if (!isOpen(connection)) return;
  const endpoint = connection.endpoint;
  connection.messagesOut++;
  if (endpoint === undefined) {
    const { chunk, start: from, end: to } = writeBytes(connection.server.arena, bytes, start, end);
    queueRange(connection, chunk, from, to);
    return;
  }
  const first = FIN | (isText ? Opcode.Text : Opcode.Binary);
  const { deflater } = endpoint;
  const deflated = deflater === undefined ? undefined : compress(deflater, bytes, start, end);
  if (deflated === undefined) queueFrame(connection, first, bytes, start, end);
  else queueFrame(connection, first | RSV1, deflated, 0, deflated.length);
}

/** Like `sendMessage`, for unsolicited messages: a peer over `--max-buffered` is closed instead, as in a fan-out. */
export function sendPush(
  connection: Connection,
  isText: boolean,
  bytes: Uint8Array,
  start: number,
  end: number,
): void {
  if (admitToFanout(connection)) sendMessage(connection, isText, bytes, start, end);
}

/** Whether messages can still be sent. */
function isOpen({ endpoint, phase }: Connection): boolean {
  return phase === 'open' && (endpoint === undefined || endpoint.state === 'OPEN');
}

/** Sends bytes without a frame: an HTTP response, for example. They are copied. */
export function sendBytes(connection: Connection, bytes: Uint8Array): void {
  const { chunk, start, end } = writeBytes(connection.server.arena, bytes, 0, bytes.length);
  queueRange(connection, chunk, start, end);
}

function writeBytes(arena: ArenaUse, bytes: Uint8Array, start: number, end: number): Range {
  const chunk = reserve(arena, end - start);
  const at = chunk.used;
  chunk.bytes.set(bytes.subarray(start, end), at);
  chunk.used += end - start;
  return { chunk, start: at, end: chunk.used };
}

/** Sends a control frame. Its payload of at most 125 bytes is copied. */
export function sendControl(connection: Connection, opcode: number, { bytes, start, end }: ByteRange): void {
  queueFrame(connection, FIN | opcode, bytes, start, end);
}

/**
 * Sends one message to many connections. The frame is written once, and compressed once for each window size, without
 * reference to earlier messages, which differ from recipient to recipient.
 * @param members all with frames, or all without; the list is replaced, never changed, when someone joins or leaves
 */
export function sendToAll(
  members: readonly Connection[],
  except: Connection | undefined,
  isText: boolean,
  bytes: Uint8Array,
  start: number,
  end: number,
): void {
  const first = members[0];
  if (first === undefined) return;
  const isFramed = first.endpoint !== undefined;
  const { arena } = first.server;
  const opcode = isText ? Opcode.Text : Opcode.Binary;
  if (!isFramed || end - start < compressFrom) {
    const range = isFramed
      ? frameRange(arena, FIN | opcode, bytes, start, end)
      : writeBytes(arena, bytes, start, end);
    const { chunk, start: from, end: to } = range;
    queueForAll(members, except, chunk, from, to, admitToFanout);
    return;
  }
  let plain: Range | undefined;
  const deflated: (Range | undefined)[] = [];
  let budget = Math.max(maxAlwaysCompressed, end - start);
  for (const member of members) {
    if (member === except || !admitToFanout(member)) continue;
    const deflater = member.endpoint?.deflater;
    let range: Range | undefined;
    if (deflater !== undefined) {
      const { windowBits } = deflater;
      if (deflated[windowBits] === undefined && budget >= end - start) {
        budget -= end - start;
        const smaller = compress(newDeflateState(false, windowBits), bytes, start, end);
        if (smaller !== undefined)
          deflated[windowBits] = frameRange(arena, FIN | RSV1 | opcode, smaller, 0, smaller.length);
      }
      range = deflated[windowBits];
      if (range !== undefined) {
        updateWindow(deflater, bytes, start, end);
        updateHeld(member);
      }
    }
    range ??= plain ??= frameRange(arena, FIN | opcode, bytes, start, end);
    member.messagesOut++;
    queueRange(member, range.chunk, range.start, range.end);
  }
}

/** @returns whether a connection takes part in a fan-out. One that is closing does not; a slow consumer is closed after it. */
function admitToFanout(member: Connection): boolean {
  if (!isOpen(member) || member.isSlowConsumer) return false;
  if (!member.socket.isBusy || member.queue.size <= member.server.configuration.maxBuffered) return true;
  // Close it later: closing may start another broadcast while this one iterates.
  member.isSlowConsumer = true;
  member.server.slowConsumers.push(member);
  scheduleFlush(member);
  return false;
}

function frameRange(arena: ArenaUse, first: number, bytes: Uint8Array, start: number, end: number): Range {
  const chunk = writeFrame(arena, first, bytes, start, end);
  return { chunk, start: chunk.used - frameHeaderSize(end - start) - (end - start), end: chunk.used };
}

/** Queues all pending broadcasts and closes slow consumers. */
export function finishFanouts(server: Server): void {
  flushFanout(server);
  const { slowConsumers } = server;
  for (let member = slowConsumers.pop(); member !== undefined; member = slowConsumers.pop()) {
    closeSlowConsumer(member);
    // The close may have started another broadcast, which may find more slow consumers.
    flushFanout(server);
  }
}

/**
 * Closes a peer that reads too slowly. Its queue is dropped, which frees the memory at once. The frame that the system has
 * begun to send is finished; the close frame follows it.
 */
function closeSlowConsumer(connection: Connection): void {
  if (!isOpen(connection)) return;
  const { id, queue, server } = connection;
  const limit = size.show(server.configuration.maxBuffered);
  log('warn', 'fell behind', { id, bytes: queue.size });
  noteRule(
    connection,
    `it read too slowly: ${queue.size} bytes waited for it, of ${limit} that may`,
    'maxBuffered',
  );
  server.counters.fellBehind++;
  clearQueue(queue);
  connection.wire.close(connection, CloseCode.TryAgainLater, 'too far behind');
}
