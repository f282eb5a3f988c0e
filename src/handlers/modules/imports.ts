/**
 * What a module imports by relative paths. Node loads such a file once, and remembers for ever where a link to it led, so after
 * a change a module keeps the old one, while the process that tries the module gets the new one. A reload can only report that.
 */
import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import { realPathOf } from '../../storage/links.ts';

/** Files that are looked at for one module. */
const maxImports = 100;

/** The specifier behind `from`, `import`, or a call of `import`. */
const relativeImport = /\b(?:from|import)\s*\(?\s*(['"])(\.{1,2}\/[^'"\n]+)\1/g;

interface Imported {
  /** The path without query, its links not resolved. */
  readonly path: string;
  readonly real: string;
  readonly digest: string;
}

/** Where a path led, and what a file had in it, when this process imported it first. */
const firstReal = new Map<string, string>();
const firstDigest = new Map<string, string>();

/** The module in this file was just loaded: what it imports is what Node has from now on. */
export async function noteImports(real: string): Promise<void> {
  for (const imported of await importsOf(real)) {
    if (!firstReal.has(imported.path)) firstReal.set(imported.path, imported.real);
    if (!firstDigest.has(imported.real)) firstDigest.set(imported.real, imported.digest);
  }
}

/** The files that a module in this file would be given as they were once, and not as they are now. */
export async function oldImports(real: string): Promise<string[]> {
  const isOld = ({ path, real: now, digest }: Imported) =>
    (firstReal.get(path) ?? now) !== now || (firstDigest.get(now) ?? digest) !== digest;
  return (await importsOf(real)).filter(isOld).map(({ path }) => path);
}

/** All files that this one imports, and those import. What is missing, or no file of ours to read, is left out. */
async function importsOf(module: string): Promise<Imported[]> {
  const found = new Map<string, Imported>();
  const sources = [{ real: module, text: await textOf(module) }];
  for (const { real, text } of sources) {
    for (const [, , specifier = ''] of (text ?? '').matchAll(relativeImport)) {
      const path = resolve(dirname(real), pathIn(specifier));
      if (found.has(path) || found.size >= maxImports) continue;
      const target = await realPathOf(path);
      const source = target === undefined ? undefined : await textOf(target);
      if (target === undefined || source === undefined) continue;
      found.set(path, { path, real: target, digest: createHash('sha256').update(source).digest('hex') });
      sources.push({ real: target, text: source });
    }
  }
  return [...found.values()];
}

/** Specifiers are URLs. */
function pathIn(specifier: string): string {
  const path = specifier.replace(/[?#].*/, '');
  try {
    return decodeURIComponent(path);
  } catch {
    return path;
  }
}

async function textOf(real: string): Promise<string | undefined> {
  try {
    return await readFile(real, 'utf8');
  } catch {
    return undefined;
  }
}
