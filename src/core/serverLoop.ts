/**
 * The loop. One turn: poll → accept → read what is urgent → commands → messages → timers → flush → free what closed.
 *
 * The order of work within a turn, each stage with a bound of its own (protocol/limits.ts): urgent input (control frames, and
 * requests for commands), then the commands themselves, then messages: first of connections whose last read took little work,
 * then of those that took much, then of those that used up their share of the last turn. The rest is first after the next poll.
 */

import { handlerTime, reportSlow, stopTiming } from '../diagnostics/slowHandlers.ts';
import { isLogged, log } from '../log/log.ts';
import { exactClock } from '../process/clock.ts';
import { giveBuffer, takeBuffer } from '../protocol/buffers.ts';
import { noAddress } from '../protocol/ipAddress.ts';
import {
  connectionBudget,
  connectionMemory,
  controlFrameBudget,
  costlyBudget,
  costlyThreshold,
  handshakeBudget,
  maxPausedInput,
  memoryHighWater,
  messageBudget,
  minReadingTime,
  readingTime,
  throttledBudget,
  writeCost,
} from '../protocol/limits.ts';
import { ioArena } from '../protocol/websocket/mask.ts';
import { workUnits } from '../protocol/workUnits.ts';
import type { Connection, Listener, Server, Socket } from '../records/records.ts';
import { mayEnter } from './admission.ts';
import { dropOnException, freeConnections, handleDisconnects, handleEof, runIsolated } from './close.ts';
import { addConnection, areMessagesPaused, hasPausedInput, hasUnfinished } from './connection.ts';
import { checkDeadlines } from './deadlines.ts';
import { enforceMemory } from './eviction.ts';
import { flush, flushEarly, setReading } from './flush.ts';
import { updateHeld } from './memory.ts';
import { poll, readClock, resetInputArena, scheduleRead } from './poll.ts';
import { endTurn } from './processData.ts';
import { scheduleFlush } from './send.ts';
import { closeControlConnections } from './shutdown.ts';

/**
 * Serves until the server is draining and its last connection is gone.
 * @param runCommands runs what operators ask for, between control frames and messages
 */
export async function serverLoop(server: Server, runCommands: () => void): Promise<void> {
  const { ready, deadlines, pendingFrees, table, memory, arena } = server;
  while (!(server.isDraining && server.connections === 0)) {
    await poll(server);
    readClock(server);
    server.counters.turns++;
    if (ready.accepted.length > 0) acceptConnections(server);
    readControlFrames(server);
    if (server.hasCommands) runCommands();
    readMessages(server);
    if (ready.ended.length > 0) handleDisconnects(server);
    if (deadlines.isDue || deadlines.timer === undefined || server.isDraining) checkDeadlines(server);
    endTurn(server);
    const held = memory.connections + memory.histories + memory.programs + arena.held;
    if (held > server.configuration.maxMemory * memoryHighWater) enforceMemory(server);
    flush(server);
    if (pendingFrees.length > 0 || table.closingIds.length > 0) freeConnections(server);
    if (handlerTime.total > 0) reportSlow(server.now, server.configuration.slowHandler);
  }
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
    // A health check may reset its connection before it is accepted: nobody could be answered.
    if (isLogged('debug')) log('debug', 'reset before it was accepted');
    socket.destroy();
    return;
  }
  if (!isControl && (server.isDraining || !mayEnter(server, address))) {
    if (isLogged('debug')) log('debug', 'connection rejected', { address });
    socket.destroy();
    return;
  }
  const connection = addConnection(server, socket, firstWire, isControl, address);
  if (isLogged('debug')) log('debug', 'connected', { id: connection.id, address: connection.address });
  if (firstWire.begin !== undefined) runIsolated(connection, () => firstWire.begin?.(connection));
}

/** Reads control frames and requests for commands, up to their share of the turn. */
function readControlFrames(server: Server): void {
  const { readable } = server.ready;
  const { fresh, throttled } = server.classes;
  const count = readable.length;
  const urgentEnd = workUnits.spent + controlFrameBudget;
  for (let i = 0; i < count; i++) {
    const connection = readable[i]!;
    const { input, inputStart, wire } = connection;
    if (connection.isThrottled) throttled.push(connection);
    else if (input === undefined) readConnection(connection);
    else if (workUnits.spent < urgentEnd && wire.isUrgent?.(connection, input, inputStart))
      readControlFramesOf(connection);
    else if (connection.isCostly || connection.trustLevel < 3 || connection.endpoint?.incoming !== undefined)
      classOf(connection).push(connection);
    else fresh.push(connection);
  }
  readable.length = 0;
}

/** Reads the urgent part of a connection's input; the message after it waits for its stage. */
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

function classOf({ isCostly, trustLevel, server, endpoint }: Connection): Connection[] {
  // A large message is costly when its last bytes arrive.
  const pending = endpoint?.incoming?.buffer.length ?? 0;
  if (isCostly || pending >>> 8 > costlyThreshold) return server.classes.costly;
  return trustLevel < 3 ? server.classes.opening : server.classes.fresh;
}

function readMessages(server: Server): void {
  const { fresh, opening, costly, throttled } = server.classes;
  const areOthersWaiting = opening.length + costly.length + throttled.length > 0;
  const latest = areOthersWaiting ? exactClock() + readingTime : 0;
  readSome(server, fresh, messageBudget, 16, latest);
  if (server.pendingWrites.length > 0 && areOthersWaiting) flushEarly(server);
  readSome(server, opening, handshakeBudget, 4, latest);
  readSome(server, costly, costlyBudget, 1, latest);
  // In a turn that others wait for, those who had their share already wait, too: the next one comes when all were asked.
  readSome(server, throttled, server.ready.isArenaFull ? 0 : throttledBudget, 1, latest);
  server.ready.isArenaFull = false;
  resetInputArena(server);
}

/**
 * Reads from the connections, one after the other, until their share of the turn is used. The others come first next time.
 * @param atOnce how many are read before the clock is asked: the units are an estimate, but the clock takes longer to ask
 * @param latest the time at which reading ends for all classes, but for `minReadingTime` of each; 0: none
 */
function readSome(
  server: Server,
  connections: Connection[],
  share: number,
  atOnce: number,
  latest: number,
): void {
  const count = connections.length;
  if (count === 0) return;
  // The flush will write to the connections that are pending then, which is part of the work.
  const { pendingWrites } = server;
  const end = workUnits.spent + pendingWrites.length * writeCost + share;
  const stopAt = count > atOnce ? stopTime(share, latest) : 0;
  let i = 0;
  for (; i < count && workUnits.spent + pendingWrites.length * writeCost < end; i++) {
    if (i > 0 && i % atOnce === 0 && exactClock() > stopAt) break;
    readConnection(connections[i]!);
  }
  for (; i < count; i++) postpone(connections[i]!);
  connections.length = 0;
}

function stopTime(share: number, latest: number): number {
  const now = exactClock();
  const stopAt = now + share / connectionBudget;
  return latest === 0 ? stopAt : Math.max(now + minReadingTime, Math.min(stopAt, latest));
}

/** The next turn reads from this connection. Until then its input has to lie outside the turn's memory. */
function postpone(connection: Connection): void {
  const { input, inputStart, inputEnd } = connection;
  connection.isReadQueued = false;
  if (connection.phase === 'gone') return;
  if (input !== undefined) {
    if (input === ioArena) keepInput(connection, inputStart, inputEnd);
    updateHeld(connection);
    if (inputEnd - inputStart > maxPausedInput) setReading(connection, false);
  }
  scheduleRead(connection);
}

function keepInput(connection: Connection, start: number, end: number): void {
  connection.input = takeBuffer(end - start);
  connection.inputStart = 0;
  connection.inputEnd = ioArena.copy(connection.input, 0, start, end);
}

/** A connection may have a message to finish, and nothing more. */
const noInput = Buffer.alloc(0);

/** Hands a connection's input to its wire; where that changes on the way (HTTP to WebSocket), the rest to the new one. */
function readConnection(connection: Connection): void {
  connection.isReadQueued = false;
  if (connection.phase === 'gone') return;
  const begunAt = workUnits.spent;
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
  connection.isCostly = workUnits.spent - begunAt > costlyThreshold;
  if (connection.phase !== 'open') connection.resumableMessage = undefined;
  saveUnreadInput(connection, input, connection.phase === 'open' ? at : end, end);
}

/** What was not worked through stays with the connection: the turn's memory is used again. */
function saveUnreadInput(connection: Connection, input: Buffer, at: number, end: number): void {
  const rest = end - at;
  connection.inputScanned = rest;
  if (rest === 0) {
    if (input !== ioArena) giveBuffer(input);
    connection.input = undefined;
    // Nearly every read leaves nothing behind.
    const { isThrottled, isReading, hasPeerEnded } = connection;
    if (!isThrottled && isReading && !hasPeerEnded && !mayHoldMemory(connection)) return;
  } else if (input === ioArena) keepInput(connection, at, end);
  else connection.inputStart = at;
  if (hasUnfinished(connection)) connection.isThrottled = !areMessagesPaused(connection);
  else if (rest === 0) connection.isThrottled = false;
  if (mayHoldMemory(connection)) updateHeld(connection);
  const waits = hasPausedInput(connection);
  setReading(connection, !connection.isThrottled && !(waits && rest > maxPausedInput));
  // The flush finds out when it can go on.
  if (connection.isThrottled) scheduleFlush(connection);
  else if (connection.hasPeerEnded && !waits) {
    handleEof(connection, undefined);
    scheduleFlush(connection);
  }
}

/** Most connections hold nothing between turns and held nothing before, so there is nothing to count. */
function mayHoldMemory({ input, endpoint, resumableMessage, held, handler, socket }: Connection): boolean {
  if (endpoint === undefined || held > connectionMemory || input !== undefined) return true;
  if (endpoint.incoming !== undefined || endpoint.inflater !== undefined || resumableMessage !== undefined)
    return true;
  return handler?.held !== undefined || socket.held !== undefined;
}
