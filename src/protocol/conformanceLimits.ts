/** The limits of conformance tests of clients (`--conformance`), as those in `limits.ts`. */

/** Clients that one server tests, each with its results of every case. */
export const maxAgents = 20;

/** Characters of the name of an agent. */
export const maxAgentName = 200;

/** Reads and writes of a case that its report shows, and the bytes that it shows of each: a few KiB a report. */
export const maxWireLogLines = 40;
export const maxWireLogBytes = 64;
