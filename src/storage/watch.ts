/**
 * Watching directories that may be replaced. A watch follows the directory that it was opened on, so it reports nothing after
 * that is removed and created again, or a link is switched; network and overlay file systems report nothing at all. The
 * owner of a watch therefore also scans at regular intervals, and renews the watch each time.
 */
import { type FSWatcher, watch } from 'node:fs';
import { stat } from 'node:fs/promises';
import { basename } from 'node:path';
import type { Hop } from './links.ts';

/** Directories per watch. Changes in others are found by the next scan. */
const maxWatched = 64;

interface Watched {
  readonly watcher: FSWatcher;
  /** Changes if the path leads to another directory. */
  readonly identity: string;
  /** Names to report; undefined: all. */
  names: ReadonlySet<string> | undefined;
}

export interface Watch {
  /**
   * Replaces the set of what is watched.
   * @param folders directories in which every name counts
   * @param hops single names
   */
  renew(folders: readonly string[], hops: readonly Hop[]): Promise<void>;
  close(): void;
}

/**
 * Creates a watch, which does not keep the process running.
 * @param changed called with the directory, and with the changed name if the system reports it
 * @param failed called once for each reason
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
        // A directory reports its own removal under its own name.
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

/** @returns undefined if the directory does not exist */
async function identityOf(folder: string): Promise<string | undefined> {
  try {
    const { dev, ino, birthtimeMs } = await stat(folder);
    // File systems reuse inode numbers, so the birth time counts, too.
    return `${dev} ${ino} ${birthtimeMs}`;
  } catch {
    return undefined;
  }
}
