/** How handlers speak to connections: frames are written into the outgoing arena and queued; the turn's end sends them. */

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
  noteDeflated,
} from '../protocol/websocket/deflate.ts';
import { frameHeaderSize, writeFrameHeader } from '../protocol/websocket/frame.ts';
import { type ArenaUse, type Chunk, reserve } from './arena.ts';
import type { Connection } from './connection.ts';
import { updateHeld } from './memory.ts';
import { flushFanout, queueForAll, queueRange, scheduleFlush } from './outbox.ts';
import { clearQueue, type Range } from './queue.ts';
import type { Server } from './server.ts';

const FIN = 0x80;
const RSV1 = 0x40;

/** Shorter messages are not compressed: it costs more time than it saves bytes. ws has the same threshold. */
const compressFrom = 1024;

/** @returns the payload, compressed; undefined for a message that is too small, or takes too long to compress */
function compress(deflater: Deflater, bytes: Uint8Array, start: number, end: number): Buffer | undefined {
  if (end - start < compressFrom) return undefined;
  if (end - start <= maxAlwaysCompressed) return deflateMessage(deflater, bytes, start, end);
  if (end - start > maxTriedCompression) return undefined;
  return deflateLarge(deflater, bytes, start, end, maxCompressedOutput);
}

/** Writes one frame into the arena. @returns the chunk; the frame is the `size` bytes before `chunk.used` */
function writeFrame(arena: ArenaUse, first: number, bytes: Uint8Array, start: number, end: number): Chunk {
  const length = end - start;
  const chunk = reserve(arena, frameHeaderSize(length) + length);
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
  const chunk = writeFrame(connection.server.arena, first, bytes, start, end);
  const size = frameHeaderSize(end - start) + end - start;
  queueRange(connection, chunk, chunk.used - size, chunk.used);
}

/** Sends one message: the bytes `[start, end)`, which are copied, framed where the wire has frames. A text's must be UTF-8. */
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

/** The same for what was not asked for: whoever is too far behind is closed instead, as in what is sent to all. */
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

/** Sends bytes as they are, which are copied: what a wire itself has to say, beside all messages. */
export function sendBytes(connection: Connection, bytes: Uint8Array): void {
  const { chunk, start, end } = writeBytes(connection.server.arena, bytes, 0, bytes.length);
  queueRange(connection, chunk, start, end);
}

/** Bytes as they are, for wires that have no frames. */
function writeBytes(arena: ArenaUse, bytes: Uint8Array, start: number, end: number): Range {
  const chunk = reserve(arena, end - start);
  const at = chunk.used;
  chunk.bytes.set(bytes.subarray(start, end), at);
  chunk.used += end - start;
  return { chunk, start: at, end: chunk.used };
}

/** Sends a control frame: `[start, end)`, at most 125 bytes, are copied. */
export function sendControl(connection: Connection, opcode: number, { bytes, start, end }: ByteRange): void {
  queueFrame(connection, FIN | opcode, bytes, start, end);
}

/**
 * Sends one message to many connections. It is serialised once, and compressed once for those that want it so: without
 * reference to what each of them got before, though some could have that.
 * @param members of one kind, framed or not; a list that is replaced, not changed, when someone comes or leaves
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
        noteDeflated(deflater, bytes, start, end);
        updateHeld(member);
      }
    }
    range ??= plain ??= frameRange(arena, FIN | opcode, bytes, start, end);
    member.messagesOut++;
    queueRange(member, range.chunk, range.start, range.end);
  }
}

/** Whether a connection gets what is sent to all: not if it is closing, nor if it is so far behind that it has to go. */
function admitToFanout(member: Connection): boolean {
  if (!isOpen(member) || member.isSlowConsumer) return false;
  if (!member.socket.isBusy || member.queue.size <= member.server.configuration.maxBuffered) return true;
  // Not now: its leaving may be told to those who are being told something else.
  member.isSlowConsumer = true;
  member.server.slowConsumers.push(member);
  scheduleFlush(member);
  return false;
}

function frameRange(arena: ArenaUse, first: number, bytes: Uint8Array, start: number, end: number): Range {
  const chunk = writeFrame(arena, first, bytes, start, end);
  return { chunk, start: chunk.used - frameHeaderSize(end - start) - (end - start), end: chunk.used };
}

/** Everything is queued when this returns, and whoever is too far behind for it has been closed. */
export function finishFanouts(server: Server): void {
  flushFanout(server);
  const { slowConsumers } = server;
  for (let member = slowConsumers.pop(); member !== undefined; member = slowConsumers.pop()) {
    closeSlowConsumer(member);
    // That may have been told to others, some of whom are too far behind for it.
    flushFanout(server);
  }
}

/**
 * The peer reads too slowly for what is said to it. What waits for it is dropped, so that memory is free at once: only
 * the frame that the system has begun to send is finished, and then the reason is given.
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
