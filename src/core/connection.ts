/** The connection record: all there is to know of one client. */

import type { Ending } from '../diagnostics/closeReason.ts';
import type { Endpoint } from '../protocol/websocket/endpoint.ts';
import type { Message } from '../protocol/websocket/message.ts';
import type { Handler } from './handler.ts';
import { updateHeld } from './memory.ts';
import { type AddressUse, enterPlaces } from './places.ts';
import type { Producer } from './producer.ts';
import { newQueue, type OutgoingQueue } from './queue.ts';
import type { Security } from './security.ts';
import type { Server } from './server.ts';
import type { Socket } from './socket.ts';
import { addEntry, nextId } from './table.ts';
import type { Wire } from './wire.ts';

/** 'open' until someone ends it; 'ending' while what is queued leaves and the peer's end is awaited; then 'gone'. */
export type Phase = 'open' | 'ending' | 'gone';

/** Someone who sent a ping, and waits for its pong. */
export interface PendingPing {
  /** A pong came; its payload is on loan. */
  onPong(payload: Uint8Array): void;
  /** None comes any more. */
  onLost(): void;
}

export interface Connection {
  readonly kind: 'connection';
  /** The lowest that was free: see table.ts. */
  readonly id: number;
  readonly server: Server;
  /** Replaced where TLS begins. */
  socket: Socket;
  /** Commands come in by it. */
  readonly isControl: boolean;
  /** Of TLS; `undefined` on a plain connection, and until the handshake of TLS is done. */
  security: Security | undefined;
  phase: Phase;
  /** Why it ends, as far as that is known. */
  ending: Ending | undefined;
  /**
   * The client's address, as logs, lists and handlers show it: `127.0.0.1:50312`, `[::1]:50312`, `unix`. It is the
   * socket's, or what a trusted proxy says: `203.0.113.7`. Kept, as nobody can be asked when the connection is gone.
   */
  address: string;
  /** A PROXY header came: another one would be the client's own. */
  isProxied: boolean;
  /** It counts as a client, and what its address holds: see places.ts. */
  isClient: boolean;
  addressUse: AddressUse | undefined;
  /** The list of connections that it is in, at `candidateAt`, while it may be dropped for a newcomer. */
  candidates: Connection[] | undefined;
  candidateAt: number;
  /** How many of its last frames are remembered, and a burst that came before them: see lastFrames.ts. */
  frames: number;
  burst: Int32Array | undefined;
  /** What is spoken, and, once that is WebSocket, its protocol state and whoever its messages are for. */
  wire: Wire;
  endpoint: Endpoint | undefined;
  handler: Handler | undefined;
  /** The name of the handler it has or had. */
  handlerName: string | undefined;
  /** 0 handshake, 1 magic, 2 nick, 3 packets: only the packet sub-protocol has a ladder; others are at 3 at once. */
  trustLevel: number;
  /** When this level was reached. */
  stageSince: number;
  /** What its handler has not worked through of the last message; no other is given to it before. */
  resumableMessage: Message | undefined;
  /** Whatever its handler keeps with it. */
  data: unknown;

  /** Input that is not worked through: `[inputStart, inputEnd)` of `input`; the wire has seen the first `inputScanned`. */
  input: Buffer | undefined;
  inputStart: number;
  inputEnd: number;
  inputScanned: number;
  /** It is in the poll's list for this turn. */
  isReadQueued: boolean;
  /** It had its share of the turn, or owes too much: the rest of its input waits, and it is not read from. */
  isThrottled: boolean;
  /** Its last read took much work: connections that take little are read before it. */
  isCostly: boolean;
  isReading: boolean;
  /** The peer's FIN came. */
  hasPeerEnded: boolean;

  readonly queue: OutgoingQueue;
  /** Makes the output after the queue, as the socket takes it. */
  producer: Producer | undefined;
  /** It is in the outbox's list for this turn. */
  isWriteQueued: boolean;
  /** It is too far behind in what is sent to all, and about to be closed for it. */
  isSlowConsumer: boolean;
  /** Our FIN was sent. */
  isShutDown: boolean;

  /** Times, in whole milliseconds of the server's clock (`server.now`). */
  readonly acceptedAt: number;
  /** Any byte came, or any byte went that was stuck: it lives. */
  heardAt: number;
  messageAt: number;
  /** When the ping that is unanswered was sent; 0 when there is none. */
  pingedAt: number;
  /** When a peer whose input is paused was last probed, as in `now`. */
  probedAt: number;
  /** Who waits for a pong of their own. */
  pings: readonly PendingPing[] | undefined;
  /** What the socket had not sent then: whoever takes some of it lives, though the ping waits behind the rest. */
  unsentAtPing: number;
  /** When `phase` became 'ending', or the closing handshake was started; 0 before. */
  endingAt: number;

  /** Of a transfer with a minimum rate: the time that its bytes have paid for, and those bytes; see progress.ts. */
  flowSince: number;
  flowBytes: number;

  bytesIn: number;
  bytesOut: number;
  messagesIn: number;
  messagesOut: number;
  /** Bytes of memory it holds, besides queued output; see memory.ts. */
  held: number;
}

export function newConnection(
  server: Server,
  id: number,
  socket: Socket,
  wire: Wire,
  isControl = false,
  address = socket.address(),
): Connection {
  return {
    kind: 'connection',
    id,
    server,
    socket,
    isControl,
    security: undefined,
    phase: 'open',
    ending: undefined,
    address,
    isProxied: false,
    isClient: false,
    addressUse: undefined,
    candidates: undefined,
    candidateAt: 0,
    frames: 0,
    burst: undefined,
    wire,
    endpoint: undefined,
    handler: undefined,
    handlerName: undefined,
    trustLevel: 0,
    stageSince: server.now,
    resumableMessage: undefined,
    data: undefined,
    input: undefined,
    inputStart: 0,
    inputEnd: 0,
    inputScanned: 0,
    isReadQueued: false,
    isThrottled: false,
    isCostly: false,
    isReading: true,
    hasPeerEnded: false,
    queue: newQueue(),
    producer: undefined,
    isWriteQueued: false,
    isSlowConsumer: false,
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
    bytesOut: 0,
    messagesIn: 0,
    messagesOut: 0,
    held: 0,
  };
}

/** Whether a message has arrived whole and is not worked through yet: inflated in part, or resumed later by its handler. */
export function hasUnfinished({ resumableMessage, endpoint }: Connection): boolean {
  return resumableMessage !== undefined || endpoint?.inflating !== undefined;
}

/** A connection for this socket, which is the socket's from now on, in the table. */
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
