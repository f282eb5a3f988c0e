/** Where files of rooms hold no messages, so that each such stretch is read once, and not whenever a room is entered. */
import type { Stats } from 'node:fs';
import { maxDamagedFiles } from '../protocol/limits.ts';

export interface DamagedFile {
  size: number;
  changedAt: number;
  /** From the end of each stretch to its beginning. */
  readonly damage: Map<number, number>;
}

/** By inode: a rotated file has another name, and a replaced one another inode. The one noted last is at the end. */
export type DamagedFiles = Map<number, DamagedFile>;

/** What is known of a file as it is now: nothing, if another program has written to it. */
export function knownDamage(files: DamagedFiles, { ino, size, mtimeMs }: Stats): Map<number, number> {
  const known = files.get(ino);
  return known?.size === size && known.changedAt === mtimeMs ? known.damage : new Map();
}

/** @param damage what was found in the file, or will be; the file is now as `stats` says */
export function rememberDamage(
  files: DamagedFiles,
  { ino, size, mtimeMs }: Stats,
  damage: Map<number, number>,
): void {
  files.delete(ino);
  files.set(ino, { size, changedAt: mtimeMs, damage });
  const [oldest] = files.keys();
  if (files.size > maxDamagedFiles && oldest !== undefined) files.delete(oldest);
}
