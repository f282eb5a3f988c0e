/** Eviction: when memory runs short (memory.ts), the largest holders are closed first, as Redis does with `maxmemory-clients`. */

import { noteRule } from '../diagnostics/closeReason.ts';
import { size } from '../options/values.ts';
import { giveBuffer } from '../protocol/buffers.ts';
import { CloseCode } from '../protocol/codes.ts';
import {
  historyMemoryShare,
  maxInFlightOnEviction,
  memoryHighWater,
  memoryLowWater,
  programMemoryShare,
} from '../protocol/limits.ts';
import { dropUnfinished } from '../protocol/websocket/endpoint.ts';
import { clearQueue, shareOfQueue } from '../records/arena.ts';
import type { Connection, Server } from '../records/records.ts';
import { logForAddress } from './addressLog.ts';
import { dropConnection, endConnection } from './close.ts';
import { updateHeld, usedMemory } from './memory.ts';
import { scheduleTurn } from './poll.ts';

/** A stage of the turn: while memory is close to the limit, closes the largest holders. */
export function enforceMemory(server: Server): void {
  const limit = server.configuration.maxMemory;
  if (usedMemory(server) <= limit * memoryHighWater) return;
  if (server.memory.histories > limit * historyMemoryShare) {
    server.memory.trimHistories(limit * historyMemoryShare * memoryLowWater);
  }
  if (server.memory.programs > limit * programMemoryShare) {
    server.memory.trimPrograms(limit * programMemoryShare * memoryLowWater);
  }
  const used = usedMemory(server);
  if (used > limit * memoryHighWater) evictLargest(server, used - limit * memoryLowWater);
  // The memory of dropped connections is free when this turn ends. The next turn checks again.
  scheduleTurn(server);
}

/** Groups connections by the power of two of their holdings: the largest are found without sorting all of them. */
const bucketOf = (held: number) => 32 - Math.clz32(Math.min(held, 0x7fff_ffff));
const bucketSums = new Float64Array(33);

/** The bytes that closing each connection would free, by id. */
let sizes = new Float64Array(0);

/** @param excess bytes to free */
function evictLargest(server: Server, excess: number): void {
  const { entries } = server.table;
  const { halfOpen } = server.places;
  bucketSums.fill(0);
  if (sizes.length < entries.length) sizes = new Float64Array(2 * entries.length);
  // `entries.entries()` would allocate an array for each entry: for ten thousand sessions, that takes as long as a turn.
  const count = entries.length;
  for (let id = 0; id < count; id++) {
    const entry = entries[id];
    // Computed once: a polling session adds up all its frames.
    const bytes = isEvictable(entry) ? bytesFreedByClosing(entry) : 0;
    sizes[id] = bytes;
    bucketSums[bucketOf(bytes)]! += bytes;
  }
  let bucket = bucketSums.length - 1;
  for (let sum = bucketSums[bucket]!; sum < excess && bucket > 0; sum += bucketSums[bucket]!) bucket--;
  let freed = 0;
  for (let at = bucketSums.length - 1; at >= bucket && freed < excess; at--) {
    if (bucketSums[at] === 0) continue;
    // Of about the same size, connections that have not finished their handshake go first.
    for (const areAll of [false, true]) {
      for (let id = 0; id < count && freed < excess; id++) {
        const bytes = sizes[id]!;
        if (bytes === 0 || bucketOf(bytes) !== at) continue;
        const entry = entries[id];
        // Closing one connection may have dropped another.
        if (!isEvictable(entry) || !(areAll || entry.candidates === halfOpen)) continue;
        sizes[id] = 0;
        freed += bytes;
        evict(server, entry);
      }
    }
  }
}

function isEvictable(entry: Server['table']['entries'][number]): entry is Connection {
  return entry?.kind === 'connection' && !entry.isControl && entry.phase !== 'gone';
}

/** The bytes that closing the connection frees, roughly: its own, and its part of the frames it shares with others. */
function bytesFreedByClosing({ held, queue, socket }: Connection): number {
  return Math.ceil(held + shareOfQueue(queue) + (socket.share?.() ?? 0));
}

/**
 * Closes a connection to free its memory. The peer gets the reason if it can be sent at once. Bytes that the system has
 * started to send stay in memory until it has sent them, so a connection with many of those is dropped.
 */
function evict(server: Server, connection: Connection): void {
  const { queue, phase, id, address } = connection;
  if (phase === 'open') {
    const bytes = bytesFreedByClosing(connection);
    const limit = size.show(server.configuration.maxMemory);
    logForAddress(connection, 'warn', 'closed to free memory', { id, address, bytes, limit });
    noteRule(
      connection,
      `it held ${showBytes(bytes)} when all connections together were over the limit of ${limit}`,
      'maxMemory',
    );
    server.counters.evicted++;
    discard(connection);
    if (queue.inFlightSize <= maxInFlightOnEviction) {
      const { wire } = connection;
      const end = wire.fail ?? wire.close;
      end(connection, CloseCode.TryAgainLater, 'the server is short of memory');
      endConnection(connection);
      updateHeld(connection);
      return;
    }
  }
  dropConnection(connection);
}

function discard(connection: Connection): void {
  clearQueue(connection.queue);
  connection.producer = undefined;
  if (connection.input !== undefined) giveBuffer(connection.input);
  connection.input = undefined;
  connection.resumableMessage = undefined;
  if (connection.endpoint !== undefined) dropUnfinished(connection.endpoint);
  connection.handler?.discard?.(connection);
  connection.socket.discard?.();
}

/** In MB with one decimal, or in KB, rounded up. */
function showBytes(bytes: number): string {
  const MiB = 1024 * 1024;
  return bytes >= MiB ? `${(bytes / MiB).toFixed(1)}MB` : `${Math.ceil(bytes / 1024)}KB`;
}
