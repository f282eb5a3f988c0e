/** Limits of scripts (scripts/script.ts). Sizes are in bytes, times in milliseconds. */

const KiB = 1024;
const MiB = 1024 * KiB;

/** A script's file. One of this size has some 20,000 lines; a longer session is a recording. */
export const maxScriptFile = 1 * MiB;

/** Scripts in the folder of `--script`: each is parsed at the start and kept. */
export const maxScripts = 1000;

/** `repeat` within `repeat`. */
export const maxScriptDepth = 8;

/** Rounds of a counted `repeat`. One without a number repeats until the peer closes. */
export const maxScriptRounds = 1_000_000;

/** The payload of one frame, after `x N`: the default of `--max-message`. */
export const maxScriptPayload = 16 * MiB;

/** All payloads of a script after `x N`, since they are kept while the server runs. */
export const maxScriptPayloads = 64 * MiB;

/** The text that one variable keeps. */
export const maxScriptVariable = 64 * KiB;

/** Variables of a script. */
export const maxScriptVariables = 100;

/** How long a script waits for a frame, unless a line `timeout` changes it. Playwright waits 5 s for what a test expects, Cypress 4 s. */
export const scriptTimeout = 10_000;

/** Lines that one script plays before other connections are served. */
export const scriptActionsPerTurn = 100;

/** Received frames that no line has awaited yet, and their bytes. Beyond these the server stops reading. */
export const maxScriptBacklog = 100;
export const maxScriptBacklogBytes = 1 * MiB;
