/**
 * The loop. One turn: poll → accept → read → process → timers → flush → free what closed.
 *
 * Within a turn, what is urgent (control frames) is read first, then what is new, then what others were let go before.
 */
import { type Connection, newConnection } from '../connection/connection.ts';
import { hasHeldInput, isHeld } from '../connection/hold.ts';
import { beginWork, doomed, dropConnection, markDirty, onWork } from '../connection/outbox.ts';
import { clearQueue } from '../connection/queue.ts';
import type { Server } from '../connection/server.ts';
import type { Socket } from '../connection/socket.ts';
import { addEntry, freeClosedIds, nextId, removeEntry } from '../connection/table.ts';
import type { Wire } from '../connection/wire.ts';
import { heldBackShare, heldInput, refusalRoom } from '../protocol/bounds.ts';
import { turnMemory } from '../protocol/mask.ts';
import { work } from '../protocol/work.ts';
import { endTurn } from '../session/processData.ts';
import { flush, setReading } from './flush.ts';
import { dropFaulty, guard } from './guard.ts';
import { arrivals, comeToTurn, markReadable, poll, recycleInput } from './poll.ts';
import { checkDeadlines } from './timers.ts';

/**
 * Serves until the server is draining and its last connection is gone.
 * @param firstWire what is spoken on a connection that has said nothing yet
 */
export async function serverLoop(server: Server, firstWire: Wire): Promise<void> {
  onWork(comeToTurn);
  while (!(server.isDraining && server.connections === 0)) {
    await poll();
    beginWork();
    server.now = clock();
    server.counters.turns++;
    acceptConnections(server, firstWire);
    readConnections();
    endConnections();
    checkDeadlines(server);
    endTurn(server);
    flush();
    freeConnections(server);
  }
  closeListeners(server);
}

/** Nobody new is let in. */
export function closeListeners(server: Server): void {
  for (const entry of server.table.entries) if (entry?.kind === 'listener') entry.close();
}

/** Whole milliseconds, from 1 on. */
export function clock(): number {
  return Math.floor(performance.now()) + 1;
}

function acceptConnections(server: Server, firstWire: Wire): void {
  const { accepted } = arrivals;
  for (const socket of accepted) acceptConnection(server, firstWire, socket);
  accepted.length = 0;
}

function acceptConnection(server: Server, firstWire: Wire, socket: Socket): void {
  const { maxConnections } = server.configuration;
  server.counters.accepted++;
  if (server.isDraining || (maxConnections > 0 && server.connections >= maxConnections + refusalRoom)) {
    socket.destroy();
    return;
  }
  const connection = newConnection(server, nextId(server.table), socket, firstWire);
  addEntry(server.table, connection);
  server.connections++;
  socket.start(connection);
}

/** Room for the three lists that one turn's connections are sorted into. */
const fresh: Connection[] = [];
const heldBack: Connection[] = [];

function readConnections(): void {
  const { readable } = arrivals;
  const count = readable.length;
  for (let i = 0; i < count; i++) {
    const connection = readable[i]!;
    const { input, inputStart, wire } = connection;
    if (connection.isHeldBack) heldBack.push(connection);
    else if (input === undefined || wire.isUrgent(connection, input, inputStart)) readConnection(connection);
    else fresh.push(connection);
  }
  readable.length = 0;
  for (let i = 0; i < fresh.length; i++) readConnection(fresh[i]!);
  const heldBackEnd = work.done + heldBackShare;
  for (let i = 0; i < heldBack.length; i++) {
    // Those that are left out come first in the next turn.
    if (work.done < heldBackEnd) readConnection(heldBack[i]!);
    else readAgain(heldBack[i]!);
  }
  fresh.length = 0;
  heldBack.length = 0;
  recycleInput();
}

function readAgain(connection: Connection): void {
  connection.isReady = false;
  markReadable(connection);
}

/** A connection may have a message to finish, and nothing more. */
const noInput = Buffer.alloc(0);

/** Hands a connection's input to its wire; where that changes on the way (HTTP to WebSocket), the rest to the new one. */
function readConnection(connection: Connection): void {
  connection.isReady = false;
  if (connection.phase === 'gone') return;
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
      connection.inputSeen = 0;
    }
  } catch (error) {
    dropFaulty(connection, error);
  }
  if (connection.phase !== 'open') connection.unfinished = undefined;
  keepRest(connection, input, connection.phase === 'open' ? at : end, end);
}

/** What was not worked through stays with the connection: the turn's memory is used again. */
function keepRest(connection: Connection, input: Buffer, at: number, end: number): void {
  const rest = end - at;
  connection.inputSeen = rest;
  if (rest === 0) {
    connection.input = undefined;
    connection.isHeldBack = connection.unfinished !== undefined && !isHeld(connection);
  } else if (input === turnMemory) {
    connection.input = Buffer.from(input.subarray(at, end));
    connection.inputStart = 0;
    connection.inputEnd = rest;
  } else {
    connection.inputStart = at;
  }
  const waits = hasHeldInput(connection);
  setReading(connection, !connection.isHeldBack && !(waits && rest > heldInput));
  // The flush finds out when it can go on.
  if (connection.isHeldBack) markDirty(connection);
  else if (connection.hasPeerEnded && !waits)
    guard(connection, () => connection.wire.lost(connection, undefined));
}

/** Peers that will send nothing more. */
function endConnections(): void {
  const { ended } = arrivals;
  for (let i = 0; i < ended.length; i++) {
    const { connection, error } = ended[i]!;
    if (connection.phase === 'gone') continue;
    connection.hasPeerEnded = true;
    // What it sent before is worked through first, unless it cannot be answered anyhow.
    if ((connection.isHeldBack || hasHeldInput(connection)) && error === undefined) continue;
    guard(connection, () => connection.wire.lost(connection, error));
    if (error === undefined) markDirty(connection);
    else dropConnection(connection);
  }
  ended.length = 0;
}

function freeConnections(server: Server): void {
  for (let i = 0; i < doomed.length; i++) {
    const connection = doomed[i]!;
    guard(connection, () => connection.wire.lost(connection, 'ended by the server'));
    connection.input = undefined;
    clearQueue(connection.queue);
    connection.socket.destroy();
    removeEntry(server.table, connection.id);
    server.connections--;
  }
  doomed.length = 0;
  freeClosedIds(server.table);
}
