/** A file becomes a version: tried in another process first, then imported here. */
import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { constants } from 'node:fs';
import { open, readdir, readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { dirname, extname, join, resolve } from 'node:path';
import type { Readable } from 'node:stream';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { quoted, UsageError } from '../../options/error.ts';
import { whyUnreadable } from '../../options/file.ts';
import { maxLoadHeapMiB } from '../../protocol/limits.ts';
import { realPathOf } from '../../storage/links.ts';
import { readExports } from './exports.ts';
import { reasonOf, type Version } from './module.ts';
import type { TryOutcome } from './tryOut.ts';

export interface ModuleFile {
  /** What the module is called: the file's name up to its first dot. */
  readonly name: string;
  /** Absolute. */
  readonly path: string;
  /** The path with all links resolved, when the folder was listed; undefined: a link that leads nowhere. */
  readonly real: string | undefined;
  /** The path as the user wrote it, for sentences. */
  readonly shown: string;
}

/** Each import has a URL of its own, or Node would give back what it has. */
let imports = 0;

/** The file may be written while it is read: then it is read again, but not for ever. */
const mostTries = 5;

/** @throws Error, a sentence, if there is no such file */
export async function digestOf({ real, shown }: ModuleFile): Promise<string> {
  if (real === undefined) throw new Error(`${shown} is not loaded: it is a link that leads nowhere`);
  try {
    // Opening a named pipe would wait for someone to write to it.
    const file = await open(real, constants.O_RDONLY | constants.O_NONBLOCK);
    try {
      if (!(await file.stat()).isFile()) throw new Error('it is not a regular file');
      return createHash('sha256')
        .update(await file.readFile())
        .digest('hex');
    } finally {
      await file.close();
    }
  } catch (error) {
    throw new Error(`${shown} is not loaded: ${whyUnreadable(error)}`);
  }
}

/** Whether the file is what this version was loaded from. With another path it has other neighbours to import. */
export async function isLoadedFrom(file: ModuleFile, { real, digest }: Version): Promise<boolean> {
  return real === file.real && digest === (await digestOf(file));
}

/**
 * @param limit milliseconds it may take to load; 0: for ever
 * @throws Error, a sentence
 */
export async function loadVersion(file: ModuleFile, limit: number): Promise<Version> {
  const { name, shown } = file;
  if (isTypeScript(file.path) && !runsTypeScript()) {
    const advice = 'use Node 22.18 or newer, or compile it';
    throw new Error(
      `${shown} is TypeScript, which this Node (${process.versions.node}) does not run; ${advice}`,
    );
  }
  for (let tries = 1; ; tries++) {
    const digest = await digestOf(file);
    const real = file.real!;
    const { error, line } = await tryOut(real, name, limit);
    if (error !== undefined)
      throw new Error(`${shown}${line && `, line ${line},`} is not loaded: it ${error}`);
    // What was tried is what is loaded, as near as can be told.
    if ((await digestOf(file)) !== digest && tries < mostTries) continue;
    const number = ++imports;
    const exports = await importHere(real, number, file, limit);
    await noteImports(real);
    if ((await digestOf(file)) !== digest && tries < mostTries) continue;
    const rest = { before: undefined, hasOwnState: false, isTakenBack: false };
    return { number, real, digest, loadedAt: new Date(), ...exports, ...rest };
  }
}

const require = createRequire(import.meta.url);

/** What was loaded from this file, as it is called in the stacks of errors. */
export const hrefOf = (real: string) => pathToFileURL(real).href;

async function importHere(real: string, number: number, { name, shown }: ModuleFile, limit: number) {
  const url = `${hrefOf(real)}?v=${number}`;
  // Node never forgets where a link led. A real path has none, but may have been one when something was imported by it.
  const resolved = import.meta.resolve(url);
  if (resolved !== url) {
    const other = fileURLToPath(resolved);
    throw new Error(
      `${shown} is not loaded: ${real} was a link to ${other} before, which Node keeps in mind until a restart`,
    );
  }
  // CommonJS is cached by its path alone.
  delete require.cache[real];
  let timer: NodeJS.Timeout | undefined;
  const timeIsUp = new Promise<never>((_, reject) => {
    if (limit > 0)
      timer = setTimeout(
        () => reject(new Error(`it did not come to an end within ${limit / 1000} s`)),
        limit,
      );
  });
  try {
    return readExports(await Promise.race([import(url), timeIsUp]), name);
  } catch (error) {
    throw new Error(`${shown} is not loaded, though it could be in another process: ${reasonOf(error)}`);
  } finally {
    clearTimeout(timer);
  }
}

/** Those of this process, but for what would be in each other's way. */
const flags = process.execArgv.filter(flag => !/^--(inspect|prof|cpu-prof|heap-prof)/.test(flag));

const script = fileURLToPath(new URL(`./tryOut${extname(import.meta.url)}`, import.meta.url));

/**
 * Loads the module in a process of its own. It is over, however that went, when this resolves.
 * @returns what went wrong, and in which line of the file, where that is known; else the empty string
 */
async function tryOut(path: string, name: string, limit: number): Promise<TryOutcome & { line: string }> {
  const words = [...flags, `--max-old-space-size=${maxLoadHeapMiB}`, script, path, name, String(limit)];
  const child = spawn(process.execPath, words, { stdio: ['ignore', 'ignore', 'pipe', 'pipe'] });
  const kill = () => child.kill('SIGKILL');
  process.once('exit', kill);
  let isLate = false;
  const late = () => {
    isLate = true;
    kill();
  };
  const timer = limit > 0 ? setTimeout(late, limit) : undefined;
  try {
    const [outcome, errors] = await Promise.all([
      allOf(child.stdio[3] as Readable),
      allOf(child.stdio[2] as Readable),
      once(child, 'close'),
    ]);
    const line = lineIn(errors, path);
    if (outcome !== '') return { ...(JSON.parse(outcome) as TryOutcome), line };
    if (isLate) return { error: `did not come to an end within ${limit / 1000} s`, line: '' };
    const how = child.signalCode ?? `exit code ${child.exitCode}`;
    return { error: `ended the process (${how}) while loading`, line: '' };
  } finally {
    clearTimeout(timer);
    process.off('exit', kill);
  }
}

/** What else it says is read, so that it need not wait, but not kept. */
const mostKept = 64 * 1024;

async function allOf(stream: Readable): Promise<string> {
  let said = '';
  for await (const piece of stream) if (said.length < mostKept) said += piece;
  return said;
}

/** Node says where an uncaught error came from: the file's URL, or its path, and the line, in a line of their own. */
function lineIn(errors: string, path: string): string {
  const places = [pathToFileURL(path).href, path].map(place => `${place}:`);
  const found = errors.split('\n').find(line => places.some(place => line.startsWith(place)));
  return /:(\d+)$/.exec(found ?? '')?.[1] ?? '';
}

const isTypeScript = (path: string) => /\.m?ts$/.test(path);

/** Newer Nodes say so; older ones do not know the word. */
export function runsTypeScript(): boolean {
  return Boolean((process.features as { typescript?: unknown }).typescript);
}

/**
 * What a module imports by relative paths. Node loads such a file once, and remembers for ever where a link to it led, so after
 * a change a module keeps the old one, while the process that tries the module gets the new one. A reload can only report that.
 */

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

/** The folder that modules lie in. */

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
