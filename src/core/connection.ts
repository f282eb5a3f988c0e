/** New connections, and predicates on them. The record is declared in records/records.ts. */

import { newQueue } from '../records/arena.ts';
import type { Connection, Server, Socket, Wire } from '../records/records.ts';
import { addEntry, nextId } from '../records/table.ts';
import { updateHeld } from './memory.ts';
import { enterPlaces } from './places.ts';

export function newConnection(
  server: Server,
  id: number,
  socket: Socket,
  wire: Wire,
  isControl = false,
  address = socket.address(),
): Connection {
  return {
    // What each delivery of a fan-out reads comes first, so it lies in few lines of the processor's cache.
    server,
    socket,
    phase: 'open',
    endpoint: undefined,
    queue: newQueue(),
    producer: undefined,
    isWriteQueued: false,
    isSlowConsumer: false,
    isThrottled: false,
    bytesOut: 0,
    messagesOut: 0,
    frameCount: 0,
    burst: undefined,
    id,

    kind: 'connection',
    serial: ++server.lastSerial,
    isControl,
    security: undefined,
    ending: undefined,
    address,
    isProxied: false,
    identity: undefined,
    claim: undefined,
    isClient: false,
    addressUse: undefined,
    candidates: undefined,
    candidateAt: 0,
    wire,
    handler: undefined,
    handlerName: undefined,
    rate: undefined,
    trustLevel: 0,
    stageSince: server.now,
    resumableMessage: undefined,
    data: undefined,
    input: undefined,
    inputStart: 0,
    inputEnd: 0,
    inputScanned: 0,
    isReadQueued: false,
    isCostly: false,
    isReading: true,
    isBulk: false,
    hasPeerEnded: false,
    isShutDown: false,
    acceptedAt: server.now,
    heardAt: server.now,
    messageAt: server.now,
    pingedAt: 0,
    probedAt: 0,
    pings: undefined,
    unsentAtPing: 0,
    endingAt: 0,
    flowSince: server.now,
    flowBytes: 0,
    bytesIn: 0,
    messagesIn: 0,
    held: 0,
  };
}

/** Whether a message arrived whole, and has not been processed: it is partly inflated, or its handler resumes it later. */
export function hasUnfinished({ resumableMessage, endpoint }: Connection): boolean {
  return resumableMessage !== undefined || endpoint?.inflating !== undefined;
}

/** Makes a connection for the socket, adds it to the table, and starts reading. */
export function addConnection(
  server: Server,
  socket: Socket,
  wire: Wire,
  isControl = false,
  address = socket.address(),
): Connection {
  const connection = newConnection(server, nextId(server.table), socket, wire, isControl, address);
  addEntry(server.table, connection);
  updateHeld(connection);
  if (!isControl) server.connections++;
  enterPlaces(connection);
  socket.start(connection);
  return connection;
}

export function areMessagesPaused({ endpoint }: Connection): boolean {
  return endpoint !== undefined && !endpoint.acceptsMessages;
}

/** Whether a connection without WebSocket frames waits for tokens (rates.ts). Instead, a WebSocket has paused messages. */
export function awaitsTokens({ rate, endpoint }: Connection): boolean {
  return rate?.pause !== undefined && endpoint === undefined;
}

/** Whether input waits because messages or requests are paused. Then the peer's FIN waits behind that input. */
export function hasPausedInput(connection: Connection): boolean {
  const isPaused = areMessagesPaused(connection) || connection.wire.isPaused?.(connection) === true;
  return isPaused && (connection.input !== undefined || hasUnfinished(connection));
}

/** Forgets the client's identity, when its request is answered or the connection is gone. */
export function forgetClient(connection: Connection): void {
  connection.identity = undefined;
  connection.claim?.cancel?.();
  connection.claim = undefined;
}
