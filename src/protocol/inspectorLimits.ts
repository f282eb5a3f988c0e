/** The limits of the inspector (handlers/inspector/). Sizes are in bytes, times in milliseconds. */

const KiB = 1024;
const MiB = 1024 * KiB;

/** Inspectors at once, for all users: one on the screen and one on the projector. */
export const maxInspectors = 2;

/** Time between two messages with frames: short enough to look immediate. */
export const inspectorTick = 100;

/** Ticks between two comparisons of the list of connections. A comparison visits every connection. */
export const ticksPerList = 3;

/** Connections in an inspector's list. A page with more rows is neither fast nor readable. */
export const maxInspectedConnections = 500;

/** Channels in an inspector's list, which the workbench offers. */
export const maxInspectedChannels = 200;

/** Frames a second that an inspector decodes and shows. No one reads more, and decoding 10,000 would cost a tenth of a processor. */
export const maxInspectedFrames = 200;

/** Content that counts as one more of these frames: half a kilobyte can inflate to `maxDecodedFrame`. */
export const contentPerFrame = 16 * KiB;

/** Content of a frame that the page gets. The rest is in a recording. */
export const maxShownContent = 4 * KiB;

/** Frames of the watched connection that can be explained, and memory for their bytes. */
export const maxKeptFrames = 500;
export const maxKeptBytes = 1 * MiB;

/** The largest frame and message that an inspector decodes. It shows only the headers of larger ones. */
export const maxDecodedFrame = 256 * KiB;

/** Lines of an inspector's recording, for its export. `--record` has no such limit. */
export const maxExport = 2 * MiB;

/** Output queued for the page. Above this, frames are skipped and counted, and changes of the list wait. */
export const maxInspectorBacklog = 1 * MiB;

/** Workbench connections of an inspector. */
export const maxWorkbenches = 4;

/** Bytes of one `send` of the workbench: several frames of any kind, or one with an extended length of 64 bits. */
export const maxWorkbenchSend = 128 * KiB;

/** Bytes from the page that the server has not read from a workbench connection. Above this, `send` fails. */
export const maxWorkbenchInput = 256 * KiB;

/** Bytes of an answer in one message to the page. Until they are sent, the workbench takes no more from the server. */
export const maxWorkbenchAnswer = 64 * KiB;

/** Bytes of an answer that are decoded in one piece if they are compressed. They can inflate to five hundred times as much. */
export const maxCompressedAnswer = 8 * KiB;

/** Fields that the page adds to a workbench's handshake, and their characters together. */
export const maxWorkbenchFields = 32;
export const maxWorkbenchHead = 8 * KiB;

/** Lines of source around a place of the ledger. */
export const excerptLines = 9;
