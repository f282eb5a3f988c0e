/**
 * The spool: a folder in which scripts leave commands. A file renamed to `*.cmd` is run, one command per line, and answered by
 * a file. Files run one at a time in the order of their names, and lines one at a time, so each line waits its turn in the
 * command queue like any other command. This thread never waits for the disk.
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
  checkFolders,
  claim,
  createSubfolders,
  type Folders,
  findFolders,
  isAnswered,
  isClaimed,
  isUnchanged,
  listFiles,
  moveToFailed,
  nextFile,
  nextStep,
  openFolders,
  openForSync,
  pathExists,
  readRegularFile,
  removeClaimed,
  setPace,
  stableNames,
  suffix,
  writeAnswer,
} from './spoolFiles.ts';
import { allOf, newSpoolRun, runLines, type SpoolRun } from './spoolRun.ts';

export interface Spool {
  /** Resolves when no command is running any more. Files that wait are left for the next server. */
  close(): Promise<void>;
}

interface SpoolState {
  readonly control: Control;
  /** As configured. It may lead to another folder later. */
  readonly path: string;
  folders: Folders;
  /** Identity of the folder seen last; undefined if there was none. */
  identity: string | undefined;
  readonly watch: Watch;
  readonly ending: AbortController;
  /** Files may have arrived since this was set to false. */
  isWoken: boolean;
  /** Renew the watch on the next pass. */
  isWatchDue: boolean;
  /** Ends `waitForFiles`, if it is waiting. */
  endWait(): void;
  /** Logged once, not on every pass. */
  lastError: string;
  /** Invalid file names that were logged. */
  readonly ignored: Set<string>;
}

/**
 * Cleans up after an earlier server, and then runs what arrives until it is closed.
 * @param path of the folder, which is created if it does not exist
 * @throws Error, a sentence, if the folder cannot be used or is not safe
 */
export async function openSpool(control: Control, path: string): Promise<Spool> {
  const state: SpoolState = {
    control,
    path,
    folders: await openFolders(path),
    identity: undefined,
    watch: newWatch(
      (folder, name) => {
        if (isRelevant(state, folder, name)) wake(state);
      },
      (folder, reason) =>
        log('warn', 'spool not watched', { folder, reason, checkedEvery: spoolRescanInterval }),
    ),
    ending: new AbortController(),
    isWoken: false,
    isWatchDue: true,
    endWait() {},
    lastError: '',
    ignored: new Set(),
  };
  setPace(control.server);
  await reopen(state);
  const done = serveSpool(state);
  return {
    async close() {
      state.ending.abort();
      state.watch.close();
      wake(state);
      await done;
    },
  };
}

/** Files that an earlier server was running are not run again: nothing shows how far they came. */
async function recover(folders: Folders): Promise<void> {
  const reason =
    'the server ended while this file was running; its commands may have been carried out in part';
  for (const name of pathExists(folders.running) ? await listFiles(folders.running, () => {}) : []) {
    if (isAnswered(folders, name)) {
      removeClaimed(folders, name);
    } else {
      await moveToFailed(folders, name, [Buffer.from(`${reason}\n`)]);
      log('warn', 'spool file failed', { name, reason });
    }
  }
}

/** In the spool's folder only command files matter; elsewhere, the folder itself and the links that lead to it. */
function isRelevant({ folders }: SpoolState, folder: string, name: string | undefined): boolean {
  if (folder !== folders.spool || name === undefined) return true;
  return name.endsWith(suffix) || name === basename(folder);
}

/**
 * Resolves the path again. A folder that was recreated, or that a link was switched to, is opened as at the start. A missing
 * folder is not created: the script that removed it may be about to create it.
 * @returns whether the subfolders exist
 * @throws Error, a sentence, if the folder is gone or not safe
 */
async function reopen(state: SpoolState): Promise<boolean> {
  if (state.isWatchDue) await renewWatch(state);
  try {
    const folders = findFolders(state.path);
    const { identity, isComplete } = checkFolders(folders);
    if (identity === state.identity) return isComplete;
    await recover(folders);
    state.folders = folders;
    state.identity = identity;
    await renewWatch(state);
    return isComplete;
  } catch (error) {
    state.identity = undefined;
    await renewWatch(state);
    throw error;
  }
}

async function renewWatch(state: SpoolState): Promise<void> {
  const { real, hops } = await followLinks(state.path);
  await state.watch.renew(real === undefined ? [] : [real], hops);
  state.isWatchDue = false;
}

function wake(state: SpoolState): void {
  state.isWoken = true;
  state.endWait();
}

/** Waits until the watch reports something or the next regular check is due. */
async function waitForFiles(state: SpoolState): Promise<void> {
  if (!state.isWoken) {
    await new Promise<void>(resolve => {
      const timer = setTimeout(() => {
        state.isWatchDue = true;
        resolve();
      }, spoolRescanInterval).unref();
      state.endWait = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }
  state.isWoken = false;
}

async function serveSpool(state: SpoolState): Promise<void> {
  let listed: readonly string[] = [];
  while (!state.ending.signal.aborted) {
    try {
      listed = await processReadyFiles(state, listed);
      if (state.lastError !== '') log('info', 'spool works again', { folder: state.folders.spool });
      state.lastError = '';
    } catch (error) {
      logError(state, (error as Error).message);
      listed = [];
    }
    if (listed.length === 0) await waitForFiles(state);
  }
}

/**
 * One pass: lists the folder, and runs the files that the pass before has listed, too.
 * @param before names that the pass before listed and did not run
 * @returns the same for the next pass
 * @throws Error if the folder cannot be used
 */
async function processReadyFiles(state: SpoolState, before: readonly string[]): Promise<readonly string[]> {
  if (!canClaim(state)) return [];
  const isComplete = await reopen(state);
  const { folders } = state;
  const listed = await listFiles(folders.spool, file => logIgnored(state, file));
  const ready = stableNames(before, listed);
  if (ready.length === 0) return listed;
  // By the time these have run, others may have arrived.
  state.isWoken = true;
  if (!isComplete) {
    // `rm -r` empties the folder first, and would fail on a new subfolder.
    await sleep(spoolRecreateDelay);
    await createSubfolders(folders);
  }
  const sync = await openForSync(folders);
  try {
    for (const [index, name] of ready.entries()) {
      if (!canClaim(state)) return [];
      if (claim(folders, name)) await runFile(state, name, index % spoolSyncBatch === 0 ? sync : undefined);
    }
    if (ready.length > 1) await sync.datasync();
  } finally {
    await sync.close();
  }
  return listed.slice(ready.length);
}

/** A draining server starts no files. */
function canClaim({ control, ending }: SpoolState): boolean {
  return !control.server.isDraining && !ending.signal.aborted;
}

/** @param sync if given, the claims so far are written to the disk first */
async function runFile(state: SpoolState, name: string, sync: FileHandle | undefined): Promise<void> {
  const { control, folders, ending } = state;
  const run = newSpoolRun(name, control, folders, ending.signal);
  const began = performance.now();
  try {
    // Before the first line: the file must not run again after a power cut.
    await sync?.datasync();
    await nextStep();
    await runClaimed(run, name);
    const milliseconds = Math.round(performance.now() - began);
    log('info', 'spool file done', { name, commands: run.commands, milliseconds });
  } catch (error) {
    await failFile(state, run, (error as Error).message);
  }
  for (const listener of run.onDone) listener();
  await nextFile(began);
}

async function runClaimed(run: SpoolRun, name: string): Promise<void> {
  const path = join(run.folders.running, name + suffix);
  const file = await readRegularFile(path, maxSpoolFile);
  if (file.bytes.length === 0) throw new Error(`the file is empty; ${advice}`);
  await nextStep();
  await runLines(run, file.bytes);
  await nextStep();
  if (!isClaimed(run.folders, name)) throw new Error('the file was removed while it ran');
  if (!isUnchanged(path, file)) throw new Error(`the file was changed while it ran; ${advice}`);
  await writeAnswer(run.folders, name, allOf(run.output));
  await nextStep();
}

const advice = 'write it under another name, and rename it when it is complete';

/** Waits until the file is in `failed`: no other is claimed before that. */
async function failFile(state: SpoolState, run: SpoolRun, reason: string): Promise<void> {
  const output = allOf(run.output, `${reason}\n`);
  while (!(await tryMoveToFailed(state, run, output))) await waitForFiles(state);
  log('warn', 'spool file failed', { name: run.name, commands: run.commands, reason });
}

/** @returns true also if the file was removed, or the server ends: the next one moves it */
async function tryMoveToFailed(
  state: SpoolState,
  { name, folders }: SpoolRun,
  output: readonly Buffer[],
): Promise<boolean> {
  try {
    await moveToFailed(folders, name, output);
    return true;
  } catch (error) {
    logError(state, (error as Error).message);
    return !isClaimed(folders, name) || state.ending.signal.aborted;
  }
}

function logError(state: SpoolState, reason: string): void {
  if (reason !== state.lastError) log('error', 'spool error', { reason });
  state.lastError = reason;
}

const maxIgnored = 100;

/** Logs each invalid name once, and at most a hundred of them. */
function logIgnored({ ignored }: SpoolState, file: string): void {
  if (ignored.has(file) || ignored.size >= maxIgnored) return;
  ignored.add(file);
  const reason = 'a command file must be a regular file whose name has only letters, digits, ., _ and -';
  log('warn', 'spool file ignored', { file, reason });
}
