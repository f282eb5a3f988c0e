/** Syncing: what is on disk survives a power failure. */
import { log } from '../log/log.ts';
import { errorCode, storageError } from './disk.ts';
import type { Store } from './records.ts';

/** Notes that `path` was written to, or that an entry of the directory `path` changed. */
export function noteUnsynced(store: Store, path: string): void {
  if (store.fsync !== 'no') store.unsynced.add(path);
}

/**
 * Called at the end of a turn. With `always`, syncs everything appended before, so that it may be acknowledged. Otherwise does
 * nothing.
 * @throws Error if a sync failed. The other files are synced, and the next call tries again.
 */
export function syncStore(store: Store): void {
  if (store.fsync === 'always') syncAll(store);
}

/** Syncs every noted path. @throws Error, like `syncStore` */
export function syncAll(store: Store): void {
  let failure: Error | undefined;
  for (const path of [...store.unsynced]) {
    try {
      store.disk.sync(path);
      store.unsynced.delete(path);
    } catch (error) {
      if (errorCode(error) === 'ENOENT') store.unsynced.delete(path);
      else failure ??= storageError('sync', path, error);
    }
  }
  if (failure !== undefined) throw failure;
}

/** Runs every second with `everysec`. One file at a time, to use one descriptor and one of Node's threads. */
export async function syncInBackground(store: Store): Promise<void> {
  if (store.beingSynced !== undefined) return;
  let failure: Error | undefined;
  for (const path of [...store.unsynced]) {
    // An append after this point notes the path again.
    if (!store.unsynced.delete(path)) continue;
    store.beingSynced = path;
    try {
      await store.disk.syncInBackground(path);
    } catch (error) {
      // Rotation removed the file.
      if (errorCode(error) === 'ENOENT') continue;
      failure ??= storageError('sync', path, error);
      store.unsynced.add(path);
    }
  }
  store.beingSynced = undefined;
  reportSync(store, failure);
}

/** Logs the start and the end of a failure, not every second. */
function reportSync(store: Store, failure: Error | undefined): void {
  const isFailing = failure !== undefined;
  if (isFailing && !store.isSyncFailing) log('error', 'sync failed', { error: failure.message });
  if (!isFailing && store.isSyncFailing) log('info', 'sync works again');
  store.isSyncFailing = isFailing;
}
