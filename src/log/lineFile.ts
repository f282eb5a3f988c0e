/**
 * A file of lines, such as the access log. One write appends all lines of a turn, in a thread of Node's pool, so a slow disk
 * does not block the loop. If the disk is too slow or fails, the file loses lines and counts them.
 */
import { close, write } from 'node:fs';
import { maxPendingLines } from '../protocol/limits.ts';
import { log, openLog, whyUnwritable } from './log.ts';

const lineEnd = 0x0a;

export interface LineFile {
  path: string;
  descriptor: number;
  /** Lines for the next write, and their length in characters. */
  pending: string[];
  length: number;
  /** A write has begun, or begins after this turn. */
  isWriting: boolean;
  /** The descriptor of the write that has begun. */
  inUse: number | undefined;
  /** Lines lost since the log last said how many. */
  lost: number;
  isFailing: boolean;
  /** Called after the last pending line. */
  onDrained: (() => void) | undefined;
}

/** Opens the file for appending, and creates it if missing. @throws Error, a sentence */
export function openLineFile(path: string, option: string): LineFile {
  return {
    path,
    descriptor: openLog(path, option),
    pending: [],
    length: 0,
    isWriting: false,
    inUse: undefined,
    lost: 0,
    isFailing: false,
    onDrained: undefined,
  };
}

/** @param line with its line end */
export function appendLine(file: LineFile, line: string): void {
  if (file.length + line.length > maxPendingLines) {
    file.lost++;
    return;
  }
  file.pending.push(line);
  file.length += line.length;
  if (file.isWriting) return;
  file.isWriting = true;
  // After this turn, with all its lines.
  setImmediate(writePending, file);
}

function writePending(file: LineFile): void {
  if (file.pending.length === 0) {
    file.isWriting = false;
    file.onDrained?.();
    return;
  }
  const bytes = takePending(file);
  const { descriptor } = file;
  file.inUse = descriptor;
  writeAll(descriptor, bytes, 0, (error, written) => {
    file.inUse = undefined;
    if (descriptor !== file.descriptor) close(descriptor);
    if (error !== undefined) file.lost += countLines(bytes.subarray(written));
    report(file, error);
    writePending(file);
  });
}

function takePending(file: LineFile): Buffer {
  const bytes = Buffer.from(file.pending.join(''));
  file.pending = [];
  file.length = 0;
  return bytes;
}

function writeAll(
  descriptor: number,
  bytes: Buffer,
  at: number,
  done: (error: Error | undefined, written: number) => void,
): void {
  write(descriptor, bytes, at, bytes.length - at, null, (error, written) => {
    if (error !== null) done(error, at);
    else if (at + written < bytes.length) writeAll(descriptor, bytes, at + written, done);
    else done(undefined, bytes.length);
  });
}

function countLines(bytes: Buffer): number {
  let count = 0;
  for (let at = bytes.indexOf(lineEnd); at !== -1; at = bytes.indexOf(lineEnd, at + 1)) count++;
  return count;
}

/** Logs the start and the end of a failure, and how many lines were lost. */
function report(file: LineFile, error: Error | undefined): void {
  const { path, lost } = file;
  if (error !== undefined && !file.isFailing)
    log('error', 'access log not written', { path, reason: whyUnwritable(error) });
  if (error === undefined && file.isFailing) log('info', 'access log written again', { path });
  file.isFailing = error !== undefined;
  if (lost === 0 || file.isFailing) return;
  log('warn', 'access log lines lost', { path, count: lost });
  file.lost = 0;
}

/** Continues in the file at this path, which may be the same after a rotation. @throws Error, and then nothing changes */
export function reopenLineFile(file: LineFile, path: string, option: string): void {
  const before = file.descriptor;
  file.descriptor = openLog(path, option);
  file.path = path;
  // The end of the write closes it otherwise.
  if (file.inUse !== before) close(before);
}

/** Writes the pending lines, and closes the file. */
export async function closeLineFile(file: LineFile): Promise<void> {
  if (file.isWriting)
    await new Promise<void>(resolve => {
      file.onDrained = resolve;
    });
  close(file.descriptor);
}
