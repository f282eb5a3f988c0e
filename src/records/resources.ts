/** The resources of a server, as plain numbers: descriptors, memory, time, the connections of an address. */

export interface Counters {
  turns: number;
  accepted: number;
  /** Handshakes and requests answered with an error. */
  refused: number;
  messagesIn: number;
  /** Slow consumers closed (1013). */
  fellBehind: number;
  /** Closed because all connections together held more than `maxMemory`. */
  evicted: number;
  /** Requests to the app of `--auth-url`, failures, and questions answered from the cache. */
  appRequests: number;
  appFailures: number;
  appCacheHits: number;
}

/** The use of one address: an IPv4 address, or an IPv6 network /64, which providers assign to one customer. */
export interface AddressUse {
  readonly address: string;
  /** Connections with a socket, and those among them that are clients. */
  sockets: number;
  clients: number;
  /** Polling sessions. */
  polled: number;
}

/** A token bucket (core/rates.ts). */
export interface Bucket {
  /** Negative if messages were processed after the last token was spent. */
  tokens: number;
  /** When the bucket was last refilled, as `server.now`. */
  at: number;
  /** Runs while the connection is paused. */
  pause: NodeJS.Timeout | undefined;
}

/** The log lines of an address (core/addressLog.ts). */
export interface AddressLines extends Bucket {
  omitted: number;
}

export interface Descriptors {
  /** How many this process may have open at once (RLIMIT_NOFILE); Infinity if the system does not say. */
  readonly limit: number;
  /** Listening sockets. */
  listeners: number;
  /** Pipes to and from programs. */
  pipes: number;
  /** Files of the site that are being sent (`--static`). */
  files: number;
  /** Connections to the app of `--auth-url`. */
  app: number;
}

/** A server's use of memory, in bytes, besides queued output, which its `arena` counts. */
export interface MemoryUse {
  /** The sum of `connection.held`. */
  connections: number;
  /** The histories of rooms. */
  histories: number;
  /** Drops the oldest messages until at most this many bytes are left. */
  trimHistories(most: number): void;
  /** Questions that wait for the app of `--auth-url`, and its answers. */
  app: number;
  /** Input of programs whose clients have left. */
  programs: number;
  /** Discards such input, the largest first, until at most this many bytes are left. */
  trimPrograms(most: number): void;
}

/** The timer of all deadlines together. */
export interface DeadlineTimer {
  timer: NodeJS.Timeout | undefined;
  /** The timer fired, and not all deadlines have been checked since. */
  isDue: boolean;
  /** The first id that the check has not reached; 0 if no check was interrupted. */
  nextId: number;
  /** When the timer fires, as in `server.now`; 0: it is not set. */
  dueAt: number;
  /** The last check was postponed, because the process had not run for a while. */
  wasPostponed: boolean;
}
