/** The job that the bench gives to a load process, and the sample that it gets back, each as one JSON value. */

/** The server under load. */
export interface Target {
  readonly port: number;
  readonly pid: number;
  /** A plain TCP echo without a handshake, which returns the bytes unchanged. */
  readonly raw: boolean;
  /** Over TLS, with any certificate. */
  readonly tls: boolean;
  /** The server has the packet sub-protocol. To others, the load sends the bytes that must come back. */
  readonly packets: boolean;
  /** Seconds before the sample, in which the server compiles its code and sizes its heap. */
  readonly warmUp: number;
  /** Length of a sample. CPU time comes in ticks of 10 ms: 2 s and more make one tick half a percent. */
  readonly seconds: number;
}

/** Each connection sends `inFlight` messages of `size` bytes in one write, waits for all echoes, and repeats. */
export interface EchoJob {
  readonly kind: 'echo';
  readonly connections: number;
  readonly size: number;
  readonly inFlight: number;
}

/** One connection sends `inFlight` messages in one write, and repeats once every connection has all of them. */
export interface BroadcastJob {
  readonly kind: 'broadcast';
  readonly connections: number;
  readonly size: number;
  readonly inFlight: number;
}

/** A room: one member posts `inFlight` messages in one write, and repeats once every member has all of them. */
export interface ChatJob {
  readonly kind: 'chat';
  readonly members: number;
  /** Bytes of a message's text. */
  readonly size: number;
  readonly inFlight: number;
}

/** Messages of `size` bytes are published over HTTP in a channel, one at a time, and each goes to all subscribers. */
export interface ChannelJob {
  readonly kind: 'channel';
  readonly transport: 'websocket' | 'eventsource';
  readonly subscribers: number;
  readonly size: number;
  /**
   * CPU µs a delivery; the 99th percentile of the milliseconds from a publish to its last delivery; or the memory of the first
   * subscribers of a fresh server, in KiB each.
   */
  readonly figure: 'cpu' | 'p99' | 'memory';
}

/** Servers that demand a token of publishers get this one. */
export const publishToken = 'the-token-of-the-benchmark';

/** Connects, upgrades and resets, again and again, `parallel` connections at a time. */
export interface HandshakeJob {
  readonly kind: 'handshake';
  readonly parallel: number;
}

/** The memory of `connections` silent connections, opened after `warmUp` others, which stay open. */
export interface IdleJob {
  readonly kind: 'idle';
  readonly warmUp: number;
  readonly connections: number;
}

export type Job = EchoJob | BroadcastJob | ChatJob | ChannelJob | HandshakeJob | IdleJob;

export interface Sample {
  /** The row's figure: CPU µs a message, a delivery or a handshake; KiB a connection; or milliseconds. */
  readonly figure: number;
  /** Messages, deliveries or handshakes a second; connections for an idle job. */
  readonly perSecond: number;
  /** The part of one core that the server used. Well below 1, the load was the bottleneck. */
  readonly cores: number;
}
