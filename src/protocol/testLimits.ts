/** Limits and times of a server in a test's process (index.ts). */

/**
 * Deadlines for tests (`timeouts: 'test'`), milliseconds. A test waits for none of them longer than a second, and a busy machine
 * still keeps them: the clock stands still while the process is blocked.
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

/** Events of a server that `server.events` and `server.waitFor` still find: some 0.5 MB. */
export const maxKeptEvents = 1000;

/** The default timeout of `server.waitFor`: less than that of a test in Jest and Vitest, 5 s. */
export const defaultEventWait = 4000;

/** Bytes of received messages that a client keeps until they are taken; beyond, it stops reading. As the server's send queue. */
export const maxUntakenMessages = 1024 * 1024;

/** Frames of all connections that `connection.frames` still finds, and bytes of each: 2 MB together. */
export const maxSeenFrames = 2000;
export const maxSeenPayload = 1024;
