/** The limits of conformance tests of clients (`--conformance`). */

/** Clients that one server tests. The server keeps the results of every case for each. */
export const maxAgents = 20;

/** Characters of an agent's name. */
export const maxAgentName = 200;

/** Reads and writes in the report of a case, and the bytes of each: a few KiB per report. */
export const maxWireLogLines = 40;
export const maxWireLogBytes = 64;
