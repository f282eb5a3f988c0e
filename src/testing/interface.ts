/**
 * The types of the package. `import { listen } from 'pollywog'` opens a server in the process of a test.
 */
import type { Buffer } from 'node:buffer';
import type * as modules from '../handlers/modules/interface.ts';
import type { ListenOptionName } from '../options/object.ts';

export type * from '../handlers/modules/interface.ts';

/** A value as in the configuration file: a number, or a word of the command line such as `1MB` or `30s`. */
export type OptionValue = string | number | boolean;

/**
 * The options of `pollywog --help`, by their long names in camel case. By default the server listens on a free port of 127.0.0.1,
 * writes no log, and has no control socket.
 */
export type ListenOptions = {
  readonly [Name in Exclude<ListenOptionName, 'handlers' | 'script'>]?:
    | OptionValue
    | readonly OptionValue[]
    | undefined;
} & {
  /** Handlers by name, each an object as a module exports it; or the folder of modules. */
  readonly handlers?: Readonly<Record<string, GivenHandler>> | string | undefined;
  /** Scripts by name, each a text (pollywog help scripts) for `/script/NAME`; or the folder of scripts. */
  readonly script?: Readonly<Record<string, string>> | string | undefined;
  /** `test` shortens all deadlines to a second or less, except those that other options set. */
  readonly timeouts?: 'test' | undefined;
};

/** A handler (its functions), or the exports of a module: `default`, `wire`. */
export type GivenHandler =
  // biome-ignore lint/suspicious/noExplicitAny: the handler's own types of data and state do not matter here
  | modules.Handler<any, any>
  // biome-ignore lint/suspicious/noExplicitAny: as above
  | { readonly default?: modules.Handler<any, any>; readonly wire?: modules.Wire<any> };

/** Starts a server in this process. Rejects with an Error if an option is unknown or invalid, or the server cannot listen. */
export declare function listen(options?: ListenOptions): Promise<TestServer>;

export interface TestServer {
  /** The first listener's URL: `ws://127.0.0.1:40123`, or `wss://…` with a certificate. Append a path. */
  readonly url: string;
  /** The first listener's TCP port; 0 for a Unix socket. */
  readonly port: number;
  /** The connections that have a handler: WebSockets, polling sessions, lines and packets; ordered by id. */
  readonly connections: readonly ServerConnection[];
  /** The commands of `pollywog --help`. Each returns the result that `--json` prints. */
  readonly commands: Commands;
  /**
   * The events of the log, of all levels, as `pollywog watch --json` prints them. Each loop begins with the events since
   * the start or the last `reset`, and ends when the server has closed. A reader that is too slow loses the oldest events, and
   * gets an event `events lost` with their `count`.
   */
  readonly events: AsyncIterable<ServerEvent>;
  /**
   * Resolves to the first event since the start or the last `reset` that `isWanted` accepts, past or future.
   * Rejects after `timeout` milliseconds (4000), and when the server closes.
   */
  waitFor(isWanted: (event: ServerEvent) => boolean, options?: WaitOptions): Promise<ServerEvent>;
  /**
   * Prepares the server for the next test: closes all connections, and forgets events, channels, rooms, counters, traces, the
   * state of handlers, and options changed by `set`. The port stays the same.
   */
  reset(): Promise<void>;
  /** Closes all connections (1001) and the server. Resolves when all its resources are released. */
  close(): Promise<void>;
  /** `await using server = await listen()` closes it at the end of the block. */
  [Symbol.asyncDispose](): Promise<void>;
  /** Lets the process exit while the server is open. */
  unref(): this;
}

export interface WaitOptions {
  /** Milliseconds; 0: no limit. */
  readonly timeout?: number;
  /** Only events after this one count. */
  readonly after?: ServerEvent;
}

export interface ServerEvent {
  /** The server numbers its events, from 1. */
  readonly number: number;
  /** ISO 8601. */
  readonly time: string;
  readonly level: 'error' | 'warn' | 'info' | 'debug';
  /** Such as `connected`, `opened`, `closed`, `handler threw`. */
  readonly event: string;
  /** The connection. */
  readonly id?: number;
  /** Such as the connection's `address`; when it closes, also `code`, `reason`, `by` and `why`. */
  readonly [field: string]: string | number | boolean | undefined;
}

/** The server's side of a connection. The object stays valid after the connection has ended. */
export interface ServerConnection {
  readonly id: number;
  /** The client's IP address and port. */
  readonly address: string;
  /** The name of its handler; after the end, of its last one. */
  readonly handler: string | undefined;
  readonly user: string | undefined;
  /** Whether `send` still has an effect. */
  readonly isOpen: boolean;
  /** Its frames among the server's last 2,000, oldest first. */
  readonly frames: readonly SeenFrame[];
  /** Queues a string as a text message, or a copy of bytes as a binary message. */
  send(message: string | Uint8Array): void;
  /** Starts the closing handshake (1000 by default). @throws RangeError if a close frame cannot have this code */
  close(code?: number, reason?: string): void;
  /**
   * Replaces its faults (pollywog help faults): `fault('stall')`, `fault('delay=200ms', 'seed=7')`, `fault('off')`.
   * @returns the faults as given @throws Error for an unknown fault, or one that this connection cannot have
   */
  fault(...faults: readonly string[]): readonly string[];
}

/** A frame that the server read or sent. */
export interface SeenFrame {
  /** As in the trace: `<` was received, `>` is sent. */
  readonly direction: '<' | '>';
  /** Milliseconds since the epoch. */
  readonly time: number;
  /** 1 is text, 2 binary, 0 a continuation, 8 close, 9 ping, 10 pong (RFC 6455 §5.2). -1: bytes without a frame, such as the handshake. */
  readonly opcode: number;
  readonly isFinal: boolean;
  /** RSV1: the message is compressed (RFC 7692). */
  readonly isCompressed: boolean;
  /** The length of the whole payload. */
  readonly length: number;
  /** The first 1,024 bytes of the payload, unmasked; fewer if they arrived after the header. */
  readonly payload: Buffer;
}

/**
 * A command takes the words of its command line as arguments. The text of `send` or `publish` is one string, or bytes for
 * `--binary`. Options follow as an object: `publish('orders', 'x', { event: 'new' })`. It rejects with an Error if the server
 * refuses.
 */
export type Commands = {
  // biome-ignore lint/suspicious/noExplicitAny: the result is JSON, and depends on the command
  readonly [Name in CommandName]: (...words: readonly CommandWord[]) => Promise<any>;
} & {
  /** The same as `server.events`. */
  readonly watch: () => AsyncIterable<ServerEvent>;
};

export type CommandWord = string | number | Uint8Array | Readonly<Record<string, unknown>>;

/** The commands of the table in commands/commands.ts, except `watch`. */
export type CommandName =
  | ('list' | 'rooms' | 'presence' | 'info' | 'metrics')
  | ('channels' | 'history' | 'forget' | 'send' | 'publish' | 'broadcast')
  | ('ping' | 'why' | 'trace' | 'record' | 'disconnect' | 'fault' | 'call')
  | ('set' | 'get' | 'reload' | 'drain' | 'stop');
