/**
 * The descriptors of the room files that are appended to. A store keeps a bounded number of them open; the least recently
 * used one is closed first, and its file is opened again by its name when it is needed.
 */
import { closeSync, constants, fstatSync, openSync } from 'node:fs';
import { log } from '../log/log.ts';
import { maxOpenRoomFiles } from '../protocol/limits.ts';
import { errorCode } from './disk.ts';
import type { RoomFile } from './room.ts';

export interface OpenFiles {
  /** In the order of their last use. */
  readonly files: Set<RoomFile>;
  newest: RoomFile | undefined;
  readonly allowance: FileAllowance;
}

/** The process's account of its descriptors, as far as files take part in it. */
export interface FileAllowance {
  /** How many files are open. */
  readonly count: { files: number };
  /** Whether another one may be opened without closing one of ours. */
  mayOpen(): boolean;
}

export function newOpenFiles(
  allowance: FileAllowance = { count: { files: 0 }, mayOpen: () => true },
): OpenFiles {
  return { files: new Set(), newest: undefined, allowance };
}

// Follows no link, and does not block on a FIFO without a writer.
const carefully = constants.O_NOFOLLOW | constants.O_NONBLOCK;
export const toRead = constants.O_RDONLY | carefully;
export const toAppend = constants.O_RDWR | constants.O_APPEND | carefully;
export const toCreate = toAppend | constants.O_CREAT;

/** @returns undefined if there is no such file */
export function openRegular(path: string, flags: number): number | undefined {
  let descriptor: number;
  try {
    descriptor = openSync(path, flags, 0o600);
  } catch (error) {
    if (errorCode(error) === 'ENOENT' && (flags & constants.O_CREAT) === 0) return undefined;
    throw error;
  }
  if (fstatSync(descriptor).isFile()) return descriptor;
  closeSync(descriptor);
  throw new Error('it is not a regular file; move it away');
}

/**
 * The descriptor of the room's file, which is now the most recently used one.
 * @param flags to open it, if it is not open
 * @returns undefined if there is no such file
 */
export function useFile(file: RoomFile, flags: number): number | undefined {
  const { open } = file.store;
  if (file.descriptor === undefined) {
    while (open.files.size > 0 && !mayOpen(open)) closeOldest(open);
    file.descriptor = openOrMakeRoom(open, file.path, flags);
    if (file.descriptor === undefined) return undefined;
    open.allowance.count.files++;
  } else if (open.newest === file) {
    return file.descriptor;
  } else {
    open.files.delete(file);
  }
  open.files.add(file);
  open.newest = file;
  return file.descriptor;
}

function mayOpen({ files, allowance }: OpenFiles): boolean {
  return files.size < maxOpenRoomFiles && allowance.mayOpen();
}

function closeOldest(open: OpenFiles): void {
  for (const file of open.files) return closeFile(file);
}

/** If others have taken all descriptors of the process or the system, one of ours is closed for it. */
function openOrMakeRoom(open: OpenFiles, path: string, flags: number): number | undefined {
  for (;;) {
    try {
      return openRegular(path, flags);
    } catch (error) {
      const code = errorCode(error);
      if ((code !== 'EMFILE' && code !== 'ENFILE') || open.files.size === 0) throw error;
      closeOldest(open);
    }
  }
}

/** Closes the descriptor, if there is one; the room stays open. */
export function closeFile(file: RoomFile): void {
  const { descriptor, path } = file;
  const { open } = file.store;
  if (descriptor === undefined) return;
  file.descriptor = undefined;
  open.files.delete(file);
  if (open.newest === file) open.newest = undefined;
  open.allowance.count.files--;
  try {
    closeSync(descriptor);
  } catch (error) {
    // Some file systems report a failed write only now; the descriptor is free all the same.
    log('warn', 'a file did not close well', { file: path, error: String(error) });
  }
}
