/**
 * The files of the spool. A script's `NAME.cmd` is renamed to `NAME.cmd.running`, run, answered by `NAME.out`, and removed;
 * what fails goes to `failed/`. Each step is one rename or removal, so at every moment a file's name says how far it has
 * come, whenever the process ends: nothing is run twice, and nothing is lost.
 *
 * Against the end of the process that is enough: the system keeps what it was told. Against a power cut it is not, so the
 * new name is on the disk before the first line is run. The answers are not waited for: a power cut may cost the last ones.
 */
import { lstat, opendir, rename, rm, unlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { log } from '../log/log.ts';
import { maxSpoolNames } from '../protocol/bounds.ts';
import { errorCode, realDisk } from '../storage/disk.ts';
import { failedFolder } from './spoolSafety.ts';

/** Behind the name of a file that waits, and of one that is run. */
export const waiting = '.cmd';
export const running = '.cmd.running';

/** What a script may call its files: no blanks, nothing hidden, nothing that looks like an option. */
export const fitName = /^\w[\w.-]{0,199}$/;

/** How many names at a time come from the system. */
const namesAtOnce = 256;

/**
 * The files there that end in `suffix`, without it, in the order of their names; of very many, the first.
 * @param refuse is told of each file that ends so and cannot be meant
 */
export async function listFiles(
  folder: string,
  suffix: string,
  refuse: (file: string) => void,
): Promise<string[]> {
  let names: string[] = [];
  for await (const entry of await opendir(folder, { bufferSize: namesAtOnce })) {
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
 * Takes the file: from here on it is not run again, however this process ends.
 * @returns false where it is not there any more
 * @throws Error where it cannot be had; then it has not been touched
 */
export async function take(folder: string, name: string): Promise<boolean> {
  // An answer beside a running file is always the answer to it: see `settle`.
  await unlink(join(folder, `${name}.out`)).catch(unless('ENOENT', 'EISDIR'));
  try {
    await rename(join(folder, name + waiting), join(folder, name + running));
  } catch (error) {
    if (errorCode(error) === 'ENOENT') return false;
    throw error;
  }
  return true;
}

/** Waits until the disk has it that the file was taken. */
export async function keepTaken(folder: string): Promise<void> {
  await realDisk.syncInBackground(folder);
}

/** Leaves the answer to a running file, which has been run to its end. @throws Error where it could not be written */
export async function answer(folder: string, name: string, output: readonly Buffer[]): Promise<void> {
  await put(folder, `${name}.out`, output);
  await rm(join(folder, name + running), { force: true });
}

/**
 * Puts a running file aside, with what was said up to there, and why no more.
 * @throws Error where it cannot be moved; that its answer cannot be written is only logged
 */
export async function putAside(folder: string, name: string, output: readonly Buffer[]): Promise<void> {
  const failed = failedFolder(folder);
  const free = await freeName(failed, name);
  try {
    await put(failed, `${free}.out`, output);
  } catch (error) {
    log('warn', 'spool answer lost', { name, reason: (error as Error).message });
  }
  await rename(join(folder, name + running), join(failed, free + waiting));
}

/** What failed before under the same name is kept. */
async function freeName(failed: string, name: string): Promise<string> {
  let free = name;
  while (await isThere(join(failed, free + waiting))) free = `${name}.${Date.now()}`;
  return free;
}

/** Never half of it under its own name, and never through a link that somebody put there. */
async function put(folder: string, file: string, bytes: readonly Buffer[]): Promise<void> {
  const draft = join(folder, `.${file}.new`);
  await rm(draft, { force: true });
  try {
    await writeFile(draft, bytes, { flag: 'wx', mode: 0o640 });
    await rename(draft, join(folder, file));
  } catch (error) {
    await unlink(draft).catch(() => {});
    throw error;
  }
}

/** Whether a file that was found running, when this process began, has its answer; then it was done, and goes. */
export async function settle(folder: string, name: string): Promise<boolean> {
  const answer = await lstat(join(folder, `${name}.out`)).catch(unless('ENOENT'));
  if (!answer?.isFile()) return false;
  await rm(join(folder, name + running), { force: true });
  return true;
}

async function isThere(path: string): Promise<boolean> {
  return (await lstat(path).catch(unless('ENOENT'))) !== undefined;
}

/** What to do with an error: these are as good as done. */
function unless(...codes: readonly string[]): (error: unknown) => undefined {
  return error => {
    if (!codes.includes(errorCode(error) ?? '')) throw error;
  };
}
