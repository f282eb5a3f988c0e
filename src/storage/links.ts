/**
 * Paths with symbolic links. Deployments switch links while the server runs (`current -> releases/2`, or the `..data` of a
 * Kubernetes volume), so a path is resolved on each use; Node's resolvers cache.
 */
import { lstat, readlink } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';

/** A directory entry that a path depends on. */
export interface Hop {
  readonly folder: string;
  readonly name: string;
}

export interface ResolvedPath {
  /** The path without links; undefined if its target does not exist. */
  readonly real: string | undefined;
  /** Every link on the way, and at the end the file itself or the first name that does not exist. */
  readonly hops: readonly Hop[];
}

/** As on Linux (path_resolution(7)). */
const maxLinks = 40;

/** Resolves a path link by link. Any error counts as a missing target. */
export async function followLinks(path: string): Promise<ResolvedPath> {
  const hops: Hop[] = [];
  const names = resolve(path).split('/').reverse();
  let links = 0;
  let at = '/';
  while (names.length > 0) {
    const name = names.pop()!;
    if (name === '' || name === '.') continue;
    if (name === '..') {
      at = dirname(at);
      continue;
    }
    const next = join(at, name);
    const isLast = names.length === 0;
    try {
      if (!(await lstat(next)).isSymbolicLink()) {
        if (isLast) hops.push({ folder: at, name });
        at = next;
        continue;
      }
      hops.push({ folder: at, name });
      if (++links > maxLinks) return { real: undefined, hops };
      const target = await readlink(next);
      names.push(...target.split('/').reverse());
      if (target.startsWith('/')) at = '/';
    } catch {
      hops.push({ folder: at, name });
      return { real: undefined, hops };
    }
  }
  return { real: at, hops };
}

/** A string that changes when the path leads to another file, or the file is written to. */
export async function stampOf(path: string): Promise<string> {
  const real = await realPathOf(path);
  return real === undefined ? '' : stampAt(real);
}

/** @param real a path without links @returns '' if there is no such file */
export async function stampAt(real: string): Promise<string> {
  try {
    const { dev, ino, size, mtimeMs, ctimeMs } = await lstat(real);
    return `${real} ${dev} ${ino} ${size} ${mtimeMs} ${ctimeMs}`;
  } catch {
    return '';
  }
}

/** @returns undefined if the target does not exist */
export async function realPathOf(path: string): Promise<string | undefined> {
  return (await followLinks(path)).real;
}
