/**
 * The door of scripts: a file that is renamed to `*.cmd` in the spool's folder is run, a line a command, and answered by a
 * file. One file at a time, in the order of their names, and one line at a time: so of a thousand files each line has its
 * own turn at the observer, and what the disk has to do is waited for elsewhere than on this thread.
 */
import type { FileHandle } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { log } from '../../log/log.ts';
import {
  maxSpoolFile,
  spoolRecreateDelay,
  spoolRescanInterval,
  spoolSyncBatch,
} from '../../protocol/limits.ts';
import { followLinks } from '../../storage/links.ts';
import { newWatch, type Watch } from '../../storage/watch.ts';
import type { Control } from '../command.ts';
import {
  agreed,
  answer,
  checkFolders,
  completeFolders,
  type Folders,
  findFolders,
  forget,
  isAnswered,
  isTaken,
  isThere,
  isUnchanged,
  listFiles,
  nextFile,
  nextStep,
  openFolders,
  openToSync,
  paceBy,
  putAside,
  readPlainFile,
  suffix,
  take,
} from './spoolFiles.ts';
import { allOf, newRun, type Run, runLines } from './spoolRun.ts';

export interface Spool {
  /** Resolves when nothing is being run any more. What waits is left for the next server. */
  close(): Promise<void>;
}

/** The door's own state. */
interface Door {
  readonly control: Control;
  /** As it was given. It may lead elsewhere later. */
  readonly path: string;
  folders: Folders;
  /** Of the folder that was looked at last; undefined: there was none. */
  identity: string | undefined;
  readonly watch: Watch;
  readonly ending: AbortController;
  /** Something may have come since this was last seen false. */
  isWoken: boolean;
  /** The watch is renewed at the next look. */
  isWatchDue: boolean;
  /** Ends the nap, if there is one. */
  wake(): void;
  /** What was complained about last: the same is not said again and again. */
  complaint: string;
  /** Files that were found unfit, a few of them. */
  readonly refused: Set<string>;
}

/**
 * Puts aside what an earlier server left half done, and then takes what comes, until it is closed.
 * @param path of the folder, which is made if it is not there
 * @throws Error, a sentence, where it cannot be used, or is not safe
 */
export async function openSpool(control: Control, path: string): Promise<Spool> {
  const door: Door = {
    control,
    path,
    folders: await openFolders(path),
    identity: undefined,
    watch: newWatch(
      (folder, name) => {
        if (concerns(door, folder, name)) rouse(door);
      },
      (folder, reason) =>
        log('warn', 'spool not watched', { folder, reason, lookedAtEvery: spoolRescanInterval }),
    ),
    ending: new AbortController(),
    isWoken: false,
    isWatchDue: true,
    wake() {},
    complaint: '',
    refused: new Set(),
  };
  paceBy(control.server);
  await reopen(door);
  const done = work(door);
  return {
    async close() {
      door.ending.abort();
      door.watch.close();
      rouse(door);
      await done;
    },
  };
}

/** What was running when an earlier server ended is not run again: nobody knows how far it came. */
async function recover(folders: Folders): Promise<void> {
  const reason = 'the server ended while this was running; it may have been run in part';
  for (const name of isThere(folders.running) ? await listFiles(folders.running, () => {}) : []) {
    if (isAnswered(folders, name)) {
      forget(folders, name);
    } else {
      await putAside(folders, name, [Buffer.from(`${reason}\n`)]);
      log('warn', 'spool file failed', { name, reason });
    }
  }
}

/** In the spool only files with commands do; elsewhere, the links that lead to it, and the spool itself. */
function concerns({ folders }: Door, folder: string, name: string | undefined): boolean {
  if (folder !== folders.spool || name === undefined) return true;
  return name.endsWith(suffix) || name === basename(folder);
}

/**
 * Finds the folders that the path leads to now. A folder that was recreated, or that a link was switched to, is opened as at
 * the start. A missing folder is not made: the script that removed it may be about to make it.
 * @returns whether the folders in it are there
 * @throws Error, a sentence, where it is gone, or not safe
 */
async function reopen(door: Door): Promise<boolean> {
  if (door.isWatchDue) await renewWatch(door);
  try {
    const folders = findFolders(door.path);
    const { identity, isComplete } = checkFolders(folders);
    if (identity === door.identity) return isComplete;
    await recover(folders);
    door.folders = folders;
    door.identity = identity;
    await renewWatch(door);
    return isComplete;
  } catch (error) {
    door.identity = undefined;
    await renewWatch(door);
    throw error;
  }
}

async function renewWatch(door: Door): Promise<void> {
  const { real, hops } = await followLinks(door.path);
  await door.watch.renew(real === undefined ? [] : [real], hops);
  door.isWatchDue = false;
}

function rouse(door: Door): void {
  door.isWoken = true;
  door.wake();
}

/** Until something comes, or it is time to look whether something did. */
async function nap(door: Door): Promise<void> {
  if (!door.isWoken) {
    await new Promise<void>(resolve => {
      const timer = setTimeout(() => {
        door.isWatchDue = true;
        resolve();
      }, spoolRescanInterval).unref();
      door.wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }
  door.isWoken = false;
}

async function work(door: Door): Promise<void> {
  let left: readonly string[] = [];
  while (!door.ending.signal.aborted) {
    try {
      left = await takeWhatIsThere(door, left);
      if (door.complaint !== '') log('info', 'spool served again', { folder: door.folders.spool });
      door.complaint = '';
    } catch (error) {
      complain(door, (error as Error).message);
      left = [];
    }
    if (left.length === 0) await nap(door);
  }
}

/**
 * @param before what the last look saw, and was not taken
 * @returns the same for the next one
 * @throws Error where the folder is not as it should be
 */
async function takeWhatIsThere(door: Door, before: readonly string[]): Promise<readonly string[]> {
  if (!mayTake(door)) return [];
  const isComplete = await reopen(door);
  const { folders } = door;
  const there = await listFiles(folders.spool, file => refuse(door, file));
  const ready = agreed(before, there);
  if (ready.length === 0) return there;
  // Where all of it is taken, there may be more by then.
  door.isWoken = true;
  if (!isComplete) {
    // A removal of the spool empties it first, and would fail on a new folder in it.
    await sleep(spoolRecreateDelay);
    await completeFolders(folders);
  }
  const toSync = await openToSync(folders);
  try {
    for (const [index, name] of ready.entries()) {
      if (!mayTake(door)) return [];
      if (take(folders, name)) await runFile(door, name, index % spoolSyncBatch === 0 ? toSync : undefined);
    }
    if (ready.length > 1) await toSync.datasync();
  } finally {
    await toSync.close();
  }
  return there.slice(ready.length);
}

/** While the server drains, nothing more is begun. */
function mayTake({ control, ending }: Door): boolean {
  return !control.server.isDraining && !ending.signal.aborted;
}

/** @param toSync given where the disk is to have it first that this and others were taken */
async function runFile(door: Door, name: string, toSync: FileHandle | undefined): Promise<void> {
  const { control, folders, ending } = door;
  const run = newRun(name, control, folders, ending.signal);
  const began = performance.now();
  try {
    // Before the first line: after a power cut, it is not to be run again.
    await toSync?.datasync();
    await nextStep();
    await runWhole(run, name);
    const milliseconds = Math.round(performance.now() - began);
    log('info', 'spool file done', { name, commands: run.commands, milliseconds });
  } catch (error) {
    await fail(door, run, name, (error as Error).message);
  }
  for (const then of run.followers) then();
  await nextFile(began);
}

async function runWhole(run: Run, name: string): Promise<void> {
  const path = join(run.folders.running, name + suffix);
  const file = await readPlainFile(path, maxSpoolFile);
  if (file.bytes.length === 0) throw new Error(`it is empty; ${advice}`);
  await nextStep();
  await runLines(run, file.bytes);
  await nextStep();
  if (!isTaken(run.folders, name)) throw new Error('it was taken away while it was run');
  if (!isUnchanged(path, file)) throw new Error(`it was written to while it was run; ${advice}`);
  await answer(run.folders, name, allOf(run.output));
  await nextStep();
}

const advice = 'write it under another name, and rename it when it is whole';

/** Nothing else is taken before it is put aside. */
async function fail(door: Door, run: Run, name: string, reason: string): Promise<void> {
  const said = allOf(run.output, `${reason}\n`);
  while (!(await isPutAside(door, run, name, said))) await nap(door);
  log('warn', 'spool file failed', { name, commands: run.commands, reason });
}

/** Or need not be: somebody took it away; or the server ends, and sees to it when it is started again. */
async function isPutAside(door: Door, run: Run, name: string, said: readonly Buffer[]): Promise<boolean> {
  try {
    await putAside(run.folders, name, said);
    return true;
  } catch (error) {
    complain(door, (error as Error).message);
    return !isTaken(run.folders, name) || door.ending.signal.aborted;
  }
}

function complain(door: Door, reason: string): void {
  if (reason !== door.complaint) log('error', 'spool trouble', { reason });
  door.complaint = reason;
}

const mostRefused = 100;

/** Once for each, but it is not held against those who come after very many. */
function refuse({ refused }: Door, file: string): void {
  if (refused.has(file) || refused.size >= mostRefused) return;
  refused.add(file);
  const reason = 'only plain files are taken, whose names are of letters, digits, ., _ and -';
  log('warn', 'spool file ignored', { file, reason });
}
