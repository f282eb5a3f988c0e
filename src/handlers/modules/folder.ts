/** The folder that modules lie in. */
import { readdir } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { quoted, UsageError } from '../../options/error.ts';
import { realPathOf } from '../../storage/links.ts';
import type { ModuleFile } from './load.ts';

/**
 * The modules in the folder, by name: its JavaScript and TypeScript files, but for those with a second dot (types, tests),
 * and those that begin with `_` or `.`, which others may import.
 * @throws UsageError where it cannot be read, or two would have one name
 */
export async function listModules(folder: string): Promise<ModuleFile[]> {
  let files: string[];
  try {
    files = await readdir(folder);
  } catch (error) {
    throw new UsageError(
      `--handlers must be a readable folder, not ${quoted(folder)}: ${whyUnlistable(error)}`,
    );
  }
  const found = files.filter(isModule).toSorted();
  const modules: ModuleFile[] = [];
  for (const file of found) {
    const path = resolve(folder, file);
    const real = await realPathOf(path);
    modules.push({ name: moduleName(file), path, real, shown: join(folder, file) });
  }
  for (const [at, { name, shown }] of modules.entries()) {
    const twin = modules.slice(0, at).find(other => other.name === name);
    if (twin !== undefined)
      throw new UsageError(`${twin.shown} and ${shown} would both be called ${name}; rename one`);
  }
  return modules;
}

/** The file's name up to its first dot. */
export function moduleName(file: string): string {
  return file.slice(0, file.indexOf('.'));
}

export function isModule(file: string): boolean {
  return /^[^._][^.]*\.m?[jt]s$/.test(file);
}

function whyUnlistable(error: unknown): string {
  const { code, message } = error as NodeJS.ErrnoException;
  if (code === 'ENOENT') return 'there is none';
  if (code === 'ENOTDIR') return 'it is a file, or there is a file where a folder should be';
  if (code === 'EACCES') return 'permission denied; let this user read it';
  return code === 'ELOOP' ? 'its symbolic links form a loop' : message;
}
