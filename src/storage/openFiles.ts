/**
 * A pool of descriptors for the current room files. A store keeps a limited number open, closes the least recently used one
 * first, and reopens its file when needed.
 */
import { closeSync } from 'node:fs';
import { log } from '../log/log.ts';
import { maxOpenRoomFiles } from '../protocol/limits.ts';
import { errorCode, openRegular } from './disk.ts';
import type { FileAllowance, OpenFiles, RoomFile } from './records.ts';

export function newOpenFiles(
  allowance: FileAllowance = { count: { files: 0 }, mayOpen: () => true },
): OpenFiles {
  return { files: new Set(), newest: undefined, allowance };
}

/**
 * The descriptor of the room's file, which becomes the most recently used one.
 * @param flags used if the file is not open
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

/** Opens a file. If the process or the system is out of descriptors, one of the pool is closed first. */
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

/** Closes the descriptor, if it is open. The room stays open. */
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
    // Some file systems report a failed write on close. The descriptor is closed anyway.
    log('warn', 'closing a file failed', { file: path, error: String(error) });
  }
}
