/**
 * The loop. One turn: poll → accept → control frames → commands → messages → disconnects → deadlines → flush → free.
 *
 * Each stage has a budget of its own (protocol/limits.ts). Control frames and requests for commands are read first, then
 * the commands run, then the other connections are read: those whose last read was cheap, handshakes, those that send
 * a piece of a large message, those whose last read was costly, and throttled ones. What exceeds a budget comes first in the
 * next turn.
 */

import { accessLogMemory } from '../diagnostics/accessLog.ts';
import { countReason, observe } from '../diagnostics/metrics.ts';
import { endTiming, handlerTime, stopTiming } from '../diagnostics/slowHandlers.ts';
import { isLogged, log } from '../log/log.ts';
import { exactClock } from '../process/clock.ts';
import { giveBuffer, takeBuffer } from '../protocol/buffers.ts';
import { noAddress } from '../protocol/ipAddress.ts';
import {
  connectionMemory,
  controlFrameBudget,
  costlyBudget,
  costlyThreshold,
  handshakeBudget,
  heavyReadingTime,
  maxPausedInput,
  memoryHighWater,
  messageBudget,
  pieceBudget,
  readingTime,
  throttledBudget,
  writeCost,
} from '../protocol/limits.ts';
import { ioArena } from '../protocol/websocket/mask.ts';
import { restOfMessage } from '../protocol/websocket/message.ts';
import { workUnits } from '../protocol/workUnits.ts';
import type { Connection, Listener, Server, Socket } from '../records/records.ts';
import { rejectionOf } from './admission.ts';
import { dropOnException, freeConnections, handleDisconnects, handleEof, runIsolated } from './close.ts';
import {
  addConnection,
  areMessagesPaused,
  awaitsTokens,
  hasPausedInput,
  hasUnfinished,
} from './connection.ts';
import { checkDeadlines } from './deadlines.ts';
import { enforceMemory } from './eviction.ts';
import { stopTime } from './fairness.ts';
import { flush, flushEarly } from './flush.ts';
import { updateHeld } from './memory.ts';
import { poll, readClock, resetInputArena, scheduleRead, setReading } from './poll.ts';
import { notifyTurnEnd } from './processData.ts';
import { scheduleFlush } from './send.ts';
import { closeControlConnections } from './shutdown.ts';

/**
 * Runs turns until the server is draining and its last connection is gone.
 * @param runCommands runs the operators' commands, between control frames and messages
 */
export async function serverLoop(server: Server, runCommands: () => void): Promise<void> {
  const { ready, deadlines, pendingFrees, table, memory, arena, metrics } = server;
  const { bounds, counts, times } = metrics.turns;
  while (!(server.isDraining && server.connections === 0)) {
    await poll(server);
    readClock(server);
    server.counters.turns++;
    if (ready.accepted.length > 0) acceptConnections(server);
    // RFC 6455 §5.5.1, §5.5.2 [5.5.1-7, 5.5.2-3]: control frames are answered before any message is read.
    readControlFrames(server);
    if (server.hasCommands) runCommands();
    readMessages(server);
    if (ready.ended.length > 0) handleDisconnects(server);
    if (deadlines.isDue || deadlines.timer === undefined || server.isDraining) checkDeadlines(server);
    notifyTurnEnd(server);
    // `usedMemory`, inlined: this check runs in every turn.
    const lines = server.accessLog === undefined ? 0 : accessLogMemory(server.accessLog);
    const held = memory.connections + memory.histories + memory.app + memory.programs + arena.held + lines;
    if (held > server.configuration.maxMemory * memoryHighWater) enforceMemory(server);
    flush(server);
    if (pendingFrees.length > 0 || table.releasedIds.length > 0) freeConnections(server);
    if (handlerTime.total > 0) endTiming(server.now, server.configuration.slowHandler);
    // `endMeasuring`, inlined for the first bucket, which has nearly all turns.
    const took = performance.now() + 1 - times[1]!;
    if (took <= bounds[0]!) {
      counts[0]!++;
      times[0]! += took;
    } else observe(metrics.turns, took);
  }
  clearTimeout(deadlines.timer);
  closeControlConnections(server);
}

function acceptConnections(server: Server): void {
  const { accepted } = server.ready;
  for (const { socket, listener } of accepted) acceptConnection(server, socket, listener);
  accepted.length = 0;
}

function acceptConnection(server: Server, socket: Socket, { firstWire, isControl, port }: Listener): void {
  if (!isControl) server.counters.accepted++;
  const address = socket.address();
  if (address === noAddress && port !== undefined) {
    // A health check may reset its connection before the server accepts it.
    if (isLogged('debug')) log('debug', 'reset before it was accepted');
    socket.destroy();
    return;
  }
  const rejection = isControl ? undefined : rejectionOf(server, address);
  if (rejection !== undefined) {
    countReason(server.metrics.refused, rejection);
    if (isLogged('debug')) log('debug', 'connection rejected', { address, reason: rejection });
    socket.destroy();
    return;
  }
  const connection = addConnection(server, socket, firstWire, isControl, address);
  const { id, serial } = connection;
  if (isLogged('debug')) log('debug', 'connected', { id, serial, address: connection.address });
  if (firstWire.begin !== undefined) runIsolated(connection, () => firstWire.begin?.(connection));
}

/** Reads control frames and requests for commands, up to their budget, and sorts the other connections into classes. */
function readControlFrames(server: Server): void {
  const { ready, classes } = server;
  const { readable } = ready;
  const { cheap, throttled } = classes;
  if (ready.isSerial) keepFirst(server);
  const count = readable.length;
  const urgentLimit = workUnits.spent + controlFrameBudget;
  for (let i = 0; i < count; i++) {
    const connection = readable[i]!;
    const { input, inputStart, wire } = connection;
    if (connection.isThrottled) throttled.push(connection);
    // Without new input, a request goes on, or a FIN remains: the app's answer may have decided thousands of requests at once.
    else if (input === undefined) classOf(connection).push(connection);
    else if (workUnits.spent < urgentLimit && wire.isUrgent?.(connection, input, inputStart))
      readControlFramesOf(connection);
    else if (connection.isCostly || connection.trustLevel < 3 || connection.endpoint?.incoming !== undefined)
      classOf(connection).push(connection);
    else cheap.push(connection);
  }
  readable.length = 0;
}

/** Leaves all readable connections but the first to the next turns. */
function keepFirst({ ready, classes }: Server): void {
  classes.later.push(...ready.readable.splice(1));
  ready.hasRead = ready.readable.length > 0;
}

/** Reads the control frames at the start of a connection's input. A message after them waits for its class. */
function readControlFramesOf(connection: Connection): void {
  const { input, inputStart, inputEnd, wire } = connection;
  if (input === undefined || wire.receiveUrgent === undefined || connection.phase !== 'open') {
    return readConnection(connection);
  }
  connection.heardAt = connection.server.now;
  let at = inputEnd;
  try {
    at = wire.receiveUrgent(connection, input, inputStart, inputEnd);
  } catch (error) {
    dropOnException(connection, error);
  }
  if (at < inputEnd && connection.phase === 'open' && !connection.isThrottled) {
    connection.inputStart = at;
    classOf(connection).push(connection);
  } else {
    connection.isReadQueued = false;
    saveUnreadInput(connection, input, connection.phase === 'open' ? at : inputEnd, inputEnd);
  }
}

function classOf(connection: Connection): Connection[] {
  const { isCostly, trustLevel, server, endpoint, wire, inputStart, inputEnd } = connection;
  if (isCostly) return server.classes.costly;
  const incoming = endpoint?.incoming;
  // The work of a large message or body falls due when its last bytes arrive. Until then, a read only copies a piece of it.
  const missing = incoming === undefined ? wire.missing?.(connection) : restOfMessage(incoming);
  if (missing !== undefined && missing > inputEnd - inputStart) return server.classes.pieces;
  const size = incoming === undefined ? wire.held?.(connection) : incoming.buffer.length;
  if (size !== undefined && size >>> 8 > costlyThreshold) return server.classes.costly;
  return trustLevel < 3 ? server.classes.opening : server.classes.cheap;
}

function readMessages(server: Server): void {
  const { cheap, pieces, opening, costly, throttled } = server.classes;
  const areOthersWaiting = pieces.length + opening.length + costly.length + throttled.length > 0;
  readSome(server, cheap, messageBudget, 16);
  if (server.pendingWrites.length > 0 && areOthersWaiting) flushEarly(server);
  readSome(server, opening, handshakeBudget, 4);
  readSome(server, pieces, pieceBudget, 1);
  readSome(server, costly, costlyBudget, 1);
  // If the arena filled up before all sockets were read, throttled connections wait for a turn after that.
  readSome(server, throttled, server.ready.isArenaFull ? 0 : throttledBudget, 1);
  if (server.ready.isSerial) readSome(server, server.classes.later, 0, 1);
  server.ready.isArenaFull = false;
  resetInputArena(server);
}

/**
 * Reads from the connections of one class until its share of the turn is used. The others come first in the next turn.
 * @param atOnce connections read between two looks at the clock, unless one was costly: work units are an estimate, but cheaper than
 *   the clock
 */
function readSome(server: Server, connections: Connection[], share: number, atOnce: number): void {
  const count = connections.length;
  if (count === 0) return;
  // The flush will write to the connections that are pending then, which is part of the work.
  const { pendingWrites } = server;
  const end = workUnits.spent + pendingWrites.length * writeCost + share;
  const turnPart = connections === server.classes.cheap ? readingTime : heavyReadingTime;
  let stopAt = count > atOnce ? stopTime(server, share, turnPart) : 0;
  let i = 0;
  for (; i < count && workUnits.spent + pendingWrites.length * writeCost < end; i++) {
    if (i > 0 && (i % atOnce === 0 || connections[i - 1]!.isCostly)) {
      if (stopAt === 0) stopAt = stopTime(server, share, turnPart);
      if (exactClock() > stopAt) break;
    }
    readConnection(connections[i]!);
  }
  for (; i < count; i++) postpone(connections[i]!);
  connections.length = 0;
}

/** Leaves the connection to the next turn. Its input moves out of the arena, which that turn overwrites. */
function postpone(connection: Connection): void {
  const { input, inputStart, inputEnd } = connection;
  connection.isReadQueued = false;
  if (connection.phase === 'gone') return;
  if (input !== undefined) {
    if (input === ioArena) moveInputOut(connection, inputStart, inputEnd);
    updateHeld(connection);
    if (inputEnd - inputStart > maxPausedInput) setReading(connection, false);
  }
  scheduleRead(connection);
}

function moveInputOut(connection: Connection, start: number, end: number): void {
  connection.input = takeBuffer(end - start);
  connection.inputStart = 0;
  connection.inputEnd = ioArena.copy(connection.input, 0, start, end);
}

/** Stands for missing input: the connection may only have a message to resume. */
const noInput = Buffer.alloc(0);

/** Passes a connection's input to its wire. If the wire changes meanwhile (HTTP to WebSocket), the new one gets the rest. */
function readConnection(connection: Connection): void {
  connection.isReadQueued = false;
  if (connection.phase === 'gone') return;
  const workBefore = workUnits.spent;
  const input = connection.input ?? noInput;
  const start = connection.input === undefined ? 0 : connection.inputStart;
  const end = connection.input === undefined ? 0 : connection.inputEnd;
  connection.heardAt = connection.server.now;
  let at = start;
  try {
    while (connection.phase === 'open') {
      const { wire } = connection;
      at = wire.receive(connection, input, at, end);
      if (connection.wire === wire || at === end) break;
      connection.inputScanned = 0;
    }
  } catch (error) {
    dropOnException(connection, error);
  }
  if (handlerTime.running !== '') stopTiming();
  connection.isCostly = workUnits.spent - workBefore > costlyThreshold;
  if (connection.phase !== 'open') connection.resumableMessage = undefined;
  saveUnreadInput(connection, input, connection.phase === 'open' ? at : end, end);
}

/** Keeps the input from `at` on for a later turn, outside the arena, and decides whether to go on reading from the socket. */
function saveUnreadInput(connection: Connection, input: Buffer, at: number, end: number): void {
  const rest = end - at;
  connection.inputScanned = rest;
  if (rest === 0) {
    if (input !== ioArena) giveBuffer(input);
    connection.input = undefined;
    // Nearly every read leaves nothing behind.
    const { isThrottled, isReading, hasPeerEnded } = connection;
    if (!isThrottled && isReading && !hasPeerEnded && !mayHoldMemory(connection)) return;
  } else if (input === ioArena) moveInputOut(connection, at, end);
  else connection.inputStart = at;
  if (hasUnfinished(connection)) connection.isThrottled = !areMessagesPaused(connection);
  else if (rest === 0) connection.isThrottled = awaitsTokens(connection);
  if (mayHoldMemory(connection)) updateHeld(connection);
  const waits = hasPausedInput(connection);
  setReading(connection, !connection.isThrottled && !(waits && rest > maxPausedInput));
  // The flush requeues throttled connections.
  if (connection.isThrottled) scheduleFlush(connection);
  else if (connection.hasPeerEnded && !waits) {
    handleEof(connection, undefined);
    scheduleFlush(connection);
  }
}

/** Whether the connection may hold memory between turns, or did so before. Most connections do not. */
function mayHoldMemory({ input, endpoint, resumableMessage, held, handler, socket }: Connection): boolean {
  if (endpoint === undefined || held > connectionMemory || input !== undefined) return true;
  if (endpoint.incoming !== undefined || endpoint.inflater !== undefined || resumableMessage !== undefined)
    return true;
  return handler?.held !== undefined || socket.held !== undefined;
}
