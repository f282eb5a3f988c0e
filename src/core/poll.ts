/**
 * The poll: Node's event loop waits for the system, and its callbacks, the sockets', only note what became ready. One
 * `setImmediate` after them lets the turn begin, in which all of it is worked through.
 */

import { giveBuffer, takeBuffer } from '../protocol/buffers.ts';
import { acceptTime, maxAcceptPolls, maxSpilledInput } from '../protocol/limits.ts';
import { ioArena } from '../protocol/websocket/mask.ts';
import type { Connection } from './connection.ts';
import { hasWork } from './outbox.ts';
import { inputEnd, inputStart, landingSize } from './regions.ts';
import type { Listener } from './server.ts';
import type { Socket } from './socket.ts';

/** What became ready since the last turn. The turn takes it, and leaves the lists empty. */
export const readyEvents = {
  /** Connections whose input is to be worked through. */
  readable: [] as Connection[],
  /** Connections that will send nothing more, and the system's name for the error, if it was one. */
  ended: [] as { connection: Connection; error: string | undefined }[],
  /** What the listeners accepted: the turn makes connections of them. */
  accepted: [] as { socket: Socket; listener: Listener }[],
  /** The turn's memory was full before all sockets were asked: what others have sent waits behind this turn. */
  isInputArenaFull: false,
};

/**
 * libuv accepts one connection per listener and poll. If every poll were followed by a turn, connections that keep turns
 * long would starve newcomers: the backlog would drain by one connection a turn. So while connections keep arriving, in
 * two rounds running, a turn waits for several polls.
 */
const accepting = {
  /** Connections accepted since the last poll, and whether descriptors are left for another one. */
  inPoll: 0,
  hasRoom: true,
  /** The round of polls before the last turn accepted a connection. */
  wasBusy: false,
  /** Further polls of this round, and when the first one was asked for. */
  polls: 0,
  since: 0,
  /** Bytes read in these polls that found no room in the turn's memory. */
  spilled: 0,
};

/** Where the next input goes in the turn's memory. */
let position = inputStart;

let beginTurn: (() => void) | undefined;
let isTurnComing = false;

/** Resolves when there is something to do. */
export function poll(): Promise<void> {
  return new Promise(resolve => {
    beginTurn = resolve;
    // What is left over from the turn does not wait for the system; but the system is asked first.
    const { readable, ended, accepted } = readyEvents;
    if (readable.length + ended.length + accepted.length > 0 || hasWork()) comeToTurn();
  });
}

/** Sees to it that a turn comes, when the system was polled. During a turn it is `poll` that will look what is left. */
export function comeToTurn(): void {
  if (isTurnComing || beginTurn === undefined) return;
  isTurnComing = true;
  setImmediate(turnComes);
}

function turnComes(): void {
  if (shouldPollAgain()) {
    setImmediate(turnComes);
    return;
  }
  isTurnComing = false;
  turnNow();
}

/** Whether the backlog may hold more connections, and the round has not taken too long for those who are in. */
function shouldPollAgain(): boolean {
  const { inPoll, hasRoom, wasBusy, polls } = accepting;
  accepting.inPoll = 0;
  if (inPoll > 0 && hasRoom && wasBusy && polls < maxAcceptPolls) {
    const now = performance.now();
    if (polls === 0) accepting.since = now;
    if (now - accepting.since < acceptTime) {
      accepting.polls++;
      return true;
    }
  }
  accepting.wasBusy = inPoll > 0 || polls > 0;
  accepting.polls = 0;
  accepting.spilled = 0;
  return false;
}

/** The turn begins as soon as the callback that calls this returns. */
function turnNow(): void {
  const begin = beginTurn;
  beginTurn = undefined;
  begin?.();
}

/** The turn has worked through all input that lies in its memory. */
export function resetInputArena(): void {
  position = inputStart;
}

/**
 * A socket read `bytes[0, count)`, which are the landing's or Node's: moves them behind what else there is of this
 * connection.
 */
export function onData(connection: Connection, bytes: Buffer, count: number): void {
  const { input } = connection;
  connection.bytesIn += count;
  const waiting = input === undefined ? 0 : connection.inputEnd - connection.inputStart;
  const follows = input === ioArena && connection.inputEnd === position;
  const needed = follows ? count : waiting + count;
  if (position + needed > inputEnd) {
    spillInput(connection, bytes, count, waiting);
    accepting.spilled += count;
  } else {
    if (!follows) {
      if (input !== undefined) {
        input.copy(ioArena, position, connection.inputStart, connection.inputEnd);
        giveBuffer(input);
      }
      connection.inputStart = position;
      position += waiting;
    }
    if (bytes === ioArena) ioArena.copyWithin(position, 0, count);
    else bytes.copy(ioArena, position, 0, count);
    position += count;
    connection.input = ioArena;
    connection.inputEnd = position;
  }
  scheduleRead(connection);
  if (accepting.polls > 0) {
    // One read per connection and round: the turn starts reading again.
    pauseReading(connection);
    if (accepting.spilled < maxSpilledInput) return;
    accepting.spilled = 0;
  }
  // The next read may bring as much as the landing holds: there has to be room for it.
  if (position + landingSize > inputEnd) {
    readyEvents.isInputArenaFull = true;
    turnNow();
  }
}

function pauseReading(connection: Connection): void {
  if (!connection.isReading) return;
  connection.isReading = false;
  connection.socket.pause();
}

/** There is no room left in the turn's memory: the input gets memory of its own. */
function spillInput(connection: Connection, bytes: Buffer, count: number, waiting: number): void {
  const { input } = connection;
  const own = takeBuffer(waiting + count);
  input?.copy(own, 0, connection.inputStart, connection.inputEnd);
  bytes.copy(own, waiting, 0, count);
  if (input !== undefined) giveBuffer(input);
  connection.input = own;
  connection.inputStart = 0;
  connection.inputEnd = waiting + count;
}

/** The connection's input is to be worked through in the coming turn. */
export function scheduleRead(connection: Connection): void {
  if (connection.isReadQueued) return;
  connection.isReadQueued = true;
  readyEvents.readable.push(connection);
  comeToTurn();
}

/** The peer's direction of the connection is over. */
export function onEnd(connection: Connection, error: string | undefined): void {
  readyEvents.ended.push({ connection, error });
  comeToTurn();
}

/** @param hasRoom whether another connection may be accepted before the turn */
export function onAccept(socket: Socket, listener: Listener, hasRoom: boolean): void {
  readyEvents.accepted.push({ socket, listener });
  accepting.inPoll++;
  accepting.hasRoom = hasRoom;
  comeToTurn();
}
