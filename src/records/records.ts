/**
 * The records that everything works on, as a C server declares them in its header file: `Server`, `Connection`, `Listener`,
 * and the contracts with the layers above the core: `Socket` (net/), `Wire` (wires/), `Handler` (handlers/).
 *
 * A connection is one flat record. Its type is the sum of the parts below; each names the files that change it.
 */

import type { AccessLog } from '../diagnostics/accessLog.ts';
import type { ClosedConnections } from '../diagnostics/closedConnections.ts';
import type { Ending } from '../diagnostics/closeReason.ts';
import type { Metrics } from '../diagnostics/metrics.ts';
import type { Fanout, Recorder } from '../diagnostics/recorder.ts';
import type { Observation } from '../diagnostics/recordings.ts';
import type { Configuration, Reloadable } from '../options/configuration.ts';
import type { Head } from '../protocol/http/head.ts';
import type { Endpoint } from '../protocol/websocket/endpoint.ts';
import type { DeflateAgreement, Extension } from '../protocol/websocket/extensions.ts';
import type { InflatingMessage, Message } from '../protocol/websocket/message.ts';
import type { ArenaUse, Chunk, OutgoingQueue, Range } from './arena.ts';
import type { Claim, Identity, Need, Security } from './identity.ts';
import type {
  AddressLines,
  AddressUse,
  Bucket,
  Counters,
  DeadlineTimer,
  Descriptors,
  MemoryUse,
} from './resources.ts';
import type { Table } from './table.ts';

// The connection

/** `open`; `ending` while queued output leaves and the peer's FIN is awaited; then `gone`. close.ts has the diagram. */
export type Phase = 'open' | 'ending' | 'gone';

/** Who the peer is: set when the connection is accepted, by proxies' headers, by TLS, and by the credentials of a request. */
interface Peer {
  readonly kind: 'connection';
  /** The lowest number that was free (table.ts). */
  readonly id: number;
  /** The connection's number on this server, from 1; never reused. */
  readonly serial: number;
  readonly server: Server;
  /** Replaced when TLS begins, and by faults. */
  socket: Socket;
  /** The connection carries commands from the control socket. */
  readonly isControl: boolean;
  /** Undefined on a plain connection, and before the TLS handshake is complete. */
  security: Security | undefined;
  /**
   * The client's address, as logs and lists show it: `127.0.0.1:50312`, `[::1]:50312`, `unix`, or as a trusted proxy reports
   * it: `203.0.113.7`. Stored, because a closed socket no longer has one.
   */
  address: string;
  /** A PROXY header arrived. A second one is not accepted. */
  isProxied: boolean;
  readonly acceptedAt: number;
  /** The identified user, and the credentials of the request (access/entry.ts). */
  identity: Identity | undefined;
  claim: Claim | undefined;
}

/** What the peer speaks: chosen by its first bytes, then by its handshake (wires/). */
interface Dialog {
  wire: Wire;
  /** The state of the WebSocket protocol, after the handshake. */
  endpoint: Endpoint | undefined;
  handler: Handler | undefined;
  /** The name of the current handler or, once that has been told of the end, of the last one. */
  handlerName: string | undefined;
  /** What is still awaited: 0 the handshake, 1 the magic, 2 a nick; 3 nothing. Only the packet sub-protocol stops at 1 and 2. */
  trustLevel: number;
  /** When the trust level was reached, or TLS completed. */
  stageSince: number;
  /** Whatever the handler or the wire stores with the connection. */
  data: unknown;
}

/** Unread input, and when it is read (poll.ts, serverLoop.ts, fairness.ts). */
interface Input {
  /** Unread bytes: `[inputStart, inputEnd)`. The wire has scanned the first `inputScanned` of them. */
  input: Buffer | undefined;
  inputStart: number;
  inputEnd: number;
  inputScanned: number;
  /** Queued in `server.ready.readable`, or in one of the turn's classes. */
  isReadQueued: boolean;
  /** The socket is being read, or queued in `ready.bulk`; otherwise it is paused. */
  isReading: boolean;
  /** Its last read filled the read buffer. */
  isBulk: boolean;
  /** Throttled: its budget for this turn is spent, its output queue is too long, or it has a message to resume. */
  isThrottled: boolean;
  /** Its last read took much work: cheaper connections are read before it. */
  isCostly: boolean;
  /** Its tokens, with `--message-rate` (core/rates.ts). */
  rate: Bucket | undefined;
  /** The rest of a message that the handler has not finished. No other message is delivered before it. */
  resumableMessage: Message | undefined;
}

/** Queued output (send.ts, fanout.ts, flush.ts). */
interface Output {
  readonly queue: OutgoingQueue;
  /** Produces output behind the queue, as fast as the socket takes it. */
  producer: Producer | undefined;
  /** Queued in `server.pendingWrites`. */
  isWriteQueued: boolean;
  /** Too far behind in a fan-out; closed before the turn ends. */
  isSlowConsumer: boolean;
}

/** How the connection ends (close.ts). */
interface Closing {
  phase: Phase;
  /** Why it ends, if that is known (diagnostics/closeReason.ts). */
  ending: Ending | undefined;
  /** When `phase` became `ending`, or the closing handshake began; 0 before. */
  endingAt: number;
  /** The peer's FIN arrived. */
  hasPeerEnded: boolean;
  /** Our FIN was sent. */
  isShutDown: boolean;
}

/** Signs of life, as times of `server.now` (deadlines.ts, wires/websocket.ts). */
interface Liveness {
  /** Last sign of life: a byte received, or a stalled write completed. */
  heardAt: number;
  /** When the last message arrived, for `--idle-timeout`. */
  messageAt: number;
  /** When the unanswered ping was sent; 0 if there is none. */
  pingedAt: number;
  /** Bytes that were unsent at that time. If the number falls, the peer is alive, even though the ping is still queued. */
  unsentAtPing: number;
  /** When a peer whose input is paused was last probed. */
  probedAt: number;
  /** Commands that wait for a pong. */
  pings: readonly PendingPing[] | undefined;
  /** For the minimum rate (progress.ts): the time up to which bytes have paid, and the byte count at the last check. */
  flowSince: number;
  flowBytes: number;
}

/** The place that the connection takes (places.ts), and the memory (memory.ts). */
interface Holdings {
  /** Counts as a client. */
  isClient: boolean;
  addressUse: AddressUse | undefined;
  /** `places.idle`, `halfOpen` or `unproven`, and the index there, while the connection may be dropped for a newcomer. */
  candidates: Connection[] | undefined;
  candidateAt: number;
  /** Bytes of memory, besides queued output. */
  held: number;
}

/** Counters and recorded frames (diagnostics/recorder.ts). */
interface Statistics {
  bytesIn: number;
  bytesOut: number;
  messagesIn: number;
  messagesOut: number;
  /** The recorder's entries in use, and a fan-out before them that filled all entries. */
  frameCount: number;
  burst: Int32Array | undefined;
}

export interface Connection extends Peer, Dialog, Input, Output, Closing, Liveness, Holdings, Statistics {}

/** A command that sent a ping, and waits for its pong. */
export interface PendingPing {
  /** A pong arrived; its payload is lent for this call. */
  onPong(payload: Uint8Array): void;
  /** No pong will arrive. */
  onLost(): void;
}

// The server

export interface Server extends Turn, Resources, Observation {
  /** Replaced as a whole by a reload: read it anew each time. */
  configuration: Configuration;
  readonly reloadables: Reloadable[];
  /** By subprotocol. Handlers may come and go while the server runs. */
  readonly handlers: Map<string, Handler>;
  /** Connections and listeners, by id. */
  readonly table: Table<Connection | Listener>;
  readonly counters: Counters;
  readonly metrics: Metrics;
  /** Undefined without `--access-log`. */
  accessLog: AccessLog | undefined;
  /** Whole milliseconds of a monotonic clock, read once a turn. It starts at 1, so 0 can mean never. */
  now: number;
  /** A graceful shutdown is under way: the loop ends with the last connection, or at `drainDeadline`. */
  isDraining: boolean;
  drainDeadline: number;
  /** The serial number of the newest connection. */
  lastSerial: number;
  /** When each kind of shortage was last logged, as in `now`. */
  readonly lastWarnedAt: Map<string, number>;
  readonly recorder: Recorder;
  readonly closedConnections: ClosedConnections;
}

/** What the stages of a turn hand to each other. */
interface Turn {
  /** What the poll found, when the next turn begins, and whether several polls precede it (poll.ts). */
  readonly ready: ReadyEvents;
  readonly schedule: TurnSchedule;
  /** Commands wait for the turn (commands/commandQueue.ts). */
  hasCommands: boolean;
  readonly accepting: Accepting;
  /** The turn's readable connections, in the order in which they are read (serverLoop.ts). */
  readonly classes: ReadClasses;
  /** Large messages that wait for inflation (fairness.ts). */
  readonly inflations: InflationQueue;
  /** Frames for many connections that are in none of their queues yet, and recipients that are too far behind (fanout.ts). */
  pendingFanout: PendingFanout | undefined;
  readonly slowConsumers: Connection[];
  /** Connections that the flush writes to, each once, and those whose output is produced meanwhile (flush.ts). */
  readonly pendingWrites: Connection[];
  readonly producers: Producers;
  /** Connections that are freed when the turn ends (close.ts). */
  readonly pendingFrees: Connection[];
  readonly deadlines: DeadlineTimer;
}

/** What all connections together use, and what bounds it. */
interface Resources {
  /** Connections in the table, except those that carry commands. */
  connections: number;
  /** Polling clients: connections without a descriptor. */
  readonly polling: { clients: number };
  readonly places: Places;
  readonly descriptors: Descriptors;
  readonly memory: MemoryUse;
  readonly arena: ArenaUse;
}

/** A listening socket. It has an id, just as a listening socket in C has an fd. */
export interface Listener {
  readonly kind: 'listener';
  readonly id: number;
  /** As a client would write it: `ws://127.0.0.1:8080`, `unix:/run/pollywog.sock`. */
  readonly url: string;
  /** The TCP port; undefined on a Unix socket. */
  readonly port: number | undefined;
  /** The wire of new connections. */
  readonly firstWire: Wire;
  /** Commands arrive here: its connections are not counted, and it stays until the end. */
  readonly isControl: boolean;
  /** Whether the file of its Unix socket is gone, or belongs to another socket: clients cannot reach it any more. */
  isCutOff(): boolean;
  close(): void;
}

/** What became ready since the last turn. The turn empties the lists. */
export interface ReadyEvents {
  /** Connections with input to read. */
  readonly readable: Connection[];
  /** Connections whose peers will send nothing more, and the system's name for the error, if there was one. */
  readonly ended: { connection: Connection; error: string | undefined }[];
  /** Connections that send more than one read takes. They are read again in this order, a few after each turn. */
  readonly bulk: Connection[];
  /** Accepted sockets, which the turn makes connections of. */
  readonly accepted: { socket: Socket; listener: Listener }[];
  /** Some of the input is stored in the process's input arena. */
  isArenaUsed: boolean;
  /** The input arena filled up before all sockets were read: the rest waits behind this turn. */
  isArenaFull: boolean;
  /** Bytes read in this poll that found no room in the input arena. */
  spilled: number;
  /** Turns that began in this poll because the input arena was full. */
  earlyTurns: number;
  /** All sessions are recorded: a turn reads one connection or handles one end, so a replay can repeat the order. */
  isSerial: boolean;
  /** With `isSerial`: this turn has read a connection. */
  hasRead: boolean;
}

/** When the next turn begins. */
export interface TurnSchedule {
  /** Starts the turn that `poll` waits for; undefined during a turn. */
  begin: (() => void) | undefined;
  /** A `setImmediate` that begins a turn is pending. */
  isScheduled: boolean;
  /** `scheduleTurn` was called. */
  isWanted: boolean;
}

/**
 * libuv accepts one connection per listener and poll: if turns are long, the backlog drains slowly. So while connections keep
 * arriving, in two rounds in a row, a turn waits for several polls.
 */
export interface Accepting {
  /** Connections accepted since the last poll, and whether descriptors are left for another one. */
  inPoll: number;
  hasRoom: boolean;
  /** The round of polls before the last turn accepted a connection. */
  wasBusy: boolean;
  /** Further polls of this round, and the time of the first one. */
  polls: number;
  since: number;
}

/** The turn's readable connections. Each class has a share of the turn, so a crowd does not delay clients that send little. */
export interface ReadClasses {
  /** Their last read took little work. */
  readonly cheap: Connection[];
  /** They send a large message, or the body of a request, whose end has not arrived. */
  readonly pieces: Connection[];
  /** In a handshake, or with an HTTP request. */
  readonly opening: Connection[];
  /** Their last read took much work. */
  readonly costly: Connection[];
  /** They used up their budget of the last turn. */
  readonly throttled: Connection[];
  /** With `ready.isSerial`: connections that the next turns read. */
  readonly later: Connection[];
}

/** Large messages that wait for inflation, in order of arrival. Only the first makes progress: they need the memory of one. */
export interface InflationQueue {
  readonly waiting: { readonly connection: Connection; readonly message: InflatingMessage }[];
  /** The turn in which the first one last made progress. */
  progressedIn: number;
}

/** Connections that receive the same messages (fanout.ts). */
export interface Group {
  readonly members: Set<Connection>;
  /** The members as a list, which is faster to iterate. Replaced after someone joined or left. */
  list: readonly Connection[] | undefined;
  /**
   * Takes a member that is too far behind out of the group. It gets none of the pending messages; `since` was passed with the
   * first of them. Without this, such members are closed.
   */
  readonly onBehind: ((member: Connection, since: number) => void) | undefined;
}

/**
 * Consecutive frames for the same connections. Each queue gets them as one range, at the end of the turn or before anything
 * else is queued for one of the members, so the order is kept.
 */
export interface PendingFanout extends Fanout {
  readonly members: readonly Connection[];
  /** The group whose members these are, if it is one, and the `since` of the first message. */
  readonly group: Group | undefined;
  readonly since: number;
  readonly except: Connection | undefined;
  readonly chunk: Chunk;
  end: number;
  /** The number of frames in `[start, end)`. */
  frames: number;
  /** Queues the frames for each recipient. `send` calls it before it queues anything else for one of them. */
  deliver(server: Server): void;
}

/** Connections whose output is produced as their sockets take it. */
export interface Producers {
  /** They got no slice in this turn, and come first in the next. */
  readonly unserved: Connection[];
  /** They got a slice and have more. */
  readonly served: Connection[];
  /** Slices produced in this turn. */
  slices: number;
}

export interface Places {
  readonly byAddress: Map<string, AddressUse>;
  /** Buckets of `--connect-rate` by address (rates.ts). The address that connected last is the last. */
  readonly connectRates: Map<string, Bucket>;
  readonly logLines: Map<string, AddressLines>;
  /** Buckets of `--message-rate` by user. */
  readonly userRates: Map<string, Bucket>;
  /** Clients of any kind. */
  clients: number;
  /** HTTP connections between two requests. */
  readonly idle: Connection[];
  /** Connections that have not finished their handshake: silent ones, incomplete requests, TLS handshakes. */
  readonly halfOpen: Connection[];
  /** Clients below trust level 3: they have not shown the magic, or have not chosen a nick. */
  readonly unproven: Connection[];
  /** Connections dropped in this turn that are still in `server.connections`. */
  dropped: number;
}

// The contracts

/** What the server needs of a socket. net/ has two kinds, polling has one without a descriptor, and tests have their own. */
export interface Socket {
  /** It consists of HTTP requests, and has no descriptor of its own. */
  readonly isVirtual?: true;
  /** Bytes of memory that an idle connection with such a socket takes. Default: `connectionMemory`. */
  readonly memory?: number | undefined;
  /** It writes other bytes than those passed to `write`. */
  readonly altersOutput?: true;
  /** Starts reading for this connection. */
  start(connection: Connection): void;
  /** An earlier write is not complete: nothing may be written until `onWriteComplete`. */
  readonly isBusy: boolean;
  /** Bytes of that write that are not sent yet, as far as known. */
  unsent(): number;
  /**
   * Gives the ranges to the system, in order. The bytes must stay as they are while `isBusy`.
   * @returns a negative system error number if the connection is lost; 0 otherwise
   */
  write(ranges: readonly Range[]): number;
  /** The same for one range: nearly every write. */
  writeOne(bytes: Buffer, start: number, end: number): number;
  pause(): void;
  resume(): void;
  /** Turns on TCP keep-alive after so many milliseconds of silence; 0: never. */
  keepAlive(after: number): void;
  /** Ends our direction (FIN) after what was written. */
  shutdown(): void;
  /** Closes the descriptor. No event follows. */
  destroy(): void;
  /** Bytes of memory that the socket itself holds, besides frames. */
  held?(): number;
  /** Its share of the memory of frames that it holds in common with other sockets. */
  share?(): number;
  /** Forgets unsent output: the connection is closed to free memory. */
  discard?(): void;
  /** Like `destroy`, but with a TCP reset (RST) if possible. */
  reset?(): void;
  /** Only of a wrapper: a stalled write of the inner socket is complete, or has failed. */
  onInnerWriteComplete?(error: string | undefined): void;
  /** The faults that were set for it (handlers/faults/), for `why`. */
  faults?(): readonly string[];
  /** The peer's address as `127.0.0.1:50312`, `[::1]:50312` or `unix`. */
  address(): string;
}

/** What is spoken on a connection: HTTP, WebSocket, packets, lines, a module's own protocol. The core knows wires only through this interface. */
export interface Wire {
  readonly name: string;
  /** Whether a connection that begins with `bytes[start, end)`, not empty, speaks this protocol; undefined: more is needed. */
  matches?(bytes: Buffer, start: number, end: number, connection: Connection): boolean | undefined;
  /** The right that its clients need, which are anonymous. Without it they need none, or each request is decided. */
  need?(): Need;
  /** This wire wraps another one (TLS, a PROXY header), which decides whether the peer is admitted. */
  readonly isWrapper?: true;
  /** Called when a connection gets this wire, before its first byte is read. */
  begin?(connection: Connection): void;
  /**
   * Reads `bytes[start, end)`, which it may change in place. It stops before anything incomplete, or when the connection is
   * throttled.
   * @returns where it stopped; the rest is passed again, with what arrived behind it
   */
  receive(connection: Connection, bytes: Buffer, start: number, end: number): number;
  /** Whether the input begins with something that is read before all messages, such as a control frame. Default: it does not. */
  isUrgent?(connection: Connection, bytes: Buffer, start: number): boolean;
  /** Like `receive`, but stops before the first message. Without it, all of an urgent input is read. */
  receiveUrgent?(connection: Connection, bytes: Buffer, start: number, end: number): number;
  /** Whether input waits until the wire has answered what it read before. The peer's FIN waits behind that input. */
  isPaused?(connection: Connection): boolean;
  /** Bytes of a request's body that have not arrived yet: a read of fewer bytes only copies them. */
  missing?(connection: Connection): number;
  /** Says goodbye in the wire's own words, and then ends the connection (close.ts). */
  close(connection: Connection, code: number, reason: string): void;
  /** Like `close`, but without waiting for the peer's answer. Eviction uses it, or else `close`, and then ends the connection. */
  fail?(connection: Connection, code: number, reason: string): void;
  /**
   * Nothing more will arrive: the peer sent FIN, or the connection is lost (`error`). Called at the latest when the connection
   * is freed. It may be called again, and must then do nothing.
   */
  onEnd(connection: Connection, error: string | undefined): void;
  /** Compares the wire's deadlines with `server.now`. Called now and then, until the connection is ending. */
  checkDeadlines(connection: Connection): void;
  /** Bytes of memory that the wire holds for the connection, such as a request's body. */
  held?(connection: Connection): number;
}

/**
 * What the messages of a connection mean: chosen by subprotocol, else by path, else by default. A handler runs inside the
 * turn: it must return soon, and it never writes to a socket. What it sends (send.ts) is queued, and leaves with a
 * flush of this turn.
 */
export interface Handler {
  /** Its subprotocol, and its path. */
  readonly name: string;
  /** Further subprotocols, on its path. If they depend on the request, its path takes precedence over all subprotocols. */
  readonly subprotocols?: readonly string[] | ((request: Head) => readonly string[]);
  /** The handler is off: it refuses its path with a reason, lists omit it, and no subprotocol selects it. */
  isOff?(configuration: Configuration): boolean;
  /** Checks a handshake before it is accepted. @throws ProtocolError, whose code is the HTTP status of the refusal */
  admit?(connection: Connection, request: Head): void;
  /** Negotiates permessage-deflate for an admitted handshake. Without it, `--compress` decides. */
  grantDeflate?(request: Head, offers: readonly Extension[]): DeflateAgreement | undefined;
  /** The rights that an admitted handshake needs besides that to connect. */
  needs?(request: Head): readonly Need[];
  /** Whether an anonymous client may send its token as its first message; `opened` follows. */
  awaitsToken?(connection: Connection, request: Head): boolean;
  /** What a connection below trust level 3 must send, and the close code if it does not. The default is the magic and a nick. */
  readonly awaited?: { readonly what: string; readonly code: number };
  /** The handshake is complete. @param request its head */
  opened?(connection: Connection, request?: Head): void;
  /**
   * A whole message arrived. It is lent for this call: copy what is needed later. If the message carries more work than
   * the connection's budget for this turn (`charge`), leave the rest to the next turn (`deferRest`). If no other message may
   * arrive before something else has happened, pause them (`pauseMessages`).
   */
  message(connection: Connection, message: Message): void;
  /**
   * The connection is closed, for whatever reason. Called once for each connection that was opened.
   * @param code the close code received or, if we failed the connection, sent; 1005 for a close frame without a code,
   *   1006 if the connection ended without a close frame
   */
  closed?(connection: Connection, code: number, reason: string): void;
  /** Bytes of memory that the handler holds for the connection, such as input of a program; they count against `maxMemory`. */
  held?(connection: Connection): number;
  /** Frees what `held` counts: the connection is closed because memory is short. */
  discard?(connection: Connection): void;
  /** All input of this turn has been processed; the last flush of the turn follows. */
  turnEnds?(): void;
  /** While it is set, `turnEnds` has nothing to do and is not called. */
  isIdle?: boolean;
  /** The server listens; the first turn is still to come. */
  started?(server: Server): void;
  /** The last turn is over, and all connections are closed. Resolves when the handler has cleaned up. */
  stopped?(): Promise<void>;
}

/**
 * Output that is produced as the socket takes it, so that a large answer never exists as a whole. The flush asks for the
 * next slice whenever the socket has taken everything before.
 */
export interface Producer {
  /**
   * Queues about `outputSlice` bytes at most, and removes itself from the connection behind the last of them. It may end
   * the connection at any time: the FIN waits until the producer is gone.
   * @returns whether to ask again in the next turn; otherwise `scheduleFlush` announces more output
   */
  produce(connection: Connection): boolean;
  /** Bytes of memory that it alone refers to. */
  held(): number;
}
