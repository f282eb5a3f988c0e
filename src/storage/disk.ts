/** The calls by which bytes reach the disk, and what to say where it refuses. */
import {
  closeSync,
  constants,
  fdatasyncSync,
  ftruncateSync,
  mkdirSync,
  openSync,
  statSync,
  writeSync,
} from 'node:fs';
import { open } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';

/** A record, so that a test can have a disk that fails. */
export interface Disk {
  /** One `write(2)` at the file's end. @returns how many bytes were written */
  write(descriptor: number, bytes: Uint8Array): number;
  truncate(descriptor: number, size: number): void;
  /** Waits until the disk has all that was written to this file, or all names of this directory. */
  sync(path: string): void;
  /** The same, elsewhere than on this thread. */
  syncInBackground(path: string): Promise<void>;
}

// By name, not by the descriptor that is written to: that one may be closed at any moment.
const toSync = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK;

export const realDisk: Disk = {
  write: (descriptor, bytes) => writeSync(descriptor, bytes),
  truncate: ftruncateSync,
  sync(path) {
    const descriptor = openSync(path, toSync);
    try {
      fdatasyncSync(descriptor);
    } finally {
      closeSync(descriptor);
    }
  },
  async syncInBackground(path) {
    const handle = await open(path, toSync);
    try {
      await handle.datasync();
    } finally {
      await handle.close();
    }
  },
};

/**
 * Makes the folder, and those that it is in, for this user alone. Node's own recursive mkdir never returns from a file system
 * where nothing can be made, such as /proc: it gets ENOENT although the parent exists, and tries again.
 * @throws Error, that of the system, or a sentence
 */
export function makeFolder(path: string): void {
  const missing: string[] = [];
  let at = resolve(path);
  // Each step up is one name fewer, so the number of steps is bounded.
  for (;;) {
    const parent = dirname(at);
    try {
      if (makeOne(at)) break;
    } catch (error) {
      if (errorCode(error) !== 'ENOENT') throw error;
      if (parent === at || isFolder(parent))
        throw new Error(`the system makes no folders in ${parent}; choose another place`);
    }
    missing.push(at);
    at = parent;
  }
  for (const folder of missing.reverse()) makeOne(folder);
}

/** @returns true, as it is there then @throws Error where it cannot be made, ENOENT if its parent is missing */
function makeOne(path: string): true {
  try {
    mkdirSync(path, { mode: 0o700 });
  } catch (error) {
    // Some systems say EROFS or EACCES of a folder that is there.
    if (isFolder(path)) return true;
    if (errorCode(error) !== 'EEXIST' || !isDangling(path)) throw error;
    throw new Error(`${path} is a link that leads nowhere; move it away`);
  }
  return true;
}

function isFolder(path: string): boolean {
  try {
    return statSync(path).isDirectory();
  } catch {
    return false;
  }
}

function isDangling(path: string): boolean {
  try {
    return statSync(path, { throwIfNoEntry: false }) === undefined;
  } catch {
    return true;
  }
}

export function errorCode(error: unknown): string | undefined {
  return (error as NodeJS.ErrnoException | undefined)?.code;
}

/** @param deed such as `append to` @returns what failed, why, and what to do; the cause is `error` */
export function storageError(deed: string, path: string, error: unknown): Error {
  const why = explainDisk(error) ?? (error instanceof Error ? error.message : String(error));
  return new Error(`cannot ${deed} ${path}: ${why}`, { cause: error });
}

/** Why the disk would not, and what to do, without naming the file; `undefined` for the rarer reasons. */
export function explainDisk(error: unknown): string | undefined {
  switch (errorCode(error)) {
    case 'ENOSPC':
      return 'the disk is full; free some space';
    case 'EDQUOT':
      return 'the quota is used up; free some space, or raise it';
    case 'EROFS':
      return 'the file system is read-only; remount it, or choose another directory with --data';
    case 'EACCES':
    case 'EPERM':
      return 'permission denied; let this user read and write it, or choose another directory with --data';
    case 'EEXIST':
    case 'ENOTDIR':
      return 'there is a file where a directory should be; choose another with --data';
    case 'ENOENT':
      return 'the directory is gone; make it again';
    case 'EISDIR':
      return 'it is a directory and should be a file; move it away';
    case 'ELOOP':
      return 'it is a symbolic link and should be a file; move it away';
    case 'EMFILE':
    case 'ENFILE':
      return 'too many files are open; raise the limit (ulimit -n)';
    case 'EIO':
      return 'the disk reports an error; look after it, and choose another directory with --data';
    default:
      return undefined;
  }
}
