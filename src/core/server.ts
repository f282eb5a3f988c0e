/** What all connections share. */
import { type ClosedConnections, newClosedConnections } from '../diagnostics/closedConnections.ts';
import { newRecorder, type Recorder } from '../diagnostics/recorder.ts';
import { newTrace, type Trace } from '../diagnostics/trace.ts';
import type { Configuration, Reloadable } from '../options/configuration.ts';
import { clock } from '../process/clock.ts';
import { type ArenaUse, newArenaUse } from './arena.ts';
import type { Connection } from './connection.ts';
import { type Descriptors, newDescriptors } from './descriptors.ts';
import { type InflationQueue, newInflationQueue } from './fairness.ts';
import { newProducers, type Producers } from './flush.ts';
import type { Handler } from './handler.ts';
import { type MemoryUse, newMemoryUse } from './memory.ts';
import type { PendingFanout } from './outbox.ts';
import { newPlaces, type Places } from './places.ts';
import {
  type Accepting,
  newAccepting,
  newReadyEvents,
  newTurnSchedule,
  type ReadyEvents,
  type TurnSchedule,
} from './poll.ts';
import { newReadClasses, type ReadClasses } from './serverLoop.ts';
import { newTable, type Table } from './table.ts';
import { type DeadlineTimer, newDeadlineTimer } from './timers.ts';
import type { Wire } from './wire.ts';

/** A place that connections come from. It has an id, as a listening socket has an fd. */
export interface Listener {
  readonly kind: 'listener';
  readonly id: number;
  /** As a client would write it: `ws://127.0.0.1:8080`, `unix:/run/pollywog.sock`. */
  readonly url: string;
  /** The TCP port; `undefined` on a Unix socket. */
  readonly port: number | undefined;
  /** What is spoken on its connections before they have said anything. */
  readonly firstWire: Wire;
  /** Commands come in here: its connections are not counted among the others, and it stays until the end. */
  readonly isControl: boolean;
  /** Whether the file of its Unix socket is gone, or another socket's: clients cannot reach it any more. */
  isCutOff(): boolean;
  close(): void;
}

export interface Counters {
  turns: number;
  accepted: number;
  /** Handshakes and requests that were answered with an error. */
  refused: number;
  messagesIn: number;
  /** Given up (1013) for being more than `maxBuffered` behind. */
  fellBehind: number;
  /** Closed because all connections together held more than `maxMemory`. */
  evicted: number;
}

export interface Server {
  /** Replaced as a whole on `reload`: whoever uses it reads it anew each time. */
  configuration: Configuration;
  readonly reloadables: Reloadable[];
  /** By the names of their subprotocols. They may come and go while the server runs. */
  readonly handlers: Map<string, Handler>;
  readonly table: Table<Connection | Listener>;
  readonly counters: Counters;
  /** What the poll found, when the next turn begins, and whether several polls precede it (poll.ts). */
  readonly ready: ReadyEvents;
  readonly schedule: TurnSchedule;
  readonly accepting: Accepting;
  /** The turn's readable connections, by the order in which they are read (serverLoop.ts). */
  readonly classes: ReadClasses;
  readonly deadlines: DeadlineTimer;
  /** Large messages that wait for inflation (fairness.ts). */
  readonly inflations: InflationQueue;
  /** Connections that the turn's flush writes to, each once. */
  readonly pendingWrites: Connection[];
  /** Connections that are freed when the turn ends. */
  readonly pendingFrees: Connection[];
  /** Frames for many connections that are in none of their queues yet (outbox.ts). */
  pendingFanout: PendingFanout | undefined;
  /** Connections too far behind to be sent anything more. They are closed before the turn ends. */
  readonly slowConsumers: Connection[];
  readonly producers: Producers;
  readonly arena: ArenaUse;
  readonly descriptors: Descriptors;
  readonly recorder: Recorder;
  readonly trace: Trace;
  readonly closedConnections: ClosedConnections;
  readonly memory: MemoryUse;
  /** When the log was last told of a shortage, by the event's name, as in `now`. */
  readonly toldAt: Map<string, number>;
  /** Of the entries in the table, those that are connections, but for those that commands come in by. */
  connections: number;
  readonly places: Places;
  /** Clients over HTTP: connections without a socket. */
  readonly polling: { clients: number };
  /** Whole milliseconds of a clock that never goes back, read once a turn. It starts at 1, so that 0 can mean never. */
  now: number;
  /** No longer listening, everyone was told: the loop ends with the last connection, or at `drainDeadline`. */
  isDraining: boolean;
  drainDeadline: number;
}

/** One that nobody is connected to, and that has no handlers yet. */
export function newServer(configuration: Configuration, maxDescriptors = Number.POSITIVE_INFINITY): Server {
  return {
    configuration,
    reloadables: [],
    handlers: new Map(),
    table: newTable(),
    counters: { turns: 0, accepted: 0, refused: 0, messagesIn: 0, fellBehind: 0, evicted: 0 },
    ready: newReadyEvents(),
    schedule: newTurnSchedule(),
    accepting: newAccepting(),
    classes: newReadClasses(),
    deadlines: newDeadlineTimer(),
    inflations: newInflationQueue(),
    pendingWrites: [],
    pendingFrees: [],
    pendingFanout: undefined,
    slowConsumers: [],
    producers: newProducers(),
    arena: newArenaUse(),
    memory: newMemoryUse(),
    descriptors: newDescriptors(maxDescriptors),
    recorder: newRecorder(configuration.recorder === 'on'),
    trace: newTrace(),
    closedConnections: newClosedConnections(),
    toldAt: new Map(),
    connections: 0,
    places: newPlaces(),
    polling: { clients: 0 },
    now: clock(),
    isDraining: false,
    drainDeadline: 0,
  };
}
