/** The directory of histories: each room has a current file and rotated files. */
import { accessSync, constants, readdirSync } from 'node:fs';
import { resolve } from 'node:path';
import { type Disk, makeFolder, realDisk, storageError } from './disk.ts';
import { parseRotatedName } from './fileNames.ts';
import { newOpenFiles } from './openFiles.ts';
import type { FileAllowance, Fsync, Store } from './records.ts';
import { closeRoom } from './room.ts';
import { noteUnsynced, syncAll, syncInBackground } from './sync.ts';

export interface StoreOptions {
  /** Created with mode 0700 if missing. Only one server may use it at a time. */
  readonly directory: string;
  readonly fsync: Fsync;
  /** The maximum size of a file in bytes, unless one append is larger. 0: no rotation. */
  readonly rotateAt?: number;
  /** Rotated files kept per room; 0: all. */
  readonly keep?: number;
  /** By default, only the store's own limit applies. */
  readonly allowance?: FileAllowance;
  /** For tests. */
  readonly disk?: Disk;
}

const MiB = 1024 * 1024;
const second = 1000;

/** Opens the directory, in whatever state a killed server left it. @throws Error */
export function openStore({
  directory,
  fsync,
  rotateAt = 16 * MiB,
  keep = 4,
  allowance,
  disk = realDisk,
}: StoreOptions): Store {
  const path = resolve(directory);
  const store: Store = {
    directory: path,
    fsync,
    rotateAt,
    keep,
    disk,
    rooms: new Map(),
    open: newOpenFiles(allowance),
    damaged: new Map(),
    rotated: findRotated(path),
    unsynced: new Set(),
    beingSynced: undefined,
    isSyncFailing: false,
    timer: undefined,
  };
  if (fsync === 'everysec') store.timer = setInterval(() => void syncInBackground(store), second).unref();
  return store;
}

function findRotated(directory: string): Map<string, number[]> {
  const rotated = new Map<string, number[]>();
  try {
    makeFolder(directory);
    accessSync(directory, constants.R_OK | constants.W_OK | constants.X_OK);
    for (const name of readdirSync(directory)) {
      const parsed = parseRotatedName(name);
      if (parsed === undefined) continue;
      const numbers = rotated.get(parsed.stem) ?? [];
      numbers.push(parsed.number);
      rotated.set(parsed.stem, numbers);
    }
  } catch (error) {
    throw storageError('keep rooms in', directory, error);
  }
  for (const numbers of rotated.values()) numbers.sort((a, b) => a - b);
  return rotated;
}

/**
 * Closes the store and every room. Syncs unless `fsync` is `no`.
 * @throws Error if a sync failed, with everything closed
 */
export function closeStore(store: Store): void {
  clearInterval(store.timer);
  for (const file of store.rooms.values()) closeRoom(file);
  if (store.beingSynced !== undefined) noteUnsynced(store, store.beingSynced);
  syncAll(store);
}
