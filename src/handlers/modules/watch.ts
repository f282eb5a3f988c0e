/** `--watch`: a module whose file changes is loaded again. A file that goes is only missed by `reload`: editors move files about. */
import { lstat, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { log } from '../../log/log.ts';
import { watchRescanInterval } from '../../protocol/limits.ts';
import { followLinks, type Hop, stampAt } from '../../storage/links.ts';
import { newWatch } from '../../storage/watch.ts';
import { isModule, moduleName } from './load.ts';

/** A file is written in several steps: it is read when two looks, so many milliseconds apart, have seen the same. */
const settling = 50;

/** What a look saw of each module's file: another string whenever the file may be another, or have something else in it. */
type Look = ReadonlyMap<string, string>;

/**
 * Watches for as long as the process runs, which it does not keep running. The folder, and every link that leads to it or
 * to a file in it, may be removed, made again and switched meanwhile.
 * @param load loads those modules again, if they are not what runs. It never fails
 */
export function watchFolder(folder: string, load: (names: ReadonlySet<string>) => Promise<void>): void {
  /** What the modules that run were loaded from; nothing yet, so the first look has each of them compared. */
  const loaded = new Map<string, string>();
  let before: Look | undefined;
  let timer: NodeJS.Timeout | undefined;
  let isLooking = false;
  let isWoken = false;
  let misses = 0;
  const failed = (place: string, reason: string) =>
    log('warn', 'handlers not watched', { folder: place, reason, lookedAtEvery: watchRescanInterval });
  const watch = newWatch(wake, failed);

  function wake(): void {
    isWoken = true;
    if (!isLooking) lookIn(settling);
  }

  function lookIn(milliseconds: number): void {
    clearTimeout(timer);
    timer = setTimeout(() => void lookNow(), milliseconds).unref();
  }

  async function lookNow(): Promise<void> {
    isLooking = true;
    isWoken = false;
    let isSettled = true;
    try {
      isSettled = await look();
    } catch (error) {
      noteMissing((error as Error).message);
    }
    isLooking = false;
    lookIn(isWoken || !isSettled ? settling : watchRescanInterval);
  }

  /** @returns false if something is about to change @throws Error if the folder cannot be read */
  async function look(): Promise<boolean> {
    const route = await followLinks(folder);
    const { real } = route;
    const hops = [...route.hops];
    const files = new Map<string, string | undefined>();
    try {
      if (real === undefined) throw new Error('there is none of this name');
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

  /** A build may remove the folder and make it again at once: that needs no line in the log. */
  function noteMissing(reason: string): void {
    before = undefined;
    if (++misses === 2)
      log('warn', 'handlers missing', { folder, reason, lookedAtEvery: watchRescanInterval });
  }

  void lookNow();
}

/** @param hops gets the links that lead on from here @returns undefined if they lead nowhere */
async function locate(path: string, hops: Hop[]): Promise<string | undefined> {
  const stats = await lstat(path).catch(() => undefined);
  if (!stats?.isSymbolicLink()) return path;
  const route = await followLinks(path);
  hops.push(...route.hops);
  return route.real;
}

async function stampsOf(files: ReadonlyMap<string, string | undefined>): Promise<Look> {
  const stamps = new Map<string, string>();
  for (const [name, real] of files) {
    // Without one it was removed since: the next look misses it.
    const stamp = real === undefined ? '' : await stampAt(real);
    if (stamp !== '') stamps.set(name, stamp);
  }
  return stamps;
}
