/** Damaged ranges of room files, remembered so that each is read once, not on every join. */
import type { Stats } from 'node:fs';
import { maxDamagedFiles } from '../protocol/limits.ts';

export interface DamagedFile {
  size: number;
  changedAt: number;
  /** The end of each damaged range → its start. */
  readonly damage: Map<number, number>;
}

/** By inode: a rotated file has another name, and a replaced file another inode. The most recent one is last. */
export type DamagedFiles = Map<number, DamagedFile>;

/** The known damage; none, if another program has written to the file since. */
export function knownDamage(files: DamagedFiles, { ino, size, mtimeMs }: Stats): Map<number, number> {
  const known = files.get(ino);
  return known?.size === size && known.changedAt === mtimeMs ? known.damage : new Map();
}

/** @param stats of the file as it is now @param damage may still grow */
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
