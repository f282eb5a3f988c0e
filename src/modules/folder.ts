/** The folder that modules lie in. */
import { readdirSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { quoted, UsageError } from '../options/error.ts';
import type { ModuleFile } from './load.ts';

/**
 * The modules in the folder, by name: its JavaScript and TypeScript files, but for those with a second dot (types, tests),
 * and those that begin with `_` or `.`, which others may import.
 * @throws UsageError where it cannot be read, or two would have one name
 */
export function listModules(folder: string): ModuleFile[] {
  let files: string[];
  try {
    files = readdirSync(folder);
  } catch (error) {
    const why =
      (error as NodeJS.ErrnoException).code === 'ENOENT' ? 'there is none' : (error as Error).message;
    throw new UsageError(`--handlers wants a folder that can be read, not ${quoted(folder)}: ${why}`);
  }
  const found = files.filter(isModule).toSorted();
  const modules = found.map(file => ({
    name: file.slice(0, file.indexOf('.')),
    path: resolve(folder, file),
    shown: join(folder, file),
  }));
  for (const [at, { name, shown }] of modules.entries()) {
    const twin = modules.slice(0, at).find(other => other.name === name);
    if (twin !== undefined)
      throw new UsageError(`${twin.shown} and ${shown} would both be called ${name}; rename one`);
  }
  return modules;
}

function isModule(file: string): boolean {
  return /^[^._][^.]*\.m?[jt]s$/.test(file);
}
