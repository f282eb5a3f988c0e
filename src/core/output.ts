/** Serialising: messages become frames in the output arena, and ranges of it are appended to connections' queues. */

import { maxAlwaysCompressed, maxCompressedOutput, maxTriedCompression } from '../protocol/limits.ts';
import { type Deflater, deflateLarge, deflateMessage } from '../protocol/websocket/deflate.ts';
import { frameHeaderSize, writeFrameHeader } from '../protocol/websocket/frame.ts';
import { copyInArena, ioArena } from '../protocol/websocket/mask.ts';
import { workUnits } from '../protocol/workUnits.ts';
import { type ArenaUse, type Chunk, reserve } from './arena.ts';
import { wake } from './poll.ts';
import { appendRange, type Range } from './queue.ts';
import type { Connection } from './records.ts';

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

/** Writes one frame into the arena. @returns the chunk, in which the frame ends at `chunk.used` */
export function writeFrame(
  arena: ArenaUse,
  first: number,
  bytes: Uint8Array,
  start: number,
  end: number,
): Chunk {
  const length = end - start;
  const chunk = reserve(arena, frameHeaderSize(length) + length);
  const at = writeFrameHeader(chunk.bytes, chunk.used, first, length);
  // Inside the arena, bytes are copied without a view of them, which would cost more than the copy.
  if (bytes === ioArena && chunk.bytes === ioArena) copyInArena(at, start, end);
  else chunk.bytes.set(bytes.subarray(start, end), at);
  chunk.used = at + length;
  return chunk;
}

export function writeBytes(arena: ArenaUse, bytes: Uint8Array, start: number, end: number): Range {
  const chunk = reserve(arena, end - start);
  const at = chunk.used;
  chunk.bytes.set(bytes.subarray(start, end), at);
  chunk.used += end - start;
  return { chunk, start: at, end: chunk.used };
}

/** @returns the compressed payload; `undefined` if the message is too small, or takes too long to compress */
export function compress(
  deflater: Deflater,
  bytes: Uint8Array,
  start: number,
  end: number,
): Buffer | undefined {
  if (end - start < compressFrom) return undefined;
  if (end - start <= maxAlwaysCompressed) return deflateMessage(deflater, bytes, start, end);
  if (end - start > maxTriedCompression) return undefined;
  return deflateLarge(deflater, bytes, start, end, maxCompressedOutput);
}
