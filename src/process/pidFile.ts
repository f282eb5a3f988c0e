/**
 * The file that has the server's process id, and that only one server can hold.
 *
 * What holds it is the system's lock on the open file, flock(2), as in any daemon: two that start at the same moment cannot
 * both have it, it is gone with its process, however that ended, and a number that was left behind, or is some other
 * process's by now, fools nobody, as the number is not what is looked at. Node has no flock, but its descriptors can be
 * lent: the command flock(1) locks the one it is given, and the lock stays with the open file, which is ours.
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
import { whyUnwritable } from '../log/sink.ts';

/** Where the command finds the descriptor it is lent. */
const lent = 3;

/**
 * Takes the file, and writes this process's id into it. It is given back, and removed, when the process exits.
 * @returns what takes it again if it was removed or emptied, and tells whether it was; it throws as this does
 * @throws Error, a sentence, where another server has it, or it cannot be had
 */
export function holdPidFile(path: string): () => boolean {
  let file = takePidFile(path);
  process.once('exit', () => {
    if (isFileAt(file, path)) unlinkSync(path);
  });
  return () => {
    if (isFileAt(file, path)) {
      if (beginning(file) === ownLine) return false;
      checkContent(file, path);
      writeId(file, path);
      return true;
    }
    const next = takePidFile(path);
    closeSync(file);
    file = next;
    return true;
  };
}

const ownLine = `${process.pid}\n`;

function takePidFile(path: string): number {
  for (;;) {
    const file = openPidFile(path);
    let isOurs = false;
    try {
      isOurs = isHeldAs(file, path);
      if (isOurs) {
        writeId(file, path);
        return file;
      }
    } catch (error) {
      if (isOurs) unlinkSync(path);
      closeSync(file);
      throw error;
    }
    // Its owner removed it between opening and locking: another file has the name by now, or none.
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
  return new Error(`cannot write ${path}: ${whyUnwritable(error)}; choose another --pid-file`);
}

function isHeldAs(file: number, path: string): boolean {
  checkContent(file, path);
  if (lock(file, path)) return isFileAt(file, path);
  const pid = beginning(file).trim() || 'not known';
  throw new Error(
    `pollywog runs already (pid ${pid}, ${path}); stop that one first, or give this one another --pid-file`,
  );
}

/** Keeps a mistyped path from overwriting a file. @throws Error, a sentence */
function checkContent(file: number, path: string): void {
  if (/^\d*\s*$/.test(beginning(file))) return;
  throw new Error(`there is something else than a process id in ${path}; choose another --pid-file`);
}

function beginning(file: number): string {
  const bytes = Buffer.alloc(40);
  return bytes.toString('latin1', 0, readSync(file, bytes, 0, bytes.length, 0));
}

function openPidFile(path: string): number {
  const { O_RDWR, O_CREAT, O_NOFOLLOW, O_NONBLOCK } = constants;
  try {
    const file = openSync(path, O_RDWR | O_CREAT | O_NOFOLLOW | O_NONBLOCK, 0o644);
    if (!fstatSync(file).isFile()) throw new Error('it is no file');
    return file;
  } catch (error) {
    throw cannotWrite(path, error);
  }
}

/** @returns false where someone else has it locked */
function lock(file: number, path: string): boolean {
  const { status, error } = spawnSync('flock', ['-n', String(lent)], {
    stdio: ['ignore', 'ignore', 'ignore', file],
  });
  if (status === 0) return true;
  if (status === 1) return false;
  const why = error === undefined ? `flock ended with ${status}` : 'there is no command flock (util-linux)';
  throw new Error(`cannot lock ${path}: ${why}; --pid-file none does without`);
}

function isFileAt(file: number, path: string): boolean {
  const here = fstatSync(file);
  try {
    const there = statSync(path);
    return there.ino === here.ino && there.dev === here.dev;
  } catch {
    // It is gone, or the folder is.
    return false;
  }
}
