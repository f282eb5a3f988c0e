/** What the bench asks of a load process, and what it gets back: one JSON value each way. */

/** The server under load. */
export interface Target {
  readonly port: number;
  readonly pid: number;
  /** A plain TCP echo: no opening handshake, and bytes come back as they went. */
  readonly raw: boolean;
  /** By TLS, whatever the certificate. */
  readonly tls: boolean;
  /** It has the packet sub-protocol: members of a chat climb its ladder. To others the load sends what is to come back. */
  readonly packets: boolean;
  /** Unmeasured seconds before a sample, for the server's compiler and heap. */
  readonly warmUp: number;
  /** Length of a sample. CPU time comes in ticks of 10 ms: 2 s and more make one tick half a percent. */
  readonly seconds: number;
}

/** Each connection sends `inFlight` messages of `size` bytes in one write, awaits all of them, and starts again. */
export interface EchoJob {
  readonly kind: 'echo';
  readonly connections: number;
  readonly size: number;
  readonly inFlight: number;
}

/** One connection sends `inFlight` messages in one write; once every connection has them all, it starts again. */
export interface BroadcastJob {
  readonly kind: 'broadcast';
  readonly connections: number;
  readonly size: number;
  readonly inFlight: number;
}

/** A room: one member says `inFlight` messages in one write; once every member has them all, it goes on. */
export interface ChatJob {
  readonly kind: 'chat';
  readonly members: number;
  /** Bytes of a message's text. */
  readonly size: number;
  readonly inFlight: number;
}

/** Connect, upgrade, reset, and again, `parallel` at a time. */
export interface HandshakeJob {
  readonly kind: 'handshake';
  readonly parallel: number;
}

/** Memory of `connections` silent connections, opened after `warmUp` others that stay open. */
export interface IdleJob {
  readonly kind: 'idle';
  readonly warmUp: number;
  readonly connections: number;
}

export type Job = EchoJob | BroadcastJob | ChatJob | HandshakeJob | IdleJob;

export interface Sample {
  /** The row's figure: CPU µs a message, a delivery or a handshake; or KiB a connection. */
  readonly figure: number;
  /** Messages, deliveries or handshakes a second; connections for an idle job. */
  readonly perSecond: number;
  /** How much of one core the server used. Well below 1, the load was the slower side. */
  readonly cores: number;
}
