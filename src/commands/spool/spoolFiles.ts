/**
 * The files of the spool. A script's `NAME.cmd` is claimed by a rename into `running/`, run, answered by `NAME.out` and
 * removed; a file that fails is moved to `failed/`. Each step is a single rename or removal, so a file's folder always shows
 * how far it came, even if the process is killed: nothing is run twice, and nothing is lost.
 *
 * A power cut is different, because the kernel may not have written a rename to the disk yet. Claims are therefore synced
 * before the first line of a file is run. In a batch only every 32nd claim is synced, so a power cut may run the last 32 files
 * again. Answers are not synced: a power cut may lose the last ones.
 *
 * Write access to the spool's folder is control of the server, so the folder must not be writable for everyone. Only regular
 * files are read: a link could lead elsewhere, and opening a FIFO could block.
 *
 * Short system calls (a rename, reading a short file) are made synchronously, a few per step, and the event loop runs between
 * two steps: handing them to Node's thread pool would cost this thread more than the calls themselves. Only what waits for the
 * disk goes to the pool: see `datasync` in spool.ts.
 */
import {
  closeSync,
  constants,
  fstatSync,
  lstatSync,
  open as openDescriptor,
  openSync,
  readSync,
  realpathSync,
  renameSync,
  type Stats,
  statSync,
  unlinkSync,
  writeSync,
} from 'node:fs';
import { type FileHandle, mkdir, open, opendir, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { setImmediate } from 'node:timers/promises';
import { promisify } from 'node:util';
import { log } from '../../log/log.ts';
import {
  clientQuietPeriod,
  maxSpoolNames,
  spoolFileInterval,
  spoolStepPause,
  spoolStepTime,
} from '../../protocol/limits.ts';
import type { Server } from '../../records/records.ts';
import { errorCode } from '../../storage/disk.ts';
import { formatSize } from '../show.ts';

/** Paths. `running` holds claimed files that have not finished, and drafts of answers. */
export interface Folders {
  readonly spool: string;
  readonly running: string;
  readonly failed: string;
}

/** The suffix of a file with commands. */
export const suffix = '.cmd';

/** Names that scripts may use: no blanks, no hidden files, nothing that looks like an option. */
export const validName = /^\w[\w.-]{0,199}$/;

/** Directory entries read at a time; other work runs in between. */
const entriesAtOnce = 32;

/**
 * The names of the command files in the folder, sorted and without their suffix; if there are very many, the first ones.
 * @param onInvalid is called with each `*.cmd` that is not a regular file or has an unusable name
 */
export async function listFiles(folder: string, onInvalid: (file: string) => void): Promise<string[]> {
  let names: string[] = [];
  // The folder may have been removed since it was checked.
  const entries = await opendir(folder, { bufferSize: entriesAtOnce }).catch((error: unknown) => {
    throw explained(folder, error);
  });
  for await (const entry of entries) {
    if (!entry.name.endsWith(suffix)) continue;
    const name = entry.name.slice(0, -suffix.length);
    if (!entry.isFile() || !validName.test(name)) onInvalid(entry.name);
    else if (names.push(name) >= 2 * maxSpoolNames) names = firstOf(names);
  }
  return firstOf(names);
}

function firstOf(names: string[]): string[] {
  return names.sort().slice(0, maxSpoolNames);
}

/**
 * The names that can be claimed in order: the common start of two listings in a row. A single listing may miss a file that
 * was created while it ran and still include a later one. Two listings that agree up to a name miss nothing before it: a file
 * with an earlier name that existed before that one was there when the second listing began.
 */
export function stableNames(before: readonly string[], now: readonly string[]): readonly string[] {
  const difference = now.findIndex((name, index) => name !== before[index]);
  return difference < 0 ? now : now.slice(0, difference);
}

/**
 * Moves the file to `running`. From here on it is never run again, however this process ends.
 * @returns false if the file is gone
 * @throws Error if the rename fails; the file stays where it is
 */
export function claim({ spool, running }: Folders, name: string): boolean {
  // An old answer goes first, so the answer to a file in `running` is never an older one: see `isAnswered`.
  if (isRegularFile(join(spool, `${name}.out`)) !== undefined) remove(join(spool, `${name}.out`), 'EISDIR');
  try {
    renameSync(join(spool, name + suffix), join(running, name + suffix));
  } catch (error) {
    if (errorCode(error) === 'ENOENT') return false;
    throw error;
  }
  return true;
}

/** Opens what `datasync` is called on to write claims to the disk. The caller closes it. */
export function openForSync({ spool }: Folders): Promise<FileHandle> {
  return open(spool, 'r');
}

/** Writes the answer to a file that ran to its end. @throws Error if it cannot be written */
export async function writeAnswer(folders: Folders, name: string, output: readonly Buffer[]): Promise<void> {
  await moveIntoPlace(folders, `${name}.out`, output, folders.spool);
  // No await in between: a script may remove the answer at once, and this file would seem to have none.
  removeClaimed(folders, name);
}

export function removeClaimed({ running }: Folders, name: string): void {
  remove(join(running, name + suffix));
}

/** Whether a file found in `running` had finished and only its removal was missing. */
export function isAnswered({ spool }: Folders, name: string): boolean {
  return isRegularFile(join(spool, `${name}.out`)) === true;
}

/**
 * Moves a claimed file to `failed`, with its output so far and the reason.
 * @throws Error if the file cannot be moved; an output that cannot be written is only logged
 */
export async function moveToFailed(folders: Folders, name: string, output: readonly Buffer[]): Promise<void> {
  const { running, failed } = folders;
  // The folder may have been removed since the last check.
  await createSubfolders(folders);
  const free = freeName(failed, name);
  try {
    await moveIntoPlace(folders, `${free}.out`, output, failed);
  } catch (error) {
    log('warn', 'spool answer lost', { name, reason: (error as Error).message });
  }
  renameSync(join(running, name + suffix), join(failed, free + suffix));
}

/** Keeps what failed before under the same name. */
function freeName(failed: string, name: string): string {
  let free = name;
  while (isRegularFile(join(failed, free + suffix)) !== undefined) free = `${name}.${Date.now()}`;
  return free;
}

/** Writes a draft and renames it: readers never see half a file, and a planted link is replaced, not followed. */
async function moveIntoPlace(
  { running }: Folders,
  file: string,
  bytes: readonly Buffer[],
  into: string,
): Promise<void> {
  const draft = join(running, file);
  const descriptor = await createFile(draft);
  try {
    await nextStep();
    try {
      await writeInSteps(descriptor, bytes);
    } finally {
      closeSync(descriptor);
    }
    await nextStep();
    renameSync(draft, join(into, file));
  } catch (error) {
    try {
      unlinkSync(draft);
    } catch {}
    throw error;
  }
}

async function createFile(path: string): Promise<number> {
  try {
    return await openInPool(path, 'wx', 0o640);
  } catch (error) {
    if (errorCode(error) !== 'EEXIST') throw error;
    // A server that was killed left it behind.
    unlinkSync(path);
    return openInPool(path, 'wx', 0o640);
  }
}

/** In the thread pool: in a folder that has seen many files, some file systems search long for a free slot. */
const openInPool = promisify(openDescriptor);

/** Whether a claimed file is still in `running`. */
export function isClaimed({ running }: Folders, name: string): boolean {
  return pathExists(join(running, name + suffix));
}

export function pathExists(path: string): boolean {
  return isRegularFile(path) !== undefined;
}

/** Whether the path is a regular file; undefined if it does not exist. */
function isRegularFile(path: string): boolean | undefined {
  return lstatSync(path, { throwIfNoEntry: false })?.isFile();
}

/** Removes the file if it exists. @param ignored error codes that are no failure either */
function remove(path: string, ...ignored: readonly string[]): void {
  try {
    unlinkSync(path);
  } catch (error) {
    if (!['ENOENT', ...ignored].includes(errorCode(error) ?? '')) throw error;
  }
}

/**
 * Creates the folders that are missing, and checks that all of them are safe.
 * @throws Error, a sentence
 */
export async function openFolders(path: string): Promise<Folders> {
  try {
    await createFolder(path);
    const folders = findFolders(path);
    await createSubfolders(folders);
    checkFolders(folders);
    return folders;
  } catch (error) {
    throw new Error(`cannot use the spool ${path}: ${(error as Error).message}`);
  }
}

/** Resolves the path, which may lead to another folder than last time. @throws Error, a sentence */
export function findFolders(path: string): Folders {
  try {
    const spool = realpathSync.native(path);
    if (!statSync(spool).isDirectory()) throw new Error(`it is a file, not a folder; ${advice}`);
    return { spool, running: join(spool, 'running'), failed: join(spool, 'failed') };
  } catch (error) {
    throw explained(path, error);
  }
}

/** Creates `running` and `failed` if they are missing. @throws Error, a sentence */
export async function createSubfolders({ running, failed }: Folders): Promise<void> {
  await createFolder(running);
  await createFolder(failed);
}

async function createFolder(path: string): Promise<void> {
  try {
    await mkdir(path, { mode: 0o700 });
  } catch (error) {
    if (errorCode(error) === 'EEXIST') return;
    const parent = dirname(path);
    if (errorCode(error) !== 'ENOENT') throw explained(path, error);
    const parentExists = await stat(parent).then(
      () => true,
      () => false,
    );
    throw new Error(
      parentExists
        ? `the system creates no folders in ${parent}; ${advice}`
        : `the folder ${parent} does not exist; create it first`,
    );
  }
}

const advice = 'choose another with --spool';

function missing(path: string): Error {
  return new Error(`the folder ${path} does not exist (or a link to it is broken); create it again`);
}

/** A plain sentence for the system's error. */
export function explained(path: string, error: unknown): Error {
  switch (errorCode(error)) {
    case 'ENOENT':
      return missing(path);
    case 'ENOTDIR':
      return new Error(`part of its path is a file, not a folder; ${advice}`);
    case 'EACCES':
    case 'EPERM':
      return new Error(`permission denied; let the server's user read and write it, or ${advice}`);
    case 'ELOOP':
      return new Error(`its symbolic links form a loop; ${advice}`);
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

export interface CheckedFolders {
  /** Changes when the path leads to another folder. */
  readonly identity: string;
  /** Whether both subfolders exist. */
  readonly isComplete: boolean;
}

/**
 * Synchronous, because every pass calls it: in the thread pool these calls would take this thread longer.
 * @throws Error, a sentence, if the spool is gone or a folder is not safe
 */
export function checkFolders({ spool, running, failed }: Folders): CheckedFolders {
  const stats = checkFolder(spool);
  if (stats === undefined) throw missing(spool);
  const [runningStats, failedStats] = [checkFolder(running), checkFolder(failed)];
  const isComplete = runningStats !== undefined && failedStats !== undefined;
  return { identity: `${spool} ${stats.dev} ${stats.ino} ${stats.birthtimeMs}`, isComplete };
}

/** @returns undefined if it does not exist @throws Error, a sentence, if it is not safe */
function checkFolder(path: string): Stats | undefined {
  const stats = statsOf(path);
  if (stats === undefined) return undefined;
  if (!stats.isDirectory()) throw new Error(`${path} is not a folder; move it away`);
  const user = process.getuid?.() ?? stats.uid;
  if (stats.uid !== user && stats.uid !== 0) {
    throw new Error(
      `${path} belongs to another user (uid ${stats.uid}); chown it to the user that runs the server`,
    );
  }
  if ((stats.mode & 0o002) !== 0) {
    throw new Error(`everyone can write to ${path}, and so control the server; run chmod o-w on it`);
  }
  return stats;
}

function statsOf(path: string): Stats | undefined {
  try {
    return lstatSync(path, { throwIfNoEntry: false });
  } catch (error) {
    throw explained(path, error);
  }
}

export interface RegularFile {
  readonly bytes: Buffer;
  /** Changes when the file is written to. */
  readonly stamp: string;
}

const readFlags = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK;

/**
 * Reads the whole file, a long one in steps.
 * @param maxSize in bytes
 * @throws Error, the end of a sentence, if the file cannot be read or is not a regular file
 */
export async function readRegularFile(path: string, maxSize: number): Promise<RegularFile> {
  const descriptor = openForReading(path);
  try {
    const stats = fstatSync(descriptor);
    if (!stats.isFile()) throw new Error('it is not a regular file; write a plain file');
    if (stats.nlink > 1) throw new Error('it has other names, too (hard links); write a copy');
    if (stats.size > maxSize) throw new Error(`it is larger than ${formatSize(maxSize)}; split it`);
    const bytes = Buffer.allocUnsafe(stats.size);
    for (let at = 0; at < bytes.length; ) {
      if (at > 0) await nextStep();
      const read = readSync(descriptor, bytes, at, Math.min(stepSize, bytes.length - at), at);
      // The file was truncated meanwhile.
      if (read === 0) return { bytes: bytes.subarray(0, at), stamp: stampOf(stats) };
      at += read;
    }
    return { bytes, stamp: stampOf(stats) };
  } finally {
    closeSync(descriptor);
  }
}

function openForReading(path: string): number {
  try {
    return openSync(path, readFlags);
  } catch (error) {
    throw errorCode(error) === 'ELOOP' ? new Error('it is a symbolic link') : error;
  }
}

/** Whether nobody has written to the file since it was read. */
export function isUnchanged(path: string, { stamp }: RegularFile): boolean {
  return stampOf(lstatSync(path)) === stamp;
}

function stampOf({ ino, size, mtimeMs }: Stats): string {
  return `${ino} ${size} ${mtimeMs}`;
}

/** Bytes read or written in one step. */
const stepSize = 64 * 1024;

const pace = {
  server: undefined as Server | undefined,
  /** The clients' message counter when it last changed, and when that was seen; milliseconds. */
  messagesIn: 0,
  changedAt: Number.NEGATIVE_INFINITY,
  /** When the event loop last ran; milliseconds. */
  stepBegan: 0,
};

/** From now on the spool yields to this server's clients. */
export function setPace(server: Server): void {
  pace.server = server;
  pace.messagesIn = server.counters.messagesIn;
  pace.changedAt = Number.NEGATIVE_INFINITY;
}

function noteClientMessages(now: number): void {
  const messagesIn = pace.server?.counters.messagesIn ?? 0;
  if (messagesIn === pace.messagesIn) return;
  pace.messagesIn = messagesIn;
  pace.changedAt = now;
}

function areClientsActive(now: number): boolean {
  return now - pace.changedAt < clientQuietPeriod;
}

/**
 * Lets the event loop run. While clients are active it also sleeps: a client on the same core would otherwise wait for the
 * last step. If they are not, the loop polls twice: the first poll finds what arrived during a step, and that is served before
 * the second one returns.
 */
export async function nextStep(): Promise<void> {
  const now = performance.now();
  noteClientMessages(now);
  if (areClientsActive(now)) {
    await sleep(spoolStepPause);
  } else {
    await setImmediate();
    await setImmediate();
  }
  pace.stepBegan = performance.now();
}

/** `nextStep` between two lines: lines are short, so one step may run several. */
export async function nextLine(): Promise<void> {
  const now = performance.now();
  if (now - pace.stepBegan < spoolStepTime) return;
  noteClientMessages(now);
  if (areClientsActive(now)) await nextStep();
}

/** `nextStep` between two files. @param began when the last one began; milliseconds */
export async function nextFile(began: number): Promise<void> {
  const now = performance.now();
  noteClientMessages(now);
  if (areClientsActive(now)) await sleep(Math.max(0, began + spoolFileInterval - now));
  await nextStep();
}

function sleep(milliseconds: number): Promise<void> {
  return new Promise(resolve => setTimeout(resolve, milliseconds));
}

async function writeInSteps(descriptor: number, pieces: readonly Buffer[]): Promise<void> {
  let left = stepSize;
  for (const piece of pieces) {
    for (let at = 0; at < piece.length; ) {
      if (left === 0) {
        await nextStep();
        left = stepSize;
      }
      const written = writeSync(descriptor, piece, at, Math.min(left, piece.length - at));
      at += written;
      left -= written;
    }
  }
}
