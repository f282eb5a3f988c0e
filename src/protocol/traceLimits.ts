/** The limits of the trace. */

/** Lines in a second: composing them and writing them to a file takes a tenth of a core. Others are dropped and counted. */
export const maxTraceRate = 10_000;

/** Memory for the incomplete messages of all traced connections, bytes. */
export const maxTraceMemory = 4 * 1024 * 1024;

/** Traced header fields of a request or response, and characters of each. */
export const maxTracedHeadLines = 64;
export const maxTracedLine = 400;
