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
import { closeSync, lstatSync, open as openDescriptor, renameSync, unlinkSync } from 'node:fs';
import { type FileHandle, open, opendir } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { log } from '../../log/log.ts';
import { maxSpoolNames } from '../../protocol/limits.ts';
import { errorCode } from '../../storage/disk.ts';
import { completeFolders, explained } from './spoolSafety.ts';
import { nextStep, writeInSteps } from './spoolSteps.ts';

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
