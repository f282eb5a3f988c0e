/**
 * What `import { listen } from 'pollywog'` offers: a server in the process of a test. The types here are those of the package.
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
  /** Scripts by name, each a text (pollywog help scripts) that is played at `/script/NAME`; or the folder of scripts. */
  readonly script?: Readonly<Record<string, string>> | string | undefined;
  /** `test` shortens all deadlines that are not given: none is longer than a second. */
  readonly timeouts?: 'test' | undefined;
};

/** A handler (its functions), or all that a module exports: a default export, a wire. */
export type GivenHandler =
  // biome-ignore lint/suspicious/noExplicitAny: the handler's own types of data and state do not matter here
  | modules.Handler<any, any>
  // biome-ignore lint/suspicious/noExplicitAny: as above
  | { readonly default?: modules.Handler<any, any>; readonly wire?: modules.Wire<any> };

/** Starts a server in this process. Rejects with an Error if an option is unknown or invalid, or it cannot listen. */
export declare function listen(options?: ListenOptions): Promise<TestServer>;

export interface TestServer {
  /** Of the first listener: `ws://127.0.0.1:40123`, or `wss://…` with a certificate; append a path. */
  readonly url: string;
  /** Its TCP port; 0 for a Unix socket. */
  readonly port: number;
  /** The connections that have a handler: WebSockets, polling sessions, lines and packets; by id. */
  readonly connections: readonly ServerConnection[];
  /** The commands of `pollywog --help`, which return what `--json` prints. */
  readonly commands: Commands;
  /**
   * The events of the log, of all levels, as `pollywog watch --json` prints them. Each loop over it begins with the events since
   * the start or the last `reset`, and ends when the server has closed. A reader that is too slow loses the oldest events, and
   * gets an event `events lost` with their `count`.
   */
  readonly events: AsyncIterable<ServerEvent>;
  /**
   * Resolves to the first event since the start or the last `reset` that `isWanted` accepts, whether it is past or still to
   * come. Rejects after `timeout` milliseconds (4000), and when the server closes.
   */
  waitFor(isWanted: (event: ServerEvent) => boolean, options?: WaitOptions): Promise<ServerEvent>;
  /**
   * For the time between two tests: closes all connections, and forgets events, channels, rooms, counters, traces, the state of
   * handlers, and options changed by `set`. The port stays.
   */
  reset(): Promise<void>;
  /** Closes all connections (1001) and the server. Resolves when nothing is left of it. */
  close(): Promise<void>;
  /** `await using server = await listen()` closes it at the end of the block. */
  [Symbol.asyncDispose](): Promise<void>;
  /** Lets the process end although the server is open. */
  unref(): this;
}

export interface WaitOptions {
  /** Milliseconds; 0: no limit. */
  readonly timeout?: number;
  /** Only later events count. */
  readonly after?: ServerEvent;
}

export interface ServerEvent {
  /** Counts the events of this server. */
  readonly number: number;
  /** ISO 8601. */
  readonly time: string;
  readonly level: 'error' | 'warn' | 'info' | 'debug';
  /** Such as `connected`, `opened`, `closed`, `handler threw`. */
  readonly event: string;
  /** The connection. */
  readonly id?: number;
  /** Such as its `address`, the `code` and the `reason` of its end, and `by` whom and `why` it ended. */
  readonly [field: string]: string | number | boolean | undefined;
}

/** A connection as the server sees it. The object stays valid when the connection has ended. */
export interface ServerConnection {
  readonly id: number;
  /** The client's IP address and port. */
  readonly address: string;
  /** The name of its handler, or of its last one. */
  readonly handler: string | undefined;
  readonly user: string | undefined;
  /** Whether `send` still has an effect. */
  readonly isOpen: boolean;
  /** Its frames, oldest first, as long as they are among the last 2,000 of the server. */
  readonly frames: readonly SeenFrame[];
  /** Queues a text message, or a binary one for bytes, which are copied. */
  send(message: string | Uint8Array): void;
  /** Starts the closing handshake (1000 by default). @throws RangeError if a close frame cannot have this code */
  close(code?: number, reason?: string): void;
  /**
   * Replaces its faults (pollywog help faults): `fault('stall')`, `fault('delay=200ms', 'seed=7')`, `fault('off')`.
   * @returns the faults, as they were written @throws Error for a fault that does not exist, or that it cannot have
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
  /** The first 1,024 bytes of the payload, unmasked, as far as they had arrived with the header. */
  readonly payload: Buffer;
}

/**
 * Each command takes the words of its command line, a last one of any number of words as one string, and bytes for `--binary`.
 * Options follow as an object: `publish('orders', 'x', { event: 'new' })`. It rejects with an Error if the server refuses.
 */
export type Commands = {
  // biome-ignore lint/suspicious/noExplicitAny: the result is JSON, and depends on the command
  readonly [Name in CommandName]: (...words: readonly CommandWord[]) => Promise<any>;
} & {
  /** The same as `server.events`. */
  readonly watch: () => AsyncIterable<ServerEvent>;
};

export type CommandWord = string | number | Uint8Array | Readonly<Record<string, unknown>>;

/** The commands of the table in commands/commands.ts, but for `watch`. */
export type CommandName =
  | ('list' | 'rooms' | 'presence' | 'info' | 'metrics')
  | ('channels' | 'history' | 'forget' | 'send' | 'publish' | 'broadcast')
  | ('ping' | 'why' | 'trace' | 'record' | 'disconnect' | 'fault' | 'call')
  | ('set' | 'get' | 'reload' | 'drain' | 'stop');
