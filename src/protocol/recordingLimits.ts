/** The limits of recordings. Sizes are in bytes. */

const KiB = 1024;
const MiB = 1024 * KiB;

/** Characters of a recording's name: its file name must fit every file system. */
export const maxRecordingName = 100;

/** The default of `--record-max`, for all recordings of a folder together. An hour of chat among 20 people takes some 20 MB. */
export const defaultRecordMax = 100 * MiB;

/** The recorder splits longer frames into pieces, and a replay cannot compare pieces. The default of `--max-message`. */
export const maxRecordedFrame = 16 * MiB;

/** The recorder leaves out the content of messages that are longer once inflated. */
export const maxRecordedMessage = 16 * MiB;

/** Memory of all recordings of a server: incomplete messages, windows of compression, and lines not yet written to disk. */
export const maxRecorderMemory = 32 * MiB;

/** The largest file that the client replays: it reads the whole file into memory. */
export const maxReplayFile = 256 * MiB;

/** Milliseconds that a replay waits for an expected message: as long as a script waits for a frame. */
export const replayPatience = 10_000;

/** Messages and bytes that a server may send ahead of the replay before the client stops reading. */
export const maxReplayBacklog = 10_000;
export const maxReplayBacklogBytes = 64 * MiB;

/** The largest recording that a server replays. Reading it blocks the loop for some 10 ms per megabyte. */
export const maxServedRecording = 16 * MiB;

/** Replayed recordings that a server keeps in memory. */
export const maxServedRecordings = 4;
