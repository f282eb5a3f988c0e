/**
 * The poll: Node's event loop waits for the system, and its callbacks, the sockets', only note what became ready. One
 * `setImmediate` after them lets the turn begin, in which all of it is worked through.
 */
import type { Connection } from '../connection/connection.ts';
import { hasWork } from '../connection/outbox.ts';
import { inputEnd, inputStart, landingSize } from '../connection/regions.ts';
import type { Listener } from '../connection/server.ts';
import type { Socket } from '../connection/socket.ts';
import { turnMemory } from '../protocol/mask.ts';

/** What became ready since the last turn. The turn takes it, and leaves the lists empty. */
export const arrivals = {
  /** Connections whose input is to be worked through. */
  readable: [] as Connection[],
  /** Connections that will send nothing more, and the system's name for the error, if it was one. */
  ended: [] as { connection: Connection; error: string | undefined }[],
  /** What the listeners accepted: the turn makes connections of them. */
  accepted: [] as { socket: Socket; listener: Listener }[],
  /** The turn's memory was full before all sockets were asked: what others have sent waits behind this turn. */
  isEarly: false,
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
    const { readable, ended, accepted } = arrivals;
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
  isTurnComing = false;
  turnNow();
}

/** The turn begins as soon as the callback that calls this returns. */
function turnNow(): void {
  const begin = beginTurn;
  beginTurn = undefined;
  begin?.();
}

/** The turn has worked through all input that lies in its memory. */
export function recycleInput(): void {
  position = inputStart;
}

/**
 * A socket read `bytes[0, count)`, which are the landing's or Node's: moves them behind what else there is of this
 * connection.
 */
export function bytesArrived(connection: Connection, bytes: Buffer, count: number): void {
  const { input } = connection;
  connection.bytesIn += count;
  const waiting = input === undefined ? 0 : connection.inputEnd - connection.inputStart;
  const follows = input === turnMemory && connection.inputEnd === position;
  const needed = follows ? count : waiting + count;
  if (position + needed > inputEnd) {
    setAside(connection, bytes, count, waiting);
  } else {
    if (!follows) {
      if (input !== undefined) input.copy(turnMemory, position, connection.inputStart, connection.inputEnd);
      connection.inputStart = position;
      position += waiting;
    }
    if (bytes === turnMemory) turnMemory.copyWithin(position, 0, count);
    else bytes.copy(turnMemory, position, 0, count);
    position += count;
    connection.input = turnMemory;
    connection.inputEnd = position;
  }
  markReadable(connection);
  // The next read may bring as much as the landing holds: there has to be room for it.
  if (position + landingSize > inputEnd) {
    arrivals.isEarly = true;
    turnNow();
  }
}

/** There is no room left in the turn's memory: the input gets memory of its own. */
function setAside(connection: Connection, bytes: Buffer, count: number, waiting: number): void {
  const own = Buffer.allocUnsafeSlow(waiting + count);
  connection.input?.copy(own, 0, connection.inputStart, connection.inputEnd);
  bytes.copy(own, waiting, 0, count);
  connection.input = own;
  connection.inputStart = 0;
  connection.inputEnd = own.length;
}

/** The connection's input is to be worked through in the coming turn. */
export function markReadable(connection: Connection): void {
  if (connection.isReady) return;
  connection.isReady = true;
  arrivals.readable.push(connection);
  comeToTurn();
}

/** The peer's direction of the connection is over. */
export function peerEnded(connection: Connection, error: string | undefined): void {
  arrivals.ended.push({ connection, error });
  comeToTurn();
}

export function socketAccepted(socket: Socket, listener: Listener): void {
  arrivals.accepted.push({ socket, listener });
  comeToTurn();
}
