/**
 * A file of lines that a busy server appends to: what arrives within a turn is written at once, by a thread of Node's pool, so
 * a slow disk never blocks the loop. If it is too slow for long, lines are lost, and counted.
 */
import { close, write } from 'node:fs';
import { maxPendingLines } from '../protocol/limits.ts';
import { log, openLog, whyUnwritable } from './log.ts';

export interface LineFile {
  path: string;
  descriptor: number;
  /** Lines that are not given to the system yet, and their length in characters. */
  pending: string[];
  length: number;
  /** A write is under way, or about to begin. */
  isWriting: boolean;
  /** Lines lost since the last that was logged. */
  lost: number;
  isFailing: boolean;
  /** Called when nothing is left to write. */
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
  writeAll(descriptor, bytes, 0, error => {
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
  done: (error: Error | undefined) => void,
): void {
  write(descriptor, bytes, at, bytes.length - at, null, (error, written) => {
    if (error !== null) done(error);
    else if (at + written < bytes.length) writeAll(descriptor, bytes, at + written, done);
    else done(undefined);
  });
}

/** Logs the start and the end of a failure, and how many lines were lost meanwhile. */
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

/** Continues in a file with this path: the same after a rotation, or another. @throws Error; then the file stays as it was */
export function reopenLineFile(file: LineFile, path: string, option: string): void {
  const before = file.descriptor;
  file.descriptor = openLog(path, option);
  file.path = path;
  // A write that is under way has its descriptor from before.
  whenDrained(file, () => close(before));
}

/** Writes what is left, and closes the file. */
export async function closeLineFile(file: LineFile): Promise<void> {
  await new Promise<void>(resolve => whenDrained(file, resolve));
  close(file.descriptor);
}

function whenDrained(file: LineFile, act: () => void): void {
  if (!file.isWriting) return act();
  const { onDrained } = file;
  file.onDrained = () => {
    file.onDrained = undefined;
    onDrained?.();
    act();
  };
}
