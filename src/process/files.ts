/**
 * The files of the process: the log file and the PID file.
 *
 * An flock(2) on the open PID file keeps a second server from starting, as in any daemon. Two servers that start at the same
 * moment cannot both hold it, and it ends with the process, however that ends. The number in the file decides nothing, so a
 * stale file, or a process ID that now belongs to another program, does no harm. Node has no flock, but the command flock(1)
 * can lock a descriptor that it inherits, and the lock stays with the open file.
 */
import { spawnSync } from 'node:child_process';
import {
  closeSync,
  constants,
  fstatSync,
  ftruncateSync,
  openSync,
  readSync,
  statSync,
  unlinkSync,
  writeSync,
} from 'node:fs';
import { dirname } from 'node:path';
import { checkLog, configureLog, log, logTo, whyUnwritable } from '../log/log.ts';
import type { Configuration, Reloadable } from '../options/configuration.ts';
import { UsageError } from '../options/error.ts';
import { type DefaultPaths, logPath, pidPath } from '../options/paths.ts';
import { makeFolder } from '../storage/disk.ts';

/** The part of the server that this file needs. */
interface Configured {
  readonly configuration: Configuration;
  readonly reloadables: Reloadable[];
}

/** Creates the folders of the default paths only: a missing folder that the user named is more likely a mistake. */
export function makeDefaultFolders(configuration: Configuration, usual: DefaultPaths): void {
  for (const path of [logPath(configuration, usual), pidPath(configuration, usual)]) {
    if (path !== usual.logFile && path !== usual.pidFile) continue;
    try {
      makeFolder(dirname(path));
    } catch {
      // Opening the file fails next, with the reason.
    }
  }
}

/**
 * Opens the log file, and opens it again on every reload, because logrotate may have renamed it.
 * @throws Error if it cannot be opened
 */
export function openLogFile({ configuration, reloadables }: Configured, usual: DefaultPaths): void {
  const open = (now: Configuration) => {
    logTo(logPath(now, usual));
    configureLog(now.logLevel, now.logFormat);
  };
  open(configuration);
  reloadables.push({
    async prepare(next) {
      makeDefaultFolders(next, usual);
      try {
        checkLog(logPath(next, usual));
      } catch (error) {
        // The path comes from an option.
        throw new UsageError((error as Error).message);
      }
      return () => {
        open(next);
        return [];
      };
    },
  });
}

/**
 * Holds the PID file, if one is configured. A reload creates it again if it was removed; if that fails, the log and the
 * reload's answer say why.
 * @throws Error if another server holds it, or it cannot be written
 */
export function openPidFile({ configuration, reloadables }: Configured, usual: DefaultPaths): void {
  const path = pidPath(configuration, usual);
  if (path === undefined) return;
  const restore = holdPidFile(path);
  reloadables.unshift({
    async prepare() {
      try {
        makeDefaultFolders(configuration, usual);
        const isRestored = restore();
        return () => (isRestored ? [`restored ${path}`] : []);
      } catch (error) {
        const reason = (error as Error).message;
        log('warn', 'pid file not restored', { path, reason });
        return () => [reason];
      }
    },
  });
}

/** The number under which flock(1) inherits the file's descriptor. */
const inheritedDescriptor = 3;

/**
 * Locks the PID file and writes this process's ID into it, until the process exits.
 * @returns a function that restores a file that was removed or emptied, and returns whether it had to
 * @throws Error if another server holds the file, or it cannot be written; so does the returned function
 */
export function holdPidFile(path: string): () => boolean {
  let file = lockPidFile(path);
  process.once('exit', () => {
    if (isFileAt(file, path)) unlinkSync(path);
  });
  return () => {
    if (isFileAt(file, path)) {
      if (firstBytes(file) === ownLine) return false;
      checkContent(file, path);
      writeId(file, path);
      return true;
    }
    const next = lockPidFile(path);
    closeSync(file);
    file = next;
    return true;
  };
}

const ownLine = `${process.pid}\n`;

function lockPidFile(path: string): number {
  for (;;) {
    const file = openForLock(path);
    let isOurs = false;
    try {
      isOurs = lockIfFree(file, path);
      if (isOurs) {
        writeId(file, path);
        return file;
      }
    } catch (error) {
      if (isOurs) unlinkSync(path);
      closeSync(file);
      throw error;
    }
    // The previous holder removed the file between our open and our lock: try the file that has the name now.
    closeSync(file);
  }
}

function writeId(file: number, path: string): void {
  try {
    ftruncateSync(file);
    writeSync(file, ownLine, 0);
  } catch (error) {
    throw cannotWrite(path, error);
  }
}

function cannotWrite(path: string, error: unknown): Error {
  return new Error(`cannot write ${path}: ${whyUnwritable(error)}; choose another with --pid-file`);
}

function lockIfFree(file: number, path: string): boolean {
  checkContent(file, path);
  if (lock(file, path)) return isFileAt(file, path);
  const pid = firstBytes(file).trim() || 'unknown';
  throw new Error(
    `pollywog is already running (pid ${pid}, ${path}); stop it first, or choose another with --pid-file`,
  );
}

/** Keeps a mistyped path from overwriting a file. @throws Error if the file holds anything but a process ID */
function checkContent(file: number, path: string): void {
  if (/^\d*\s*$/.test(firstBytes(file))) return;
  throw new Error(`${path} is not a PID file; choose another with --pid-file`);
}

function firstBytes(file: number): string {
  const bytes = Buffer.alloc(40);
  return bytes.toString('latin1', 0, readSync(file, bytes, 0, bytes.length, 0));
}

function openForLock(path: string): number {
  const { O_RDWR, O_CREAT, O_NOFOLLOW, O_NONBLOCK } = constants;
  try {
    const file = openSync(path, O_RDWR | O_CREAT | O_NOFOLLOW | O_NONBLOCK, 0o644);
    if (!fstatSync(file).isFile()) throw new Error('it is not a regular file');
    return file;
  } catch (error) {
    throw cannotWrite(path, error);
  }
}

/** @returns false if another process holds the lock */
function lock(file: number, path: string): boolean {
  const { status, error } = spawnSync('flock', ['-n', String(inheritedDescriptor)], {
    stdio: ['ignore', 'ignore', 'ignore', file],
  });
  if (status === 0) return true;
  if (status === 1) return false;
  const why =
    error === undefined ? `flock exited with ${status}` : 'the command flock (util-linux) is missing';
  throw new Error(`cannot lock ${path}: ${why}; start without with --pid-file none`);
}

function isFileAt(file: number, path: string): boolean {
  const here = fstatSync(file);
  try {
    const there = statSync(path);
    return there.ino === here.ino && there.dev === here.dev;
  } catch {
    // The file or its folder was removed.
    return false;
  }
}
