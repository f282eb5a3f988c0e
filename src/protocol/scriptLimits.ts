/** Limits of scripts (scripts/script.ts). Sizes are in bytes, times in milliseconds. */

const KiB = 1024;
const MiB = 1024 * KiB;

/** The file of a script: some 20,000 lines. Longer sessions are better recorded and replayed. */
export const maxScriptFile = 1 * MiB;

/** Scripts in the folder of `--script`: the server parses all of them at its start and keeps them. */
export const maxScripts = 1000;

/** The depth of nested `repeat` blocks. */
export const maxScriptDepth = 8;

/** Rounds of a counted `repeat`. A `repeat` without a number goes on until the peer closes. */
export const maxScriptRounds = 1_000_000;

/** The payload of one frame, after `x N`: the default of `--max-message`. */
export const maxScriptPayload = 16 * MiB;

/** All payloads of a script together, after `x N`: the server keeps them while it runs. */
export const maxScriptPayloads = 64 * MiB;

/** The value of a variable. */
export const maxScriptVariable = 64 * KiB;

/** Variables of a script. */
export const maxScriptVariables = 100;

/** How long a script waits for a frame, without a `timeout` line. Assertions wait 5 s in Playwright and 4 s in Cypress. */
export const scriptTimeout = 10_000;

/** Lines that a script plays before the server serves other connections. */
export const scriptActionsPerTurn = 100;

/** Received frames that no line has awaited yet, and their bytes. If a script has as many, the server stops reading. */
export const maxScriptBacklog = 100;
export const maxScriptBacklogBytes = 1 * MiB;
