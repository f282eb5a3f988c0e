/** The directory in which rooms outlive the server: a file a room, and those it was rotated to. */
import { accessSync, constants, readdirSync } from 'node:fs';
import { resolve } from 'node:path';
import type { DamagedFiles } from './damage.ts';
import { type Disk, makeFolder, realDisk, storageError } from './disk.ts';
import { parseRotatedName } from './fileNames.ts';
import { type FileAllowance, newOpenFiles, type OpenFiles } from './openFiles.ts';
import { closeRoom, type RoomFile } from './room.ts';
import { noteUnsynced, syncAll, syncInBackground } from './sync.ts';

/** When the disk is waited for: at the end of each turn, in the background once a second, or never. */
export type Fsync = 'always' | 'everysec' | 'no';

export interface StoreOptions {
  /** Made, for this user alone, if there is none. One server uses it at a time. */
  readonly directory: string;
  readonly fsync: Fsync;
  /** Bytes; a file does not grow beyond it, unless one call appends more than that. 0: files are not rotated. */
  readonly rotateAt?: number;
  /** Rotated files a room keeps; 0: all. */
  readonly keep?: number;
  /** Without it, only the store's own bound holds. */
  readonly allowance?: FileAllowance;
  /** For tests. */
  readonly disk?: Disk;
}

export interface Store {
  /** Absolute. */
  readonly directory: string;
  readonly fsync: Fsync;
  readonly rotateAt: number;
  readonly keep: number;
  readonly disk: Disk;
  /** The open rooms, by the beginning of their files' names. */
  readonly rooms: Map<string, RoomFile>;
  /** The numbers of their rotated files, oldest first, by the same. Open or not: listing the directory takes long. */
  readonly rotated: Map<string, number[]>;
  /** Those among them that have a descriptor. */
  readonly open: OpenFiles;
  /** Files that are not to be read again as a whole. */
  readonly damaged: DamagedFiles;
  /** Absolute paths of what the disk may not have yet. */
  readonly unsynced: Set<string>;
  /** The one among them that the background is busy with. */
  beingSynced: string | undefined;
  isSyncFailing: boolean;
  timer: NodeJS.Timeout | undefined;
}

const MiB = 1024 * 1024;
const second = 1000;

/** Opens the directory; it may be in any state that a killed server left it in. @throws Error, a sentence */
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
 * Closes every room; the store is not to be used any more. Unless `fsync` is `no` it waits for the disk.
 * @throws Error, a sentence, where it may not have everything; all is closed even so
 */
export function closeStore(store: Store): void {
  clearInterval(store.timer);
  for (const file of store.rooms.values()) closeRoom(file);
  if (store.beingSynced !== undefined) noteUnsynced(store, store.beingSynced);
  syncAll(store);
}
