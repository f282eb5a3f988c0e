/** The limits of the trace. */

/** Lines in a second: composing and writing them takes about half of a core. Others are dropped and counted. */
export const maxTraceRate = 10_000;

/** Bytes of all connections that later lines need: the beginning of texts in several frames. */
export const maxTraceMemory = 4 * 1024 * 1024;

/** Header fields of a request or response, and the characters of each. */
export const maxTracedHeadLines = 64;
export const maxTracedLine = 400;
