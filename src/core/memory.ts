/**
 * One memory budget for all connections together (`--max-memory`).
 *
 * Limits per connection do not bound a server: eighty clients within theirs can hold more than a gigabyte. So each
 * connection's bytes are added up when they change, after a read and after a flush. When the sum exceeds the budget, the
 * largest holders are closed first (eviction.ts); clients within their share notice nothing.
 *
 * What counts: unread input, unfinished messages, request bodies, what a handler or a polling session keeps for a
 * connection, queued output (a frame that many queues share counts once), the histories of rooms, and a fixed amount for
 * the connection itself; questions to the app of `--auth-url` and its kept answers; lines of the access log that are not
 * written yet. Input that a program has not read when its client leaves counts until the program has read it.
 * The bytes counted are those allocated, not those used.
 */

import { accessLogMemory } from '../diagnostics/accessLog.ts';
import { connectionMemory } from '../protocol/limits.ts';
import { inflationSize } from '../protocol/websocket/deflate.ts';
import type { Endpoint } from '../protocol/websocket/endpoint.ts';
import { ioArena } from '../protocol/websocket/mask.ts';
import type { Connection, Server } from '../records/records.ts';

/** All bytes that count against `--max-memory`. */
export function usedMemory({ memory, arena, accessLog }: Server): number {
  const lines = accessLog === undefined ? 0 : accessLogMemory(accessLog);
  return memory.connections + memory.histories + memory.app + memory.programs + arena.held + lines;
}

/** Updates `connection.held`, after a read, a flush, or a handler's work. */
export function updateHeld(connection: Connection): void {
  if (connection.phase !== 'gone') setHeld(connection, bytesHeld(connection));
}

/** Gives back everything when the connection is freed. */
export function releaseHeld(connection: Connection): void {
  setHeld(connection, 0);
}

function setHeld(connection: Connection, held: number): void {
  connection.server.memory.connections += held - connection.held;
  connection.held = held;
}

/** The bytes of unfinished messages, and of the windows of compression. */
export function heldByEndpoint({ incoming, inflating, inflater, deflater }: Endpoint): number {
  let held = 0;
  if (incoming !== undefined) held += incoming.buffer.length;
  if (inflating !== undefined) held += inflationSize(inflating.inflation);
  if (inflater !== undefined) held += inflater.window.length;
  if (deflater !== undefined) held += deflater.window.length;
  return held;
}

function bytesHeld(connection: Connection): number {
  const { input, endpoint, resumableMessage, producer, wire, handler, socket } = connection;
  let held = socket.memory ?? connectionMemory;
  if (input !== undefined && input !== ioArena) held += input.length;
  if (resumableMessage !== undefined) held += resumableMessage.bytes.length;
  if (endpoint !== undefined) held += heldByEndpoint(endpoint);
  if (producer !== undefined) held += producer.held();
  if (wire.held !== undefined) held += wire.held(connection);
  if (handler?.held !== undefined) held += handler.held(connection);
  if (socket.held !== undefined) held += socket.held();
  return held;
}
