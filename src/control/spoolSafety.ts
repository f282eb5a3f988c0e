/**
 * Whoever may write to the spool's folder commands the server. So it must not be everyone; and of what lies there, only
 * plain files are read: nothing that leads elsewhere, and nothing that could keep whoever opens it waiting.
 */
import { closeSync, constants, fstatSync, lstatSync, openSync, readSync, type Stats } from 'node:fs';
import { lstat, mkdir, realpath } from 'node:fs/promises';
import { join } from 'node:path';
import { errorCode } from '../storage/disk.ts';
import { showSize } from './show.ts';
import type { Folders } from './spoolFolder.ts';
import { nextStep, stepLength } from './spoolSteps.ts';

/**
 * Makes the spool's folders, where they are not there, and sees to it that they are safe.
 * @throws Error, a sentence
 */
export async function openFolders(path: string): Promise<Folders> {
  try {
    await makeFolder(path);
    const spool = await realpath(path);
    const folders = { spool, running: join(spool, 'running'), failed: join(spool, 'failed') };
    await makeFolder(folders.running);
    await makeFolder(folders.failed);
    await checkFolders(folders);
    return folders;
  } catch (error) {
    throw new Error(`cannot take commands from ${path}: ${(error as Error).message}`);
  }
}

async function makeFolder(path: string): Promise<void> {
  try {
    await mkdir(path, { mode: 0o700 });
  } catch (error) {
    if (errorCode(error) !== 'EEXIST') throw error;
  }
}

/** @throws Error, a sentence, where one of them is not safe */
export async function checkFolders(folders: Folders): Promise<void> {
  for (const path of Object.values(folders)) {
    const stats = await lstat(path);
    if (!stats.isDirectory()) throw new Error(`${path} is no folder; move it away`);
    const own = process.getuid?.() ?? stats.uid;
    if (stats.uid !== own && stats.uid !== 0) {
      throw new Error(
        `${path} belongs to another user (uid ${stats.uid}); give it to the server's with chown`,
      );
    }
    if ((stats.mode & 0o002) !== 0) {
      throw new Error(`everyone may write to ${path}, and so command the server; chmod o-w takes that away`);
    }
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
