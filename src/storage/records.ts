/** The records of the store: the rooms' files, and the pool of their descriptors. */

import type { DamagedFiles } from './damage.ts';
import type { Disk } from './disk.ts';

/** When to sync: at the end of each turn, in the background every second, or never. */
export type Fsync = 'always' | 'everysec' | 'no';

export interface Store {
  /** Absolute. */
  readonly directory: string;
  readonly fsync: Fsync;
  readonly rotateAt: number;
  readonly keep: number;
  readonly disk: Disk;
  /** Open rooms by stem. */
  readonly rooms: Map<string, RoomFile>;
  /** Numbers of rotated files by stem, oldest first, for all rooms: listing the directory is slow. */
  readonly rotated: Map<string, number[]>;
  /** The pool of descriptors. */
  readonly open: OpenFiles;
  /** Known damage. */
  readonly damaged: DamagedFiles;
  /** Absolute paths of files and directories to sync. */
  readonly unsynced: Set<string>;
  /** The path being synced in the background. */
  beingSynced: string | undefined;
  isSyncFailing: boolean;
  timer: NodeJS.Timeout | undefined;
}

export interface RoomFile {
  readonly store: Store;
  /** The beginning of its file names. */
  readonly stem: string;
  /** The path of the current file. */
  readonly path: string;
  /** Undefined before the first message, and while the pool has it closed (openFiles.ts). */
  descriptor: number | undefined;
  /** The size after our last append; undefined before the first one. */
  size: number | undefined;
  /** A failed append must be truncated to this size, in the file with this inode. */
  tornAt: { readonly size: number; readonly inode: number } | undefined;
}

export interface OpenFiles {
  /** In the order of their last use. */
  readonly files: Set<RoomFile>;
  newest: RoomFile | undefined;
  readonly allowance: FileAllowance;
}

/** The part of the process's descriptor budget that room files share. */
export interface FileAllowance {
  /** Open files. */
  readonly count: { files: number };
  /** Whether another file may be opened without closing one first. */
  mayOpen(): boolean;
}
