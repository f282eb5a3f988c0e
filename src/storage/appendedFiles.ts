/**
 * Appends lines to private files in a folder, such as recordings. Writes are asynchronous and one at a time, so a slow disk does
 * not block the loop, and a thousand files need one descriptor. A failed write loses the lines that wait, and later lines are
 * written again as soon as that works.
 */
import { chmodSync, readdirSync, statSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { join } from 'node:path';
import { errorCode, makeFolder, storageError, toAppend, toCreate } from './disk.ts';

export interface AppendedFiles {
  readonly folder: string;
  /** The end of each file's name. */
  readonly extension: string;
  /** The limit for all files together, in bytes. */
  readonly maxSize: number;
  /** Bytes of all files, including pending lines. */
  size: number;
  /** Pending lines, by the file's name without extension; and their length. */
  readonly pending: Map<string, string[]>;
  pendingSize: number;
  isWriting: boolean;
  /** Why writing fails, a sentence; undefined while it works. */
  fault: string | undefined;
  /** Called after each write that failed, and after the first one that succeeds again (`undefined`). */
  onFault: (fault: string | undefined) => void;
  readonly whenDrained: (() => void)[];
}

/** The option that names the folder: only recordings are such files. */
const option = '--record';

/**
 * Opens the folder, and creates it if it is missing.
 * @throws Error, a sentence, if other users may read it
 */
export function openAppendedFiles(folder: string, extension: string, maxSize: number): AppendedFiles {
  let size = 0;
  try {
    makeFolder(folder);
    const names = readdirSync(folder);
    // An empty folder may be new, with the default mode.
    if (names.length === 0) chmodSync(folder, 0o700);
    if ((statSync(folder).mode & 0o077) !== 0)
      throw new Error(`others may read it; chmod 700 ${folder}, or choose another folder`);
    for (const name of names) {
      if (name.endsWith(extension))
        size += statSync(join(folder, name), { throwIfNoEntry: false })?.size ?? 0;
    }
  } catch (error) {
    throw storageError('keep files in', folder, error, option);
  }
  return {
    ...{ folder, extension, maxSize, size, pendingSize: 0, isWriting: false, fault: undefined },
    ...{ pending: new Map(), onFault() {}, whenDrained: [] },
  };
}

export function pathOf({ folder, extension }: AppendedFiles, name: string): string {
  return join(folder, name + extension);
}

/** Whether `maxSize` allows this many more bytes. */
export function fitsInFolder({ size, maxSize }: AppendedFiles, bytes: number): boolean {
  return size + bytes <= maxSize;
}

/** @param name of the file, without extension. The caller has checked that it is not a path. */
export function appendTo(files: AppendedFiles, name: string, line: string): void {
  const { pending } = files;
  const lines = pending.get(name);
  if (lines === undefined) pending.set(name, [line]);
  else lines.push(line);
  const size = Buffer.byteLength(line);
  files.size += size;
  files.pendingSize += size;
  if (files.isWriting) return;
  files.isWriting = true;
  // Writes after this turn, with all its lines.
  setImmediate(() => void writePending(files));
}

async function writePending(files: AppendedFiles): Promise<void> {
  const { pending } = files;
  for (const [name, lines] of pending) {
    pending.delete(name);
    const bytes = Buffer.from(lines.join(''));
    try {
      await append(pathOf(files, name), bytes);
      files.pendingSize -= bytes.length;
      noteSuccess(files);
    } catch (error) {
      losePending(files, storageError('append to', pathOf(files, name), error, option).message);
    }
  }
  files.isWriting = false;
  for (const drained of files.whenDrained.splice(0)) drained();
}

function losePending(files: AppendedFiles, fault: string): void {
  files.size -= files.pendingSize;
  files.pendingSize = 0;
  files.pending.clear();
  files.fault ??= fault;
  files.onFault(files.fault);
}

function noteSuccess(files: AppendedFiles): void {
  if (files.fault === undefined) return;
  files.fault = undefined;
  files.onFault(undefined);
}

/** Links are not followed, and a new file is readable by its owner only. */
async function append(path: string, bytes: Buffer): Promise<void> {
  const file = await open(path, toAppend).catch(error => {
    if (errorCode(error) !== 'ENOENT') throw error;
    return open(path, toCreate, 0o600);
  });
  try {
    await file.appendFile(bytes);
  } finally {
    await file.close();
  }
}

/** Resolves when all lines are written, or writing has failed. */
export async function untilWritten(files: AppendedFiles): Promise<void> {
  if (files.isWriting) await new Promise<void>(resolve => files.whenDrained.push(resolve));
}
