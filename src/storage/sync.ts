/** Syncing: what is on disk survives a power failure. */
import { log } from '../log/log.ts';
import { type Disk, errorCode, storageError } from './disk.ts';

/** When to sync: at the end of each turn, in the background every second, or never. */
export type Fsync = 'always' | 'everysec' | 'no';

/** Writes and syncs since the start. */
export interface DiskWork {
  writes: number;
  bytes: number;
  syncs: number;
  /** Writes and syncs that failed. */
  failures: number;
}

/** The files to sync. */
export interface Syncing {
  readonly fsync: Fsync;
  readonly disk: Disk;
  /** Absolute paths of files and directories to sync. */
  readonly unsynced: Set<string>;
  /** The path being synced in the background. */
  beingSynced: string | undefined;
  isSyncFailing: boolean;
  readonly work: DiskWork;
}

/** Notes that `path` was written to, or that an entry of the directory `path` changed. */
export function noteUnsynced(files: Syncing, path: string): void {
  if (files.fsync !== 'no') files.unsynced.add(path);
}

/** Syncs every noted path. @throws Error if a sync failed. The other files are synced, and the next call tries again. */
export function syncAll(files: Syncing): void {
  let failure: Error | undefined;
  for (const path of [...files.unsynced]) {
    try {
      files.work.syncs++;
      files.disk.sync(path);
      files.unsynced.delete(path);
    } catch (error) {
      if (errorCode(error) === 'ENOENT') files.unsynced.delete(path);
      else {
        files.work.failures++;
        failure ??= storageError('sync', path, error);
      }
    }
  }
  if (failure !== undefined) throw failure;
}

/** Runs every second with `everysec`. One file at a time, to use one descriptor and one of Node's threads. */
export async function syncInBackground(files: Syncing): Promise<void> {
  if (files.beingSynced !== undefined) return;
  let failure: Error | undefined;
  for (const path of [...files.unsynced]) {
    // An append after this point notes the path again.
    if (!files.unsynced.delete(path)) continue;
    files.beingSynced = path;
    try {
      files.work.syncs++;
      await files.disk.syncInBackground(path);
    } catch (error) {
      // Rotation removed the file.
      if (errorCode(error) === 'ENOENT') continue;
      files.work.failures++;
      failure ??= storageError('sync', path, error);
      files.unsynced.add(path);
    }
  }
  files.beingSynced = undefined;
  reportSync(files, failure);
}

/** Logs the start and the end of a failure, not every second. */
function reportSync(files: Syncing, failure: Error | undefined): void {
  const isFailing = failure !== undefined;
  if (isFailing && !files.isSyncFailing) log('error', 'sync failed', { error: failure.message });
  if (!isFailing && files.isSyncFailing) log('info', 'sync works again');
  files.isSyncFailing = isFailing;
}
