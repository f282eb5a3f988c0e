/** The log of all channels' messages: appending, syncing and closing. */

import { log } from '../../log/log.ts';
import { storageError } from '../disk.ts';
import { noteUnsynced, syncAll, syncInBackground } from '../sync.ts';
import { formatMark, formatRecord } from './line.ts';
import type { FolderLock } from './lock.ts';
import { purgeSegments } from './purge.ts';
import type { LogRecord, MessageLog } from './records.ts';
import { appendLines, closeCurrent, cutFailedAppend, type LogFiles, undoAppend } from './segments.ts';

/** An open log. */
export interface LogState {
  readonly files: LogFiles;
  readonly lock: FolderLock;
  readonly epoch: string;
  /** Identifies this boot of the system. */
  readonly boot: string | undefined;
  /** The highest number in the log. */
  lastSeq: number;
  /** Where the last append began, to undo it if it cannot be synced. */
  lastAppend: { readonly size: number; readonly inode: number; readonly lastSeq: number } | undefined;
  /** The first line of this server is not written yet; then it says whether messages before may have been lost. */
  pendingMark: { readonly isLossy?: true } | undefined;
  /** Resolved when no purge is running. Each waits for the one before. */
  purging: Promise<void>;
  isClosed: boolean;
}

const second = 1000;

/** @param state owned by the log from now on */
export function newMessageLog(state: LogState): MessageLog {
  const { files, epoch } = state;
  const timer =
    files.fsync === 'everysec' ? setInterval(() => void syncInBackground(files), second).unref() : undefined;
  return {
    epoch,
    work: files.work,
    append: records => appendRecords(state, records),
    sync: () => syncAppended(state),
    purge(channel, seq) {
      const purged = state.purging.then(() => purge(state, channel, seq));
      state.purging = purged.catch(() => {});
      return purged;
    },
    close() {
      clearInterval(timer);
      closeLog(state);
    },
  };
}

/** The line that says where the sequence continues. */
function markLine(state: LogState, time: number, flags: { isLossy?: true; isClosed?: true }): string {
  const { epoch, lastSeq, boot, files } = state;
  return formatMark({ epoch, next: lastSeq + 1, boot, fsync: files.fsync, ...flags }, time);
}

/**
 * Writes the first line of this server. If that fails, appends try again. The line is always synced: without it, a log that lost
 * its end in a crash of the system would seem to end with the regular end of an earlier server.
 */
export function beginLog(state: LogState): void {
  const { files } = state;
  const time = Date.now();
  const line = markLine(state, time, state.pendingMark ?? {});
  try {
    // A new segment begins with a mark anyway.
    appendLines(files, files.descriptor === undefined ? '' : line, () => line, time);
    state.pendingMark = undefined;
    files.disk.sync(files.path);
  } catch (error) {
    log('error', 'messages cannot be written', {
      error: storageError('append to', files.path, error).message,
    });
  }
}

function appendRecords(state: LogState, records: readonly LogRecord[]): void {
  const last = records.at(-1);
  if (last === undefined) return;
  const { files, epoch, lastSeq, lock } = state;
  if (lock.fault !== undefined) throw new Error(lock.fault);
  const time = Date.now();
  const mark = (isLossy: boolean) => markLine(state, time, isLossy ? { isLossy } : {});
  let lines = state.pendingMark === undefined ? '' : markLine(state, time, state.pendingMark);
  for (const record of records) lines += formatRecord(epoch, record);
  try {
    state.lastAppend = { ...appendLines(files, lines, mark, time), lastSeq };
  } catch (error) {
    throw storageError('append to', files.path, error);
  }
  state.pendingMark = undefined;
  state.lastSeq = last.seq;
}

function syncAppended(state: LogState): void {
  const { files, lastAppend } = state;
  if (files.fsync !== 'always') return;
  try {
    syncAll(files);
  } catch (error) {
    if (lastAppend !== undefined) {
      undoAppend(files, lastAppend);
      state.lastSeq = lastAppend.lastSeq;
      state.lastAppend = undefined;
    }
    throw error;
  }
  state.lastAppend = undefined;
}

const stoppedPurging = 'the server stopped before the messages were purged; purge the channel again';

async function purge(state: LogState, channel: string, seq: number): Promise<void> {
  const slices = purgeSegments(state.files, { epoch: state.epoch, channel, seq });
  for (;;) {
    const why = state.isClosed ? stoppedPurging : state.lock.fault;
    if (why !== undefined) {
      slices.return();
      throw new Error(why);
    }
    if (slices.next().done) return;
    await new Promise(resolve => setImmediate(resolve));
  }
}

function appendLastLine(state: LogState): void {
  const { files } = state;
  cutFailedAppend(files);
  // If the folder is gone, there is nothing to close.
  const time = Date.now();
  const mark = (isLossy: boolean) => markLine(state, time, isLossy ? { isLossy } : {});
  const line = markLine(state, time, { isClosed: true });
  if (files.descriptor !== undefined) appendLines(files, line, mark, 0);
}

function closeLog(state: LogState): void {
  const { files, lock } = state;
  if (state.isClosed) return;
  state.isClosed = true;
  try {
    if (lock.fault === undefined) appendLastLine(state);
  } catch (error) {
    log('warn', 'messages of a failed append may remain', { file: files.path, error: String(error) });
  }
  closeCurrent(files);
  lock.release();
  if (files.fsync === 'no') return;
  if (files.beingSynced !== undefined) noteUnsynced(files, files.beingSynced);
  syncAll(files);
}
