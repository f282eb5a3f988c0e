/**
 * Watching directories that come and go. A watch holds on to the directory that it was opened on, so it goes blind when that
 * is removed and made again, or when a link to it is switched; and network and overlay file systems report nothing at all.
 * Its owner therefore looks at regular intervals too, and renews the watch each time.
 */
import { type FSWatcher, watch } from 'node:fs';
import { stat } from 'node:fs/promises';
import { basename } from 'node:path';
import type { Hop } from './links.ts';

/** Directories that one watch observes at most. Changes in others are found at the next regular look. */
const maxWatched = 64;

interface Watched {
  readonly watcher: FSWatcher;
  /** Differs if another directory has this path by now. */
  readonly identity: string;
  /** The names that matter in it; undefined: all. */
  names: ReadonlySet<string> | undefined;
}

export interface Watch {
  /**
   * Watches these from now on, and nothing else.
   * @param folders in which every name matters
   * @param hops single names that matter
   */
  renew(folders: readonly string[], hops: readonly Hop[]): Promise<void>;
  close(): void;
}

/**
 * Does not keep the process running.
 * @param changed gets the name of what changed in this folder, if the system says so
 * @param failed hears of each reason once
 */
export function newWatch(
  changed: (folder: string, name: string | undefined) => void,
  failed: (folder: string, reason: string) => void,
): Watch {
  const watched = new Map<string, Watched>();
  const reasons = new Set<string>();
  let isClosed = false;

  function drop(folder: string): void {
    watched.get(folder)?.watcher.close();
    watched.delete(folder);
  }

  async function observe(folder: string, names: ReadonlySet<string> | undefined): Promise<void> {
    const identity = await identityOf(folder);
    const known = watched.get(folder);
    if (known !== undefined && known.identity === identity) {
      known.names = names;
      return;
    }
    drop(folder);
    if (identity === undefined || isClosed) return;
    try {
      const watcher = watch(folder, { persistent: false }, (_, file) => {
        const wanted = watched.get(folder)?.names;
        // The directory reports its own removal by its own name.
        const matters =
          file === null || wanted === undefined || wanted.has(file) || file === basename(folder);
        if (matters) changed(folder, file ?? undefined);
      });
      watcher.on('error', () => drop(folder));
      watched.set(folder, { watcher, identity, names });
    } catch (error) {
      const reason = (error as Error).message;
      if (!reasons.has(reason) && reasons.size < maxWatched) failed(folder, reason);
      reasons.add(reason);
    }
  }

  return {
    async renew(folders, hops) {
      const wanted = new Map<string, Set<string> | undefined>(folders.map(folder => [folder, undefined]));
      for (const { folder, name } of hops) {
        if (!wanted.has(folder)) wanted.set(folder, new Set());
        wanted.get(folder)?.add(name);
      }
      for (const folder of watched.keys()) if (!wanted.has(folder)) drop(folder);
      for (const [folder, names] of [...wanted].slice(0, maxWatched)) await observe(folder, names);
    },
    close() {
      isClosed = true;
      for (const folder of [...watched.keys()]) drop(folder);
    },
  };
}

/** @returns undefined if there is no such directory */
async function identityOf(folder: string): Promise<string | undefined> {
  try {
    const { dev, ino, birthtimeMs } = await stat(folder);
    // File systems give a removed directory's number to the next one.
    return `${dev} ${ino} ${birthtimeMs}`;
  } catch {
    return undefined;
  }
}
