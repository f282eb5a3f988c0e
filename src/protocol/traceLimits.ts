/** The limits of the trace. */

/** Lines in a second: composing them and writing them to a file takes a tenth of a core. Others are dropped and counted. */
export const maxTraceRate = 10_000;

/** Bytes of all connections that later lines need: the beginning of texts in several frames. */
export const maxTraceMemory = 4 * 1024 * 1024;

/** Header fields of a request or response, and the characters of each. */
export const maxTracedHeadLines = 64;
export const maxTracedLine = 400;
