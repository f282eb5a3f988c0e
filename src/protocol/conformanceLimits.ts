/** The limits of conformance tests of clients (`--conformance`), as those in `limits.ts`. */

/** Clients that one server tests, each with its results of every case. */
export const maxAgents = 20;

/** Characters of the name of an agent. */
export const maxAgentName = 200;

/** The most reads and writes that the report of a case shows, and bytes of each: a few KiB a report. */
export const maxWireLogLines = 40;
export const maxWireLogBytes = 64;
