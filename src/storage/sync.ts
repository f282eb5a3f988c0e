/** When what was written is on the disk, for a power cut to leave it alone. */
import { log } from '../log/log.ts';
import { errorCode, storageError } from './disk.ts';
import type { Store } from './store.ts';

/** `path` was written to; for a directory, a file in it got or changed its name. */
export function noteUnsynced(store: Store, path: string): void {
  if (store.fsync !== 'no') store.unsynced.add(path);
}

/**
 * The end of a turn. With `always` it returns when the disk has all that was appended before, and what was said may be
 * acknowledged. Otherwise it does nothing.
 * @throws Error, a sentence, where a file's bytes may be lost; they are in the file all the same, and tried again with
 * the next call. The other files are synced.
 */
export function syncStore(store: Store): void {
  if (store.fsync === 'always') syncAll(store);
}

/** As `syncStore` with `always`. */
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

/** What `everysec` does once a second. One file after the other: it takes one descriptor, and one of Node's threads. */
export async function syncInBackground(store: Store): Promise<void> {
  if (store.beingSynced !== undefined) return;
  let failure: Error | undefined;
  for (const path of [...store.unsynced]) {
    // What is appended from here on wants another time.
    if (!store.unsynced.delete(path)) continue;
    store.beingSynced = path;
    try {
      await store.disk.syncInBackground(path);
    } catch (error) {
      // The file went to make room for newer ones.
      if (errorCode(error) === 'ENOENT') continue;
      failure ??= storageError('sync', path, error);
      store.unsynced.add(path);
    }
  }
  store.beingSynced = undefined;
  reportSync(store, failure);
}

/** Once an episode, not once a second. */
function reportSync(store: Store, failure: Error | undefined): void {
  const isFailing = failure !== undefined;
  if (isFailing && !store.isSyncFailing) log('error', 'sync failed', { error: failure.message });
  if (!isFailing && store.isSyncFailing) log('info', 'sync works again');
  store.isSyncFailing = isFailing;
}
