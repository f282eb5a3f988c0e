/** The limits of recordings. Sizes are in bytes. */

const KiB = 1024;
const MiB = 1024 * KiB;

/** Characters of a recording's name, so that the name of its file fits every file system. */
export const maxRecordingName = 100;

/** The default of `--record-max`, for all recordings of a folder together. An hour of chat among twenty takes some 20 MB. */
export const defaultRecordMax = 100 * MiB;

/** A longer frame is recorded as bytes, piece by piece, and cannot be compared: the default of `--max-message`. */
export const maxRecordedFrame = 16 * MiB;

/** A message that is longer, without compression, is recorded without its content. */
export const maxRecordedMessage = 16 * MiB;

/** Memory of all recordings of a server: incomplete frames, and lines that wait for the disk. */
export const maxRecorderMemory = 32 * MiB;

/** A file that is replayed is read as a whole. */
export const maxReplayFile = 256 * MiB;

/** Milliseconds for which a replay waits for an expected message, as a script waits for a frame. */
export const replayPatience = 10_000;

/** Messages and bytes that a server may send ahead of the replay. Beyond them, the client stops reading. */
export const maxReplayBacklog = 10_000;
export const maxReplayBacklogBytes = 64 * MiB;

/** The largest recording that a server replays. Reading it blocks the loop for some 10 ms a megabyte. */
export const maxServedRecording = 16 * MiB;

/** Replayed recordings that a server keeps in memory. */
export const maxServedRecordings = 4;
