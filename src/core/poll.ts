/**
 * The poll: Node's event loop waits for the system, and the sockets' callbacks only note what became ready. One
 * `setImmediate` after them starts the turn, which works through all of it.
 */

import { tapArrived } from '../diagnostics/tap.ts';
import { clock, lostTime, maxLateness, skipLostTime } from '../process/clock.ts';
import { giveBuffer, takeBuffer } from '../protocol/buffers.ts';
import {
  acceptTimeLimit,
  bulkReadsPerTurn,
  maxAcceptPolls,
  maxEarlyTurns,
  maxSpilledInput,
} from '../protocol/limits.ts';
import { ioArena } from '../protocol/websocket/mask.ts';
import { inputEnd, inputStart, readBufferSize } from '../records/arena.ts';
import type { Accepting, Connection, Listener, Server, Socket } from '../records/records.ts';
import type { DeadlineTimer } from '../records/resources.ts';

/**
 * The input arena belongs to the process: all its servers read into it, from `inputStart` up. Unread input lies in
 * `[inputStart, position)`, and only until the turn of its server.
 */
const inputArena = {
  position: inputStart,
  /** Servers with input in it. */
  users: 0,
};

/** Resolves when there is something to do. */
export function poll(server: Server): Promise<void> {
  return new Promise(resolve => {
    server.schedule.begin = resolve;
    // Work left over from the last turn does not wait for events; but one poll comes first, so new input is seen too.
    const { schedule, pendingWrites, pendingFrees, pendingFanout } = server;
    const { readable, bulk, ended, accepted } = server.ready;
    if (bulk.length > 0) resumeBulk(bulk);
    const lists =
      readable.length + ended.length + accepted.length + pendingWrites.length + pendingFrees.length;
    // A turn comes even if the resumed connections send nothing: others may wait in `bulk`.
    if (schedule.isWanted || pendingFanout !== undefined || lists + bulk.length > 0) wake(server);
  });
}

/** Reads again from the next bulk senders. Reading from all of them would make one poll as long as several turns. */
function resumeBulk(bulk: Connection[]): void {
  for (const { phase, isReading, socket } of bulk.splice(0, bulkReadsPerTurn)) {
    if (isReading && phase !== 'gone') socket.resume();
  }
}

/** Reads the clock, once a turn. It stands still while the process is blocked (process/clock.ts). */
export function readClock(server: Server): void {
  const { deadlines, metrics } = server;
  // `exactClock` and `startMeasuring`, inlined: every turn comes here.
  const begun = performance.now() + 1;
  metrics.turns.times[1] = begun;
  let now = Math.floor(begun - lostTime.total);
  if (deadlines.dueAt > 0 && now - deadlines.dueAt > maxLateness) {
    postponeDeadlines(deadlines);
    now = clock();
  }
  if (now > server.now) server.now = now;
}

/**
 * The process was blocked or stopped: the clock skips that time, so waiting input is read before any deadline passes. Only once
 * in a row, because a loop that is always late must still enforce deadlines.
 */
function postponeDeadlines(deadlines: DeadlineTimer): void {
  if (!skipLostTime(deadlines.dueAt)) return;
  deadlines.dueAt = clock();
  deadlines.isDue = deadlines.wasPostponed;
  deadlines.wasPostponed = !deadlines.wasPostponed;
  clearTimeout(deadlines.timer);
  deadlines.timer = undefined;
}

/** Starts a turn after the next poll. Does nothing during a turn: `poll` looks for work that is left over. */
export function wake(server: Server): void {
  const { schedule } = server;
  if (schedule.isScheduled || schedule.begin === undefined) return;
  schedule.isScheduled = true;
  setImmediate(onPollDone, server);
}

/** Asks for one more turn, for work that is in none of the server's lists. */
export function scheduleTurn(server: Server): void {
  server.schedule.isWanted = true;
  wake(server);
}

/** After each poll: polls again while the backlog may hold more connections, or else begins the turn. */
function onPollDone(server: Server): void {
  const { accepting, schedule, ready } = server;
  if (accepting.inPoll > 0 || accepting.polls > 0 || accepting.wasBusy) {
    if (shouldPollAgain(accepting)) {
      setImmediate(onPollDone, server);
      return;
    }
  }
  schedule.isScheduled = false;
  ready.spilled = 0;
  ready.earlyTurns = 0;
  beginTurn(server);
}

/** Updates the round of polls. @returns whether the backlog may hold more connections, and the round has time left */
function shouldPollAgain(accepting: Accepting): boolean {
  const { inPoll, hasRoom, wasBusy, polls } = accepting;
  accepting.inPoll = 0;
  if (inPoll > 0 && hasRoom && wasBusy && polls < maxAcceptPolls) {
    const now = performance.now();
    if (polls === 0) accepting.since = now;
    if (now - accepting.since < acceptTimeLimit) {
      accepting.polls++;
      return true;
    }
  }
  accepting.wasBusy = inPoll > 0 || polls > 0;
  accepting.polls = 0;
  return false;
}

/** The turn begins as soon as the callback that calls this returns. */
function beginTurn({ schedule }: Server): void {
  const { begin } = schedule;
  schedule.begin = undefined;
  schedule.isWanted = false;
  begin?.();
}

/** The turn has read all of this server's input in the arena, or moved it away. */
export function resetInputArena({ ready }: Server): void {
  if (!ready.isArenaUsed) return;
  ready.isArenaUsed = false;
  if (--inputArena.users === 0) inputArena.position = inputStart;
}

/**
 * A socket read `bytes[0, count)`: the read buffer's (records/arena.ts) or Node's. Appends the bytes to the connection's
 * unread input, which moves if necessary.
 */
export function onData(connection: Connection, bytes: Buffer, count: number): void {
  const { input, server } = connection;
  const { ready, accepting } = server;
  const { position } = inputArena;
  connection.bytesIn += count;
  if (server.taps.isOn) tapArrived(connection, bytes, 0, count);
  const unread = input === undefined ? 0 : connection.inputEnd - connection.inputStart;
  const follows = input === ioArena && connection.inputEnd === position;
  const needed = follows ? count : unread + count;
  if (position + needed > inputEnd) {
    spillInput(connection, bytes, count, unread);
    ready.spilled += count;
  } else {
    if (!ready.isArenaUsed) {
      ready.isArenaUsed = true;
      inputArena.users++;
    }
    let at = position;
    if (!follows) {
      if (input !== undefined) {
        input.copy(ioArena, at, connection.inputStart, connection.inputEnd);
        giveBuffer(input);
      }
      connection.inputStart = at;
      at += unread;
    }
    if (bytes === ioArena) ioArena.copyWithin(at, 0, count);
    else bytes.copy(ioArena, at, 0, count);
    inputArena.position = at + count;
    connection.input = ioArena;
    connection.inputEnd = at + count;
  }
  const wasQueued = connection.isReadQueued;
  scheduleRead(connection);
  // libuv reads up to 32 times from a socket that fills the read buffer, while others wait in the same poll. So such a
  // connection is paused until its turn; in a round of polls, after its second read. Few connections send that much.
  connection.isBulk = connection.inputEnd - connection.inputStart >= readBufferSize;
  if (connection.isBulk || (wasQueued && accepting.polls > 0)) setReading(connection, false);
  // The next read may fill the read buffer: the arena needs room for that much.
  if (inputArena.position + readBufferSize <= inputEnd) return;
  // Sockets at the end of the poll would wait for a turn each time the arena is full. After the first one, input spills.
  const maySpill = accepting.polls > 0 || ready.earlyTurns >= maxEarlyTurns;
  if (maySpill && ready.spilled < maxSpilledInput) return;
  ready.spilled = 0;
  ready.earlyTurns++;
  ready.isArenaFull = true;
  beginTurn(server);
}

/** Starts or stops reading from the socket. A bulk sender waits in `ready.bulk` first. */
export function setReading(connection: Connection, isReading: boolean): void {
  if (connection.isReading === isReading) return;
  connection.isReading = isReading;
  if (!isReading) connection.socket.pause();
  else if (connection.isBulk) connection.server.ready.bulk.push(connection);
  else connection.socket.resume();
}

/** The input arena is full: the connection's unread input moves to its own buffer. */
function spillInput(connection: Connection, bytes: Buffer, count: number, unread: number): void {
  const { input } = connection;
  const own = takeBuffer(unread + count);
  input?.copy(own, 0, connection.inputStart, connection.inputEnd);
  bytes.copy(own, unread, 0, count);
  if (input !== undefined) giveBuffer(input);
  connection.input = own;
  connection.inputStart = 0;
  connection.inputEnd = unread + count;
}

/** The coming turn reads from this connection. */
export function scheduleRead(connection: Connection): void {
  if (connection.isReadQueued) return;
  connection.isReadQueued = true;
  const { server } = connection;
  server.ready.readable.push(connection);
  wake(server);
}

/** The peer will send nothing more: its FIN arrived, or the connection is lost. @param error the system's name of the error */
export function onEnd(connection: Connection, error: string | undefined): void {
  const { server } = connection;
  server.ready.ended.push({ connection, error });
  wake(server);
}

/** @param hasRoom whether another connection may be accepted before the turn */
export function onAccept(server: Server, socket: Socket, listener: Listener, hasRoom: boolean): void {
  server.ready.accepted.push({ socket, listener });
  server.accepting.inPoll++;
  server.accepting.hasRoom = hasRoom;
  wake(server);
}
