/** Calls that put bytes on the disk, and messages for their errors. */
import {
  closeSync,
  constants,
  fdatasyncSync,
  fstatSync,
  ftruncateSync,
  mkdirSync,
  openSync,
  statSync,
  writeSync,
} from 'node:fs';
import { open } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';

/** An interface, so that tests can use a disk that fails. */
export interface Disk {
  /** One `write(2)` at the file's end. @returns how many bytes were written */
  write(descriptor: number, bytes: Uint8Array): number;
  truncate(descriptor: number, size: number): void;
  /** fdatasync(2) of a file, or of a directory's entries. */
  sync(path: string): void;
  /** The same, without blocking the loop. */
  syncInBackground(path: string): Promise<void>;
}

// A descriptor of its own: the one for writing may be closed at any moment.
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

// O_NOFOLLOW refuses links; O_NONBLOCK does not wait for the other end of a FIFO.
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
 * Creates a folder and its parents, with mode 0700. Node's recursive mkdir loops forever on a file system such as /proc, where
 * mkdir fails with ENOENT although the parent exists.
 * @throws Error
 */
export function makeFolder(path: string): void {
  const missing: string[] = [];
  let at = resolve(path);
  // Ends at the root at the latest.
  for (;;) {
    const parent = dirname(at);
    try {
      if (makeOne(at)) break;
    } catch (error) {
      if (errorCode(error) !== 'ENOENT') throw error;
      if (parent === at || isFolder(parent))
        throw new Error(`folders cannot be created in ${parent}; choose another place`);
    }
    missing.push(at);
    at = parent;
  }
  for (const folder of missing.reverse()) makeOne(folder);
}

/** @returns true if the folder exists now @throws Error if it cannot be created, ENOENT if its parent is missing */
function makeOne(path: string): true {
  try {
    mkdirSync(path, { mode: 0o700 });
  } catch (error) {
    // Some systems fail with EROFS or EACCES for a folder that exists.
    if (isFolder(path)) return true;
    if (errorCode(error) !== 'EEXIST' || !isDangling(path)) throw error;
    throw new Error(`${path} is a dangling symbolic link; remove it`);
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

/**
 * An error that says what failed, why, and what to do.
 * @param deed such as `append to`
 * @param option names the directory
 */
export function storageError(deed: string, path: string, error: unknown, option = '--data'): Error {
  const why = explainDisk(error, option) ?? (error instanceof Error ? error.message : String(error));
  return new Error(`cannot ${deed} ${path}: ${why}`, { cause: error });
}

/** Why a disk operation failed, and what to do, without the path; `undefined` for rare errors. */
export function explainDisk(error: unknown, option = '--data'): string | undefined {
  switch (errorCode(error)) {
    case 'ENOSPC':
      return 'the disk is full; free some space';
    case 'EDQUOT':
      return 'the quota is used up; free some space, or raise it';
    case 'EROFS':
      return `the file system is read-only; remount it, or choose another directory with ${option}`;
    case 'EACCES':
    case 'EPERM':
      return `permission denied; let this user read and write it, or choose another directory with ${option}`;
    case 'EEXIST':
    case 'ENOTDIR':
      return `a file is in the place of a directory; choose another with ${option}`;
    case 'ENOENT':
      return 'the directory is gone; create it again';
    case 'EISDIR':
      return 'it is a directory instead of a file; move it away';
    case 'ELOOP':
      return 'it is a symbolic link instead of a file; move it away';
    case 'EMFILE':
    case 'ENFILE':
      return 'too many files are open; raise the limit (ulimit -n)';
    case 'EIO':
      return `the disk reports an I/O error; check it, and choose another directory with ${option}`;
    default:
      return undefined;
  }
}

/** Why a `storageError` happened, without the path: the reader may not know the server's files. */
export function diskErrorReason(error: unknown): string {
  return explainDisk((error as Error).cause) ?? 'disk error';
}
