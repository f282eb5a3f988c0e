/** Limits and times of a server in a test's process (index.ts). */

/**
 * Deadlines for tests (`timeouts: 'test'`), in milliseconds. None makes a test wait longer than a second. They hold on a busy
 * machine, because the server's clock stops while the process is blocked.
 */
export const testTimeouts = {
  handshakeTimeout: 1000,
  pingInterval: 1000,
  pongTimeout: 500,
  keepAlive: 1000,
  closeTimeout: 250,
  pollTimeout: 1000,
  drainTimeout: 250,
  handlerTimeout: 1000,
  authTimeout: 500,
  execGrace: 250,
  presenceGrace: 100,
} as const;

/** The last events that a server keeps for `server.events` and `server.waitFor`: about 0.5 MB. */
export const maxKeptEvents = 1000;

/** The default timeout of `server.waitFor`: shorter than the 5 s that Jest and Vitest give a test. */
export const defaultEventWait = 4000;

/** Bytes of received messages that a client keeps for the test before it stops reading; as large as the server's send queue. */
export const maxUntakenMessages = 1024 * 1024;

/** The last frames that a server keeps for `connection.frames`, and the bytes of each: 2 MB together. */
export const maxSeenFrames = 2000;
export const maxSeenPayload = 1024;
