/** Where the log's lines go: stderr, a file, or nowhere. */
import { closeSync, constants, openSync, writeSync } from 'node:fs';

/** Bytes that wait for whoever reads stderr. */
const maxUnread = 16 * 1024 * 1024;

/** The file that is open; 'stderr' or 'none' where there is none. */
let sink: number | 'stderr' | 'none' = 'stderr';
/** The disk took a part of the last line. */
let isTorn = false;

// If nobody reads it any more, the server goes on all the same.
process.stderr.on('error', () => {});

/**
 * The log is written to `stderr`, `none`, or a file from now on. The file is appended to; it is made, for this user and
 * group to read, if there is none. Opening the same one again is of use when it was put aside by its old name.
 * @throws Error, a sentence; then it goes where it went before
 */
export function logTo(place: string): void {
  const next = place === 'stderr' || place === 'none' ? place : openLog(place);
  if (typeof sink === 'number') closeSync(sink);
  sink = next;
  isTorn = false;
}

/** @throws Error, a sentence, where `logTo` would */
export function checkLog(place: string): void {
  if (place !== 'stderr' && place !== 'none') closeSync(openLog(place));
}

/** @returns a descriptor; each write to it goes to the end of the file, whoever else writes there. @throws Error, a sentence */
export function openLog(path: string): number {
  // A named pipe that nobody reads is refused, not waited for.
  const flags = constants.O_WRONLY | constants.O_APPEND | constants.O_CREAT | constants.O_NONBLOCK;
  try {
    return openSync(path, flags, 0o640);
  } catch (error) {
    throw new Error(`cannot log to ${path}: ${whyUnwritable(error)}; choose another with --log-file`);
  }
}

/** Why a file could not be opened for writing, or not be written to. */
export function whyUnwritable(error: unknown): string {
  const { code, message } = error as NodeJS.ErrnoException;
  if (code === 'ENOENT') return 'there is no such folder';
  if (code === 'ENOTDIR') return 'there is a file where a folder should be';
  if (code === 'ELOOP') return 'its links lead in a circle';
  if (code === 'EACCES' || code === 'EROFS') return 'this user may not write there';
  if (code === 'ENOSPC') return 'the disk is full';
  return code === 'EISDIR' ? 'it is a folder' : message;
}

/** @returns false where the line is lost: nobody reads stderr, or the disk is full */
export function writeLine(line: string): boolean {
  if (sink === 'none') return true;
  if (sink === 'stderr') {
    // To a pipe this does not wait: whoever reads it and does not keep up holds nobody up, but may lose lines.
    if (process.stderr.writableLength > maxUnread) return false;
    process.stderr.write(line);
    return true;
  }
  const bytes = Buffer.from(isTorn ? `\n${line}` : line);
  let written = 0;
  try {
    while (written < bytes.length) written += writeSync(sink, bytes, written);
    isTorn = false;
    return true;
  } catch {
    isTorn ||= written > 0;
    return false;
  }
}
