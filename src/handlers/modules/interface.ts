/**
 * What a module exports, and the objects that its functions get: `import type { Handler, Wire } from 'pollywog'`.
 *
 * Everything runs on the server's single thread: a call that takes long delays all clients.
 */
import type { Buffer } from 'node:buffer';

/** A whole message. It is valid during the call, or until the promise that the call returned has settled. */
export interface Message {
  readonly isText: boolean;
  /** In bytes. */
  readonly size: number;
  /** The message as a string. The bytes of a binary message are decoded as UTF-8. */
  text(): string;
  /** A copy of the bytes, for you to keep. */
  copy(): Buffer;
  /** The bytes in the server's input buffer, not copied: valid until the call returns or awaits. Do not change them. */
  bytes(): Buffer;
}

/** A string is sent as a text message, bytes as a binary one, and a message as the kind it is. Bytes are copied. */
export type Sendable = string | Uint8Array | Message;

/** A client: the same object from its handshake to its end, even when a new version of the module takes over. */
export interface Connection<Data = unknown> {
  /** The connection's number in the log. Numbers are reused: it is the lowest one that was free. */
  readonly id: number;
  /** Yours to set; `undefined` at first. The next version of the module finds it here. */
  data: Data;
  /** The client's IP address and port. */
  readonly address: string;
  /** The identified user, see `pollywog help access`; `undefined` for an anonymous client. */
  readonly user: string | undefined;
  /** The path and the query of the handshake's URL, percent-encoded as received. */
  readonly path: string;
  readonly query: string;
  /** The header fields of the handshake, by lower-case name. */
  readonly headers: ReadonlyMap<string, string>;
  /** The agreed subprotocol; `undefined` if the path or `--default-handler` chose this handler. */
  readonly subprotocol: string | undefined;
  /** Whether `send` still has an effect. */
  readonly isOpen: boolean;
  /**
   * Queues a message; it is written at the end of the turn. Outside of a reply to this connection's own message, a client
   * with more than `--max-buffered` bytes unsent is closed (1013) instead. No effect once the connection is closing.
   */
  send(message: Sendable): void;
  /** Starts the closing handshake. @param code 1000 (the default), or 3000 to 4999 @throws RangeError for other codes */
  close(code?: number, reason?: string): void;
  /** Joins a group of this module. A group exists while it has members; a connection that ends leaves its groups. */
  join(group: string): void;
  leave(group: string): void;
}

/** A handshake, or the request that opens a polling session. */
export interface AdmitRequest {
  readonly address: string;
  readonly path: string;
  readonly query: string;
  /** By lower-case name. */
  readonly headers: ReadonlyMap<string, string>;
}

/**
 * `undefined` admits the client. `user`, of 1 to 200 characters, identifies it, so rules such as `connect=user` allow it. `status`,
 * 400 to 599, refuses it with the `reason`.
 */
export type Admission =
  | { readonly user: string }
  | { readonly status: number; readonly reason?: string }
  | void;

/** Writes to the server's log; every line has the module's name. @param event a few words, the same for every such event */
export interface Log {
  error(event: string, fields?: LogFields): void;
  warn(event: string, fields?: LogFields): void;
  info(event: string, fields?: LogFields): void;
  debug(event: string, fields?: LogFields): void;
}

export type LogFields = Readonly<Record<string, string | number | boolean | undefined>>;

export interface PublishOptions {
  /** By default a string is text, and bytes are bytes. */
  readonly as?: 'text' | 'json' | 'bytes';
  /** The name of the event. */
  readonly event?: string;
  /** Seconds for which the channel keeps the message at most. */
  readonly ttl?: number;
  /** A message with the same key is published once, as long as it is kept. Keys of other modules and channels do not matter. */
  readonly key?: string;
}

/** A message that was published in a channel. */
export interface ChannelMessage {
  readonly id: string;
  readonly channel: string;
  readonly kind: 'text' | 'json' | 'bytes';
  /** Milliseconds since the epoch. */
  readonly time: number;
  readonly event: string | undefined;
  /** Who said it, in a chat room. */
  readonly from: string | undefined;
  /** The message as a string: for JSON, its text as published. Bytes are decoded as UTF-8. */
  text(): string;
  /** A copy of the bytes. */
  copy(): Buffer;
}

/** The channels of the server, see `pollywog help channels`. */
export interface Channels {
  /**
   * Publishes a message at the end of the turn. @returns when it is stored, its id and the number of its subscribers
   * @throws RangeError if the name, an option or the message is not valid; the promise rejects if the message cannot be stored
   */
  publish(
    channel: string,
    message: Sendable,
    options?: PublishOptions,
  ): Promise<{ readonly id: string; readonly subscribers: number }>;
  /**
   * Calls `listener` with each message as it is published, from now on. The next version of the module has listeners of its own:
   * unsubscribe in `stopped`. @returns ends the subscription
   */
  subscribe(channel: string, listener: (message: ChannelMessage) => void): () => void;
  /**
   * The messages that the channel keeps, oldest first: with `--data`, also those from before a restart. A message that is being
   * published is missing until its promise has resolved. @param last the number of newest messages; by default all
   * @throws RangeError if the name or the number is not valid
   */
  history(channel: string, last?: number): readonly ChannelMessage[];
}

/** What all connections of a module share. */
export interface Server<Data = unknown, State = unknown> {
  /** What the module's `state` returned. The next version of the module gets it. */
  state: State;
  readonly connections: ReadonlySet<Connection<Data>>;
  /** Sends to every member of the group but `except`. The message is framed once for all of them. */
  publish(group: string, message: Sendable, except?: Connection<Data>): void;
  /** The number of connections in the group. */
  members(group: string): number;
  readonly channels: Channels;
  readonly log: Log;
}

/**
 * A handler: the module's default export, or the module itself. Clients choose it by subprotocol or by path. If a function
 * throws, the connection it was called for is closed (1011); others are not affected.
 *
 * @typeParam Data the type of `connection.data`
 * @typeParam State the type of `server.state`
 */
export interface Handler<Data = unknown, State = unknown> {
  /** Its subprotocol and path, or several. The default is the file's name without its extension. */
  readonly name?: string;
  readonly names?: readonly string[];
  /** Returns the state that the module starts with. */
  state?(): State;
  /**
   * Called when this version replaces another. @param old the previous version's state
   * @returns the new state, or nothing to keep the old one. Do not change `old` if the state has a new shape: after a rollback
   *   the previous version continues with it
   */
  swap?(old: unknown, server: Server<Data, State>): State | void;
  /** Called when this version is no longer needed: it was replaced, or the server ends. Clear your timers here. */
  stopped?(): void;
  /** Called before the handshake is answered. Pages cannot see the status of a refused WebSocket. */
  admit?(request: AdmitRequest, server: Server<Data, State>): Admission;
  opened?(connection: Connection<Data>, server: Server<Data, State>): void | Promise<void>;
  /** Until a returned promise settles, this connection's next messages and its close wait; other connections do not. */
  message(connection: Connection<Data>, message: Message, server: Server<Data, State>): void | Promise<void>;
  /**
   * Called when the connection has ended, while it is still in its groups and in `server.connections`.
   * @param code the close code received or sent; 1005: a close frame without a code; 1006: no close frame
   */
  closed?(connection: Connection<Data>, code: number, reason: string, server: Server<Data, State>): void;
  /** Called by `pollywog call NAME WORD…`, which prints what it returns, or what its promise resolves to. */
  command?(words: readonly string[], server: Server<Data, State>): unknown;
  /** Called every `tickEvery` milliseconds (1000 by default), but not before its last promise has settled. */
  tick?(server: Server<Data, State>): void | Promise<void>;
  readonly tickEvery?: number;
}

/** A connection that speaks the module's own protocol. */
export interface WireConnection<Data = unknown> {
  readonly id: number;
  data: Data;
  readonly address: string;
  readonly isOpen: boolean;
  /** Queues bytes, or a string as UTF-8. Limited as `Connection.send` is. */
  send(bytes: string | Uint8Array): void;
  /** Ends the connection when all output is sent. */
  end(): void;
}

/** A wire: another protocol on the same port. The module's export `wire`. If a function throws, its connection is ended. */
export interface Wire<Data = unknown> {
  /** Its name in the log; by default the file's name without its extension. */
  readonly name?: string;
  /**
   * Whether a connection that starts with these bytes (1 to 512, valid during the call) speaks this protocol; `undefined` if
   * more bytes are needed to tell. Not called for HTTP requests and packets.
   */
  matches?(firstBytes: Buffer): boolean | undefined;
  /**
   * For protocols in which the server speaks first. Called for a client that connects to a `--listen URL?greet`, or that
   * sends nothing for `--greeting-delay`. Only one module may have this function.
   */
  greet?(connection: WireConnection<Data>, log: Log): void;
  /**
   * @param bytes all input that is not consumed yet (a copy)
   * @returns how many bytes it consumed; nothing means all. The rest, at most 64 KiB, comes again with the next input
   */
  receive(connection: WireConnection<Data>, bytes: Buffer, log: Log): number | void;
  /** Called before the server ends the connection: the last chance to send something. */
  goodbye?(connection: WireConnection<Data>, reason: string): void;
  /** Called when the connection has ended. */
  closed?(connection: WireConnection<Data>, log: Log): void;
}
