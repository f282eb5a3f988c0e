/**
 * What a module of your own exports, and what it is given: `import type { Handler, Wire } from 'pollywog'`.
 *
 * Everything runs on the server's one thread: a call that takes long holds everyone up.
 */
import type { Buffer } from 'node:buffer';

/** A whole message. It is lent: once the call is over, or the promise it returned is settled, it is gone. */
export interface Message {
  readonly isText: boolean;
  /** Bytes. */
  readonly size: number;
  /** The message as a string; of a binary one, its bytes read as UTF-8. */
  text(): string;
  /** A copy of its bytes, yours to keep. */
  copy(): Buffer;
  /** Its bytes where they lie, without a copy: good until this call ends, or awaits something. Do not change them. */
  bytes(): Buffer;
}

/** A string is sent as text, bytes as binary, and a message as what it is, without being decoded. Bytes are copied. */
export type Sendable = string | Uint8Array | Message;

/** A client, from its handshake to its end; the same object all the while, whatever module takes over. */
export interface Connection<Data = unknown> {
  /** The lowest number that was free: it is used again when the connection has ended. As in the log. */
  readonly id: number;
  /** Whatever the module keeps with it; `undefined` at first. It is handed on to the next version of the module. */
  data: Data;
  /** Its address and port. */
  readonly address: string;
  /** Of the handshake: the path and what stands behind its `?`, both as they were sent (percent-encoded). */
  readonly path: string;
  readonly query: string;
  /** Of the handshake: the fields, by their names in lower case. */
  readonly headers: ReadonlyMap<string, string>;
  /** What was agreed on; `undefined` where the path or `--default-handler` led here. */
  readonly subprotocol: string | undefined;
  /** Whether it can still be sent to. */
  readonly isOpen: boolean;
  /**
   * Queues a message; it leaves when the turn ends. Who was not just heard from, and has more than `--max-buffered` unsent,
   * is closed (1013) instead. Does nothing once the connection is closing.
   */
  send(message: Sendable): void;
  /** Starts the closing handshake. @param code 1000 if not given, or 3000 to 4999 @throws RangeError for others */
  close(code?: number, reason?: string): void;
  /** Groups are the module's own, and come and go with their members. A connection that ends leaves all of its. */
  join(group: string): void;
  leave(group: string): void;
}

/** Lines in the server's log, with the module's name in each. @param event a few words, always the same for the same event */
export interface Log {
  error(event: string, fields?: LogFields): void;
  warn(event: string, fields?: LogFields): void;
  info(event: string, fields?: LogFields): void;
  debug(event: string, fields?: LogFields): void;
}

export type LogFields = Readonly<Record<string, string | number | boolean | undefined>>;

/** What all connections of a module share. */
export interface Server<Data = unknown, State = unknown> {
  /** What the module's `state` made. It is handed on to the next version of the module. */
  state: State;
  readonly connections: ReadonlySet<Connection<Data>>;
  /** Sends to all in the group but `except`; it is framed once, whatever their number. */
  publish(group: string, message: Sendable, except?: Connection<Data>): void;
  /** How many are in the group. */
  members(group: string): number;
  readonly log: Log;
}

/**
 * A handler: the module's default export, or the module itself. Its names are subprotocols, and paths. When it throws, its
 * connection is closed (1011), and no other.
 *
 * @typeParam Data what it keeps with each connection
 * @typeParam State what it keeps besides
 */
export interface Handler<Data = unknown, State = unknown> {
  /** If neither is given, the file's name without its extension. */
  readonly name?: string;
  readonly names?: readonly string[];
  /** Makes the state that the module begins with. */
  state?(): State;
  /**
   * This version takes over from another. @param old its state
   * @returns the state to go on with; if nothing, the old one. Return a new one if its shape changes, as the version before
   *   may have to go on with the old
   */
  swap?(old: unknown, server: Server<Data, State>): State | void;
  /** This version is never called again, as another has taken over or the server ends: end timers and the like. */
  stopped?(): void;
  opened?(connection: Connection<Data>, server: Server<Data, State>): void | Promise<void>;
  /** While its promise is not settled, the connection's next messages, and its close, wait; those of others do not. */
  message(connection: Connection<Data>, message: Message, server: Server<Data, State>): void | Promise<void>;
  /** @param code the close code received, or sent; 1005: a close frame without one; 1006: none */
  closed?(connection: Connection<Data>, code: number, reason: string, server: Server<Data, State>): void;
  /** `pollywog call NAME WORD…`. What it returns, or its promise resolves to, is shown. */
  command?(words: readonly string[], server: Server<Data, State>): unknown;
  /** Called every `tickEvery` milliseconds (1000 if not given), never again while its promise is not settled. */
  tick?(server: Server<Data, State>): void | Promise<void>;
  readonly tickEvery?: number;
}

/** A connection that speaks the module's own wire. */
export interface WireConnection<Data = unknown> {
  readonly id: number;
  data: Data;
  readonly address: string;
  readonly isOpen: boolean;
  /** Queues bytes, or a string as UTF-8. As `Connection.send`. */
  send(bytes: string | Uint8Array): void;
  /** Ends the connection when everything is sent. */
  end(): void;
}

/** A wire: what else is spoken on the port. The module's export `wire`. When it throws, its connection is ended. */
export interface Wire<Data = unknown> {
  /** As in the log; the file's name if not given. */
  readonly name?: string;
  /**
   * Whether a connection that begins with these bytes (1 to 512, lent) is this wire's; `undefined` while it may still turn
   * out to be. What begins as HTTP or as a packet is not asked about.
   */
  matches?(firstBytes: Buffer): boolean | undefined;
  /**
   * For protocols in which the server speaks first: a peer connected to a `--listen URL?greet`, or was silent for
   * `--greeting-delay`. Only one module may have it.
   */
  greet?(connection: WireConnection<Data>, log: Log): void;
  /**
   * @param bytes what came, and is not used up yet (a copy). At most 64 KiB may be left
   * @returns how many it has used up; all, if it returns nothing. The rest is given again with what follows it
   */
  receive(connection: WireConnection<Data>, bytes: Buffer, log: Log): number | void;
  /** The server ends the connection: the last chance to say so. */
  goodbye?(connection: WireConnection<Data>, reason: string): void;
  /** The connection is over. */
  closed?(connection: WireConnection<Data>, log: Log): void;
}
