/**
 * `--watch`: reloads a module when its file changes. A deleted file is left to `reload`, as editors delete files while they save.
 */
import { lstat, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { log } from '../../log/log.ts';
import { watchRescanInterval } from '../../protocol/limits.ts';
import { followLinks, type Hop, stampAt } from '../../storage/links.ts';
import { newWatch } from '../../storage/watch.ts';
import { isModule, moduleName } from './load.ts';

/** Milliseconds between two scans that must agree before a file is loaded: it may be written in several steps. */
const settleTime = 50;

/** A stamp of each module's file, which changes whenever the file or its content may have changed. */
type Scan = ReadonlyMap<string, string>;

/**
 * Watches until the process ends, without keeping it alive. The folder may be deleted and created again, and any link on the
 * way to it or to a file in it may be switched.
 * @param load reloads the named modules if they differ from the running versions. Never rejects
 */
export function watchFolder(folder: string, load: (names: ReadonlySet<string>) => Promise<void>): void {
  /** Stamps of the files that `load` has seen. Empty at first, so that the first scan compares all modules. */
  const loaded = new Map<string, string>();
  let before: Scan | undefined;
  let timer: NodeJS.Timeout | undefined;
  let isScanning = false;
  let isScanRequested = false;
  let misses = 0;
  const failed = (place: string, reason: string) =>
    log('warn', 'handlers not watched', { folder: place, reason, checkedEvery: watchRescanInterval });
  const watch = newWatch(wake, failed);

  function wake(): void {
    isScanRequested = true;
    if (!isScanning) scanIn(settleTime);
  }

  function scanIn(milliseconds: number): void {
    clearTimeout(timer);
    timer = setTimeout(() => void scanNow(), milliseconds).unref();
  }

  async function scanNow(): Promise<void> {
    isScanning = true;
    isScanRequested = false;
    let isSettled = true;
    try {
      isSettled = await scan();
    } catch (error) {
      noteMissing((error as Error).message);
    }
    isScanning = false;
    scanIn(isScanRequested || !isSettled ? settleTime : watchRescanInterval);
  }

  /** @returns false if a file is still changing @throws Error if the folder cannot be read */
  async function scan(): Promise<boolean> {
    const route = await followLinks(folder);
    const { real } = route;
    const hops = [...route.hops];
    const files = new Map<string, string | undefined>();
    try {
      if (real === undefined) throw new Error('no such folder');
      for (const file of (await readdir(real)).filter(isModule))
        files.set(moduleName(file), await locate(join(real, file), hops));
    } finally {
      await watch.renew(real === undefined ? [] : [real], hops);
    }
    if (misses > 1) log('info', 'handlers found again', { folder });
    misses = 0;
    const seen = await stampsOf(files);
    const changed = [...seen].filter(([name, stamp]) => loaded.get(name) !== stamp);
    const isSteady = changed.every(([name, stamp]) => before?.get(name) === stamp);
    before = seen;
    if (!isSteady) return false;
    for (const [name, stamp] of changed) loaded.set(name, stamp);
    if (changed.length > 0) await load(new Set(changed.map(([name]) => name)));
    return true;
  }

  /** Logs at the second miss: a build may delete the folder and create it again at once. */
  function noteMissing(reason: string): void {
    before = undefined;
    if (++misses === 2)
      log('warn', 'handlers missing', { folder, reason, checkedEvery: watchRescanInterval });
  }

  void scanNow();
}

/** @param hops the links on the way are added here @returns `undefined` for a dangling link */
async function locate(path: string, hops: Hop[]): Promise<string | undefined> {
  const stats = await lstat(path).catch(() => undefined);
  if (!stats?.isSymbolicLink()) return path;
  const route = await followLinks(path);
  hops.push(...route.hops);
  return route.real;
}

async function stampsOf(files: ReadonlyMap<string, string | undefined>): Promise<Scan> {
  const stamps = new Map<string, string>();
  for (const [name, real] of files) {
    // A file without a stamp was deleted since it was listed.
    const stamp = real === undefined ? '' : await stampAt(real);
    if (stamp !== '') stamps.set(name, stamp);
  }
  return stamps;
}
