/**
 * The files of the spool. A script's `NAME.cmd` is renamed into `running/`, run, answered by `NAME.out` and removed; what
 * fails goes to `failed/`. Each step is one rename or removal, so at every moment its place says how far a file has come,
 * whenever the process ends: nothing is run twice, and nothing is lost.
 *
 * Against the end of the process that is enough: the system keeps what it was told. Against a power cut it is not, so it is
 * on the disk that a file was taken, before its first line is run; but of many files that are run one after the other, that
 * is seen to for every 32nd only: a power cut among them may have the last 32 run again. The answers are not waited for: it
 * may cost the last ones.
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
import type { Server } from '../../core/server.ts';
import { log } from '../../log/log.ts';
import {
  clientQuietPeriod,
  maxSpoolNames,
  spoolFileInterval,
  spoolStepPause,
  spoolStepTime,
} from '../../protocol/limits.ts';
import { errorCode } from '../../storage/disk.ts';
import { showSize } from '../show.ts';

/** Its folders, as paths. What is in `running` was taken, and has not come to its end; drafts of answers, too. */
export interface Folders {
  readonly spool: string;
  readonly running: string;
  readonly failed: string;
}

/** The end of the name of a file with commands. */
export const suffix = '.cmd';

/** What a script may call its files: no blanks, nothing hidden, nothing that looks like an option. */
export const fitName = /^\w[\w.-]{0,199}$/;

/** How many names at a time come from the system; between them, others have their turn. */
const namesAtOnce = 32;

/**
 * The files with commands that are there, without their suffix, in the order of their names; of very many, the first.
 * @param refuse is told of each file that is called so, and cannot be meant
 */
export async function listFiles(folder: string, refuse: (file: string) => void): Promise<string[]> {
  let names: string[] = [];
  // The folder may have been removed since it was checked.
  const entries = await opendir(folder, { bufferSize: namesAtOnce }).catch((error: unknown) => {
    throw explained(folder, error);
  });
  for await (const entry of entries) {
    if (!entry.name.endsWith(suffix)) continue;
    const name = entry.name.slice(0, -suffix.length);
    if (!entry.isFile() || !fitName.test(name)) refuse(entry.name);
    else if (names.push(name) >= 2 * maxSpoolNames) names = firstOf(names);
  }
  return firstOf(names);
}

function firstOf(names: string[]): string[] {
  return names.sort().slice(0, maxSpoolNames);
}

/**
 * What is ready to be taken. A look at a folder may miss what comes meanwhile, and yet see what came after that. What two
 * looks in a row agree on, from the first name on, is complete: whatever was there before one of these, and has an earlier
 * name, was there before the second look began.
 */
export function agreed(before: readonly string[], there: readonly string[]): readonly string[] {
  const differs = there.findIndex((name, index) => name !== before[index]);
  return differs < 0 ? there : there.slice(0, differs);
}

/**
 * Takes the file: from here on it is not run again, however this process ends.
 * @returns false where it is not there any more
 * @throws Error where it cannot be had; then it stays where it is
 */
export function take({ spool, running }: Folders, name: string): boolean {
  // So whatever is the answer to a file in `running` is the answer to this one: see `isAnswered`.
  if (isPlain(join(spool, `${name}.out`)) !== undefined) remove(join(spool, `${name}.out`), 'EISDIR');
  try {
    renameSync(join(spool, name + suffix), join(running, name + suffix));
  } catch (error) {
    if (errorCode(error) === 'ENOENT') return false;
    throw error;
  }
  return true;
}

/** What `datasync` is called on, so that the disk has it which files were taken. Its opener closes it. */
export function openToSync({ spool }: Folders): Promise<FileHandle> {
  return open(spool, 'r');
}

/** Leaves the answer to a file that has been run to its end. @throws Error where it could not be written */
export async function answer(folders: Folders, name: string, output: readonly Buffer[]): Promise<void> {
  await put(folders, `${name}.out`, output, folders.spool);
  // In the same step: a script may take the answer away at once, and this file would seem to be without one.
  forget(folders, name);
}

/** A file that was taken goes. */
export function forget({ running }: Folders, name: string): void {
  remove(join(running, name + suffix));
}

/** Whether a file that is found in `running` had been run to its end, but for going. */
export function isAnswered({ spool }: Folders, name: string): boolean {
  return isPlain(join(spool, `${name}.out`)) === true;
}

/**
 * Puts a file that was taken aside, with what was said up to there, and why no more.
 * @throws Error where it cannot be moved; that its answer cannot be written is only logged
 */
export async function putAside(folders: Folders, name: string, output: readonly Buffer[]): Promise<void> {
  const { running, failed } = folders;
  // Somebody may have removed it since the last look.
  await completeFolders(folders);
  const free = freeName(failed, name);
  try {
    await put(folders, `${free}.out`, output, failed);
  } catch (error) {
    log('warn', 'spool answer lost', { name, reason: (error as Error).message });
  }
  renameSync(join(running, name + suffix), join(failed, free + suffix));
}

/** What failed before under the same name is kept. */
function freeName(failed: string, name: string): string {
  let free = name;
  while (isPlain(join(failed, free + suffix)) !== undefined) free = `${name}.${Date.now()}`;
  return free;
}

/** Never half of it under its name, and never through a link that somebody put there. */
async function put(
  { running }: Folders,
  file: string,
  bytes: readonly Buffer[],
  into: string,
): Promise<void> {
  const draft = join(running, file);
  const descriptor = await openNew(draft);
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

/** Elsewhere: where many files have come and gone, a file system may look for long where to put a new one. */
async function openNew(path: string): Promise<number> {
  try {
    return await openElsewhere(path, 'wx', 0o640);
  } catch (error) {
    if (errorCode(error) !== 'EEXIST') throw error;
    // Left behind by a server that was killed.
    unlinkSync(path);
    return openElsewhere(path, 'wx', 0o640);
  }
}

const openElsewhere = promisify(openDescriptor);

/** Whether a file that was taken is where it was put, and nobody took it away. */
export function isTaken({ running }: Folders, name: string): boolean {
  return isThere(join(running, name + suffix));
}

export function isThere(path: string): boolean {
  return isPlain(path) !== undefined;
}

/** Whether what is there is a plain file; undefined where nothing is. */
function isPlain(path: string): boolean | undefined {
  return lstatSync(path, { throwIfNoEntry: false })?.isFile();
}

/** What is not there is as good as removed, and so is what gives one of these errors. */
function remove(path: string, ...codes: readonly string[]): void {
  try {
    unlinkSync(path);
  } catch (error) {
    if (!['ENOENT', ...codes].includes(errorCode(error) ?? '')) throw error;
  }
}

/**
 * Write access to the spool's folder is control of the server, so the folder must not be writable for everyone. Only plain
 * files in it are read: no links, which lead elsewhere, and no FIFOs, whose opening could block.
 */

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

/**
 * How the spool calls the system: what is over at once (a name is changed, a short file is read) is done at once, a few
 * calls a step, and between two steps the loop has a turn. By way of Node's threads each of these calls would cost
 * this thread more than the call itself does. Whatever has the disk write waits elsewhere: see `datasync` in spool.ts.
 */

/** Bytes that are read or written in one step. */
export const stepLength = 64 * 1024;

const pace = {
  server: undefined as Server | undefined,
  /** The clients' messages when they were counted last, and when there were more than before; milliseconds. */
  heard: 0,
  heardAt: Number.NEGATIVE_INFINITY,
  /** When the loop had the last turn for others; milliseconds. */
  stepBegan: 0,
};

/** From now on it is this server's clients that are not to be held up. */
export function paceBy(server: Server): void {
  pace.server = server;
  pace.heard = server.counters.messagesIn;
  pace.heardAt = Number.NEGATIVE_INFINITY;
}

function doClientsTalk(now: number): boolean {
  const heard = pace.server?.counters.messagesIn ?? 0;
  if (heard !== pace.heard) {
    pace.heard = heard;
    pace.heardAt = now;
  }
  return now - pace.heardAt < clientQuietPeriod;
}

/**
 * Others have their turn. While clients talk the loop sleeps in between: else a client that shares its core would have to
 * wait for the last step. Otherwise it is polled twice: what came in during a step is found by the first poll, and has its
 * turn behind that.
 */
export async function nextStep(): Promise<void> {
  if (doClientsTalk(performance.now())) {
    await sleep(spoolStepPause);
  } else {
    await setImmediate();
    await setImmediate();
  }
  pace.stepBegan = performance.now();
}

/** The same between two lines: as they are short, several may be one step. */
export async function nextLine(): Promise<void> {
  const now = performance.now();
  if (now - pace.stepBegan >= spoolStepTime && doClientsTalk(now)) await nextStep();
}

/** The same between two files. @param began when the last one did; milliseconds */
export async function nextFile(began: number): Promise<void> {
  const now = performance.now();
  if (doClientsTalk(now)) await sleep(Math.max(0, began + spoolFileInterval - now));
  await nextStep();
}

function sleep(milliseconds: number): Promise<void> {
  return new Promise(resolve => setTimeout(resolve, milliseconds));
}

/** Writes all of it, a step at a time. */
export async function writeInSteps(descriptor: number, pieces: readonly Buffer[]): Promise<void> {
  let left = stepLength;
  for (const piece of pieces) {
    for (let at = 0; at < piece.length; ) {
      if (left === 0) {
        await nextStep();
        left = stepLength;
      }
      const written = writeSync(descriptor, piece, at, Math.min(left, piece.length - at));
      at += written;
      left -= written;
    }
  }
}
