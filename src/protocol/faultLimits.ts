/** Limits of faults on demand (handlers/faults/). Clients choose the sizes. */

const KiB = 1024;
const MiB = 1024 * KiB;

/** Faults of one connection, and faults that `why` shows, former ones included. */
export const maxFaults = 16;

/** Bytes that the faults of one connection may hold before its socket is busy: enough for a delay of 200 ms at 5 MB/s. */
export const maxFaultHeld = 1 * MiB;

/** Milliseconds between the last bytes and a reset, because libuv reports a reset that arrives with bytes as an ordinary end. */
export const resetDelay = 20;

/** The inflated size of a bomb: 1000 times its size on the wire. By default ws accepts 100 MiB, Python's websockets 1 MiB. */
export const maxBomb = 1024 * MiB;

/** The payload of an endless fragment, and the milliseconds between two: 1.6 MB a second by default, 6.4 MB at most. */
export const maxFaultyFragment = 64 * KiB;
export const fragmentInterval = 10;

/** Pings of a flood: ten times the 10,000 that a client may reasonably queue before it answers. */
export const maxPingFlood = 100_000;
/** Pings of one burst; the next burst waits until the socket has taken them. 200 pings take some 4 KB. */
export const pingsAtOnce = 200;

/** Milliseconds between two bursts of a flood. */
export const floodInterval = 5;

/** Bytes per second of the fastest line. */
export const maxBandwidth = 1024 * MiB;
/** Milliseconds between two pieces of a limited bandwidth: short enough for a steady flow, though each piece takes a timer. */
export const bandwidthInterval = 10;

/** Milliseconds that the timers of all faults may take in each iteration of the event loop. A turn reads for 5 ms. */
export const faultTime = 2;

/** Bytes of a field added to the handshake's response. Clients accept whole responses of 8 KB to 1 MB. */
export const maxHugeHeader = 2 * MiB;

/** Random bytes sent instead of the response. */
export const maxGarbage = 1 * MiB;

/** Characters of a text that a URL or an option puts into a response, and of a fault in `why`. */
export const maxFaultText = 1000;
