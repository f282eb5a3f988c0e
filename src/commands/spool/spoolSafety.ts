/**
 * Write access to the spool's folder is control of the server, so the folder must not be writable for everyone. Only plain
 * files in it are read: no links, which lead elsewhere, and no FIFOs, whose opening could block.
 */
import {
  closeSync,
  constants,
  fstatSync,
  lstatSync,
  openSync,
  readSync,
  realpathSync,
  type Stats,
  statSync,
} from 'node:fs';
import { mkdir, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { errorCode } from '../../storage/disk.ts';
import { showSize } from '../show.ts';
import type { Folders } from './spoolFolder.ts';
import { nextStep, stepLength } from './spoolSteps.ts';

/**
 * Makes the spool's folders, where they are not there, and sees to it that they are safe.
 * @throws Error, a sentence
 */
export async function openFolders(path: string): Promise<Folders> {
  try {
    await makeFolder(path);
    const folders = findFolders(path);
    await completeFolders(folders);
    checkFolders(folders);
    return folders;
  } catch (error) {
    throw new Error(`cannot take commands from ${path}: ${(error as Error).message}`);
  }
}

/** The folders that the path leads to now: it, or a link on the way, may be another than before. @throws Error, a sentence */
export function findFolders(path: string): Folders {
  try {
    const spool = realpathSync.native(path);
    if (!statSync(spool).isDirectory()) throw new Error(`it is a file, not a folder; ${advice}`);
    return { spool, running: join(spool, 'running'), failed: join(spool, 'failed') };
  } catch (error) {
    throw explained(path, error);
  }
}

/** Makes what is missing in the spool's folder. @throws Error, a sentence */
export async function completeFolders({ running, failed }: Folders): Promise<void> {
  await makeFolder(running);
  await makeFolder(failed);
}

async function makeFolder(path: string): Promise<void> {
  try {
    await mkdir(path, { mode: 0o700 });
  } catch (error) {
    if (errorCode(error) === 'EEXIST') return;
    const parent = dirname(path);
    if (errorCode(error) !== 'ENOENT') throw explained(path, error);
    const isThere = await stat(parent).then(
      () => true,
      () => false,
    );
    throw new Error(
      isThere
        ? `the system makes no folders in ${parent}; ${advice}`
        : `there is no folder ${parent}; make it first`,
    );
  }
}

const advice = 'name another with --spool';

function missing(path: string): Error {
  return new Error(`there is no folder ${path} (a link may lead nowhere); make it again`);
}

/** In place of the system's words. */
export function explained(path: string, error: unknown): Error {
  switch (errorCode(error)) {
    case 'ENOENT':
      return missing(path);
    case 'ENOTDIR':
      return new Error(`there is a file where a folder should be; ${advice}`);
    case 'EACCES':
    case 'EPERM':
      return new Error(`permission denied; let this user read and write it, or ${advice}`);
    case 'ELOOP':
      return new Error(`its links lead in a circle; ${advice}`);
    case 'EROFS':
      return new Error(`the file system is read-only; remount it, or ${advice}`);
    case 'ENOSPC':
    case 'EDQUOT':
      return new Error('the disk is full; free some space');
    case 'ENAMETOOLONG':
      return new Error(`its name is too long; ${advice}`);
    default:
      return error as Error;
  }
}

export interface Checked {
  /** Differs if another folder has this path by now. */
  readonly identity: string;
  /** Whether the folders in it are there. */
  readonly isComplete: boolean;
}

/**
 * At once, as every look does it: by way of Node's threads these calls would take this thread longer.
 * @throws Error, a sentence, where one of them is not safe, or the spool is gone
 */
export function checkFolders({ spool, running, failed }: Folders): Checked {
  const stats = checkFolder(spool);
  if (stats === undefined) throw missing(spool);
  const [inRunning, inFailed] = [checkFolder(running), checkFolder(failed)];
  const isComplete = inRunning !== undefined && inFailed !== undefined;
  return { identity: `${spool} ${stats.dev} ${stats.ino} ${stats.birthtimeMs}`, isComplete };
}

/** @returns undefined where there is none @throws Error, a sentence, where it is not safe */
function checkFolder(path: string): Stats | undefined {
  const stats = lookAt(path);
  if (stats === undefined) return undefined;
  if (!stats.isDirectory()) throw new Error(`${path} is no folder; move it away`);
  const own = process.getuid?.() ?? stats.uid;
  if (stats.uid !== own && stats.uid !== 0) {
    throw new Error(`${path} belongs to another user (uid ${stats.uid}); give it to the server's with chown`);
  }
  if ((stats.mode & 0o002) !== 0) {
    throw new Error(`everyone may write to ${path}, and so command the server; chmod o-w takes that away`);
  }
  return stats;
}

function lookAt(path: string): Stats | undefined {
  try {
    return lstatSync(path, { throwIfNoEntry: false });
  } catch (error) {
    throw explained(path, error);
  }
}

export interface PlainFile {
  readonly bytes: Buffer;
  /** Changes whenever somebody writes to the file. */
  readonly stamp: string;
}

const toRead = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK;

/**
 * Reads the whole file; a short one at once, a long one a step at a time.
 * @param largest in bytes
 * @throws Error, the end of a sentence, where it cannot be read, or is no such file
 */
export async function readPlainFile(path: string, largest: number): Promise<PlainFile> {
  const descriptor = openToRead(path);
  try {
    const stats = fstatSync(descriptor);
    if (!stats.isFile()) throw new Error('it is no plain file');
    if (stats.nlink > 1) throw new Error('it has other names as well (hard links)');
    if (stats.size > largest) throw new Error(`it has more than ${showSize(largest)}`);
    const bytes = Buffer.allocUnsafe(stats.size);
    for (let at = 0; at < bytes.length; ) {
      if (at > 0) await nextStep();
      const read = readSync(descriptor, bytes, at, Math.min(stepLength, bytes.length - at), at);
      // It was cut short meanwhile.
      if (read === 0) return { bytes: bytes.subarray(0, at), stamp: stampOf(stats) };
      at += read;
    }
    return { bytes, stamp: stampOf(stats) };
  } finally {
    closeSync(descriptor);
  }
}

function openToRead(path: string): number {
  try {
    return openSync(path, toRead);
  } catch (error) {
    throw errorCode(error) === 'ELOOP' ? new Error('it is a symbolic link') : error;
  }
}

/** Whether nobody has written to the file since it was read. */
export function isUnchanged(path: string, { stamp }: PlainFile): boolean {
  return stampOf(lstatSync(path)) === stamp;
}

function stampOf({ ino, size, mtimeMs }: Stats): string {
  return `${ino} ${size} ${mtimeMs}`;
}
