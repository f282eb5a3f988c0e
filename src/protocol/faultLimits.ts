/** The limits of faults on demand (handlers/faults/): whoever asks for a fault chooses its size. */

const MiB = 1024 * 1024;

/** Faults of one connection, and those that were turned off and are remembered for `why`. */
export const maxFaults = 16;

/** Bytes that the faults of one connection hold back; beyond this, the connection is busy. A delay of 200 ms at 5 MB/s. */
export const maxFaultHeld = 1 * MiB;

/** Milliseconds between the last bytes and a reset: libuv reports a reset that arrives with bytes as an ordinary end. */
export const resetDelay = 20;
