/** The limits of recordings. Sizes are in bytes. */

const KiB = 1024;
const MiB = 1024 * KiB;

/** Characters of a recording's name, so that the name of its file fits every file system. */
export const maxRecordingName = 100;

/** All recordings of a folder together: the default of `--record-max`. An hour of chat among twenty takes some 20 MB. */
export const defaultRecordMax = 100 * MiB;

/** A longer frame is recorded as bytes, piece by piece, and cannot be compared: the default of `--max-message`. */
export const maxRecordedFrame = 16 * MiB;

/** A message that is longer, without compression, is recorded without its content. */
export const maxRecordedMessage = 16 * MiB;

/** What all recordings of a server hold in memory: incomplete frames, and lines that wait for the disk. */
export const maxRecorderMemory = 32 * MiB;

/** A file that is replayed is read as a whole. */
export const maxReplayFile = 256 * MiB;

/** Milliseconds for which a replay waits for what the recorded server sent, as a script waits for a frame. */
export const replayPatience = 10_000;

/** What a server may send ahead of the replay of a session, in messages and bytes. After that TCP makes it wait. */
export const maxReplayBacklog = 10_000;
export const maxReplayBacklogBytes = 64 * MiB;

/** A recording that a server replays. It is read at once, while others wait, and a megabyte takes some 10 ms. */
export const maxServedRecording = 16 * MiB;

/** Recordings that a server keeps in memory after they were replayed. */
export const maxServedRecordings = 4;
