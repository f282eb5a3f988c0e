/** What all connections share. */
import type { Configuration, Reloadable } from '../options/configuration.ts';
import { clock } from '../process/clock.ts';
import type { Connection } from './connection.ts';
import { type Descriptors, newDescriptors } from './descriptors.ts';
import type { Handler } from './handler.ts';
import { type MemoryUse, newMemoryUse } from './memory.ts';
import { newPlaces, type Places } from './places.ts';
import { newTable, type Table } from './table.ts';
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
  readonly descriptors: Descriptors;
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
    memory: newMemoryUse(),
    descriptors: newDescriptors(maxDescriptors),
    toldAt: new Map(),
    connections: 0,
    places: newPlaces(),
    polling: { clients: 0 },
    now: clock(),
    isDraining: false,
    drainDeadline: 0,
  };
}
