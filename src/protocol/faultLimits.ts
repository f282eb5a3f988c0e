/** Limits of faults on demand (handlers/faults/), whose sizes clients choose. */

const KiB = 1024;
const MiB = 1024 * KiB;

/** Faults of one connection, including those turned off, which `why` shows. */
export const maxFaults = 16;

/** Bytes that the faults of one connection hold back; beyond this, the connection is busy. A delay of 200 ms at 5 MB/s. */
export const maxFaultHeld = 1 * MiB;

/** Milliseconds between the last bytes and a reset: libuv reports a reset that arrives with bytes as an ordinary end. */
export const resetDelay = 20;

/** The inflated size of a bomb, a thousand times its size on the wire. ws takes 100 MiB by default, websockets (Python) 1 MiB. */
export const maxBomb = 1024 * MiB;

/** Payload of one of the endless fragments, and the milliseconds between two: 1.6 MB a second by default, 6.4 at most. */
export const maxFaultyFragment = 64 * KiB;
export const fragmentInterval = 10;

/** Pings of a flood: twice the 10,000 that a client may reasonably queue before it answers. */
export const maxPingFlood = 100_000;
/** Pings at once; then the socket must have taken them. 200 of them have 12 KB. */
export const pingsAtOnce = 200;

/** Milliseconds between two bursts of a flood. */
export const floodInterval = 5;

/** Bytes per second of the slowest and the fastest line. */
export const maxBandwidth = 1024 * MiB;
/** Milliseconds between two pieces of a limited bandwidth: short enough for a steady flow, and one timer for each. */
export const bandwidthInterval = 10;

/** Milliseconds of each iteration of the event loop for the timers of all faults. A turn reads for 5. */
export const faultTime = 2;

/** Bytes of a field added to the handshake's response. Clients allow 8 KB to 1 MB for the whole of it. */
export const maxHugeHeader = 2 * MiB;

/** Random bytes instead of the response. */
export const maxGarbage = 1 * MiB;

/** Characters of a text that a URL or an option puts into a response; and of a fault, as `why` shows it. */
export const maxFaultText = 1000;
