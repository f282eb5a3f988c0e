/** The interface of `import { connect } from 'pollywog/client'`: the client of `pollywog-client`, for programs and tests. */
import type { Buffer } from 'node:buffer';
import type { Socket } from 'node:net';

/**
 * The options of `pollywog-client --help` under "Connecting", by their long names in camel case, with values as on the command
 * line. `cert`, `key` and `ca` are paths.
 */
export interface ConnectOptions {
  /** Subprotocols to offer, in order of preference. */
  readonly subprotocol?: string | readonly string[] | undefined;
  /** Header fields, each as `Name: value`. */
  readonly header?: string | readonly string[] | undefined;
  readonly origin?: string | undefined;
  readonly cert?: string | undefined;
  readonly key?: string | undefined;
  readonly ca?: string | readonly string[] | undefined;
  readonly insecure?: boolean | undefined;
  /** Whether to offer permessage-deflate; `on` by default. */
  readonly compress?: 'on' | 'off' | undefined;
  /** For connecting and the handshake: `10s` by default. A number is in seconds. */
  readonly timeout?: string | number | undefined;
  /** How often to ping. By default, never. */
  readonly ping?: string | number | undefined;
  /** A larger message fails the connection (1009). */
  readonly maxMessage?: string | number | undefined;
}

/**
 * Connects to a WebSocket server: `ws://`, `wss://` or `unix:/PATH`. Resolves after the handshake; rejects with a sentence if
 * the connection fails, the server refuses it, or an option is wrong.
 */
export declare function connect(url: string, options?: ConnectOptions): Promise<Client>;

/**
 * Connects in the same way, but returns the socket, paused after the handshake: you read and write the frames yourself, after
 * TLS. Turn compression off (`compress: 'off'`) unless you implement it.
 */
export declare function connectSocket(url: string, options?: ConnectOptions): Promise<Socket>;

/** How a connection ended. Without a close frame, the code is 1006 (RFC 6455 §7.1.5). */
export interface Closing {
  readonly code: number;
  readonly reason: string;
}

/**
 * An open WebSocket. `for await (const message of client)` yields its messages until it is closed: a string for a text, bytes for
 * a binary message. Messages wait until you take them; beyond 1 MiB of them, the client stops reading.
 */
export interface Client extends AsyncIterable<string | Buffer> {
  /** The subprotocol that the server chose. */
  readonly subprotocol: string | undefined;
  /** Whether messages can be sent. */
  readonly isOpen: boolean;
  /** Resolves when the connection has ended. */
  readonly closed: Promise<Closing>;
  /** The next message; `undefined` after the last one. */
  next(): Promise<string | Buffer | undefined>;
  /** Sends a message. Resolves when the client can send more. Has no effect once the connection is closing. */
  send(message: string | Uint8Array): Promise<void>;
  /** Sends a ping of at most 125 bytes. Resolves to the milliseconds until its pong; rejects if the connection ends first. */
  ping(payload?: string | Uint8Array): Promise<number>;
  /** Sends bytes unchanged: a test can break any rule of framing. */
  sendRaw(bytes: Uint8Array): void;
  /** Starts the closing handshake, and discards the messages that you have not taken. Resolves when the connection has ended. */
  close(code?: number, reason?: string): Promise<Closing>;
  /** Ends the TCP connection at once. */
  destroy(): void;
  /** Lets the process end although the connection is open. */
  unref(): this;
  /** `await using client = await connect(url)` closes it at the end of the block. */
  [Symbol.asyncDispose](): Promise<void>;
}
