/**
 * Loads modules: lists the folder, tries each file in a process of its own first, and then imports it here as a new version.
 */

import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { constants } from 'node:fs';
import { open, readdir, readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { dirname, extname, join, resolve } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { quoted, UsageError } from '../../options/error.ts';
import { whyUnreadable } from '../../options/file.ts';
import { percentDecode } from '../../protocol/http/path.ts';
import { maxLoadHeapMiB } from '../../protocol/limits.ts';
import { realPathOf } from '../../storage/links.ts';
import { type Captured, captureStdio, readCaptured } from '../programs/capture.ts';
import type { Variables } from '../programs/environment.ts';
import { newStarter, prepareStarter, startElsewhere } from '../programs/starter.ts';
import { type Exports, readExports } from './exports.ts';
import type * as user from './interface.ts';
import type { TryOutcome } from './tryOut.ts';

export interface ModuleFile {
  /** The file's name up to its first dot. */
  readonly name: string;
  /** An absolute path. */
  readonly path: string;
  /** The path with all links resolved at the time of listing; `undefined` for a dangling link. */
  readonly real: string | undefined;
  /** The path as the user wrote it, for messages. */
  readonly shown: string;
}

/** The exports of a file, as it was when it was loaded. */
export interface Version {
  /** Counts all imports of this process, so that it is unique. */
  readonly number: number;
  /** The file with all links resolved, and the hash of its content; empty if the process gave the handler. */
  readonly real: string;
  readonly digest: string;
  readonly loadedAt: Date;
  readonly names: readonly string[];
  readonly handler: user.Handler | undefined;
  readonly wire: user.Wire | undefined;
  /** During the rollback window: what to restore if this version throws. */
  previous: { readonly version: Version; readonly state: unknown } | undefined;
  /** Its `swap` returned a new state instead of keeping the old one. */
  hasOwnState: boolean;
  isRolledBack: boolean;
}

/** A thrown value in about a sentence. */
export function errorText(error: unknown): string {
  return error instanceof Error ? `${error.name}: ${error.message}` : String(error);
}

/** Numbers the imports: each needs a new URL, or Node returns the version it has cached. */
let importCount = 0;

/** Limits the retries for a file that changes while it is loaded. */
const maxAttempts = 5;

/** @throws Error, a sentence, if the file cannot be read */
export async function digestOf({ real, shown }: ModuleFile): Promise<string> {
  if (real === undefined) throw new Error(`${shown} is not loaded: it is a dangling link`);
  try {
    // O_NONBLOCK: opening a FIFO would wait for a writer.
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

/** Whether this version was loaded from exactly this file. The path counts too: relative imports depend on it. */
export async function isLoadedFrom(file: ModuleFile, { real, digest }: Version): Promise<boolean> {
  return real === file.real && digest === (await digestOf(file));
}

/**
 * @param limit milliseconds, `--load-timeout`; 0: no limit
 * @throws Error, a sentence
 */
export async function loadVersion(file: ModuleFile, limit: number): Promise<Version> {
  const { name, shown } = file;
  if (isTypeScript(file.path) && !runsTypeScript()) {
    const advice = 'use Node 22.18 or newer, or compile it to JavaScript';
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
    // Import only what was tried: start again if the file has changed in between.
    if ((await digestOf(file)) !== digest && tries < maxAttempts) continue;
    const number = ++importCount;
    const exports = await importHere(real, number, file, limit);
    await recordImports(real);
    if ((await digestOf(file)) !== digest && tries < maxAttempts) continue;
    return newVersion(number, real, digest, exports);
  }
}

function newVersion(number: number, real: string, digest: string, exports: Exports): Version {
  const rest = { previous: undefined, hasOwnState: false, isRolledBack: false };
  return { number, real, digest, loadedAt: new Date(), ...exports, ...rest };
}

/**
 * A handler that the process passes to its own server, instead of a file.
 * @param exports what a module exports, or its handler
 * @throws Error, a sentence
 */
export function givenVersion({ name, shown }: ModuleFile, exports: object): Version {
  try {
    return newVersion(++importCount, '', '', readExports(exports as Readonly<Record<string, unknown>>, name));
  } catch (error) {
    throw new Error(`${shown} is not loaded: it ${(error as Error).message}`);
  }
}

const require = createRequire(import.meta.url);

/** The URL that stack traces show for a module, without its `?v=`. */
export const moduleUrl = (real: string) => pathToFileURL(real).href;

async function importHere(real: string, number: number, { name, shown }: ModuleFile, limit: number) {
  const url = `${moduleUrl(real)}?v=${number}`;
  // Node caches how it resolved a link, for good. `real` has no links now, but may have been one at an earlier import.
  const resolved = import.meta.resolve(url);
  if (resolved !== url) {
    const other = fileURLToPath(resolved);
    throw new Error(
      `${shown} is not loaded: ${real} was a link to ${other} earlier, and Node remembers that; restart the server`,
    );
  }
  // Node caches CommonJS modules by path, without the query.
  delete require.cache[real];
  let timer: NodeJS.Timeout | undefined;
  const timeIsUp = new Promise<never>((_, reject) => {
    if (limit > 0)
      timer = setTimeout(() => reject(new Error(`it took longer than ${limit / 1000} s`)), limit);
  });
  try {
    return readExports(await Promise.race([import(url), timeIsUp]), name);
  } catch (error) {
    throw new Error(`${shown} loaded in the test process, but failed in the server: ${errorText(error)}`);
  } finally {
    clearTimeout(timer);
  }
}

/** This process's Node flags, without those that two processes cannot share, such as a debugging port. */
const flags = process.execArgv.filter(flag => !/^--(inspect|prof|cpu-prof|heap-prof)/.test(flag));

const script = fileURLToPath(new URL(`./tryOut${extname(import.meta.url)}`, import.meta.url));

/** Starts the test processes of a large server. */
const starter = newStarter();

/** The end of a test process. */
interface TestRun extends Captured {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

/**
 * Loads the module in a process of its own, which has ended when this resolves.
 * @returns the outcome, and the line of the file that the error comes from; an empty string if that is unknown
 */
async function tryOut(path: string, name: string, limit: number): Promise<TryOutcome & { line: string }> {
  const words = [...flags, `--max-old-space-size=${maxLoadHeapMiB}`, script, path, name, String(limit)];
  const test: { pid: number | undefined; isLate: boolean } = { pid: undefined, isLate: false };
  const kill = () => {
    if (test.pid !== undefined) killIfRunning(test.pid);
  };
  process.once('exit', kill);
  const late = () => {
    test.isLate = true;
    kill();
  };
  const timer = limit > 0 ? setTimeout(late, limit) : undefined;
  const onStarted = (pid: number | undefined) => {
    test.pid = pid;
    if (test.isLate) kill();
  };
  try {
    const run = prepareStarter(starter) ? runElsewhere(words, onStarted) : runHere(words, onStarted);
    const { outcome, errors, code, signal } = await run;
    const line = errorLine(errors, path);
    if (outcome !== '') return { ...(JSON.parse(outcome) as TryOutcome), line };
    if (test.isLate) return { error: `took longer than ${limit / 1000} s`, line: '' };
    return { error: `ended the process (${signal ?? `exit code ${code}`}) while loading`, line: '' };
  } finally {
    test.pid = undefined;
    clearTimeout(timer);
    process.off('exit', kill);
  }
}

type OnStarted = (pid: number | undefined) => void;

async function runHere(words: readonly string[], onStarted: OnStarted): Promise<TestRun> {
  const child = spawn(process.execPath, words, { stdio: [...captureStdio] });
  onStarted(child.pid);
  const captured = await readCaptured(child);
  return { ...captured, code: child.exitCode, signal: child.signalCode };
}

/** Starts the process through the starter. `prepareStarter` must have returned true. */
function runElsewhere(words: readonly string[], onStarted: OnStarted): Promise<TestRun> {
  const request = {
    words: [process.execPath, ...words],
    environment: process.env as Variables,
    pipes: [],
    isCaptured: true,
  };
  return new Promise((resolve, reject) => {
    startElsewhere(starter, request, {
      onStarted,
      onFailed: reject,
      onExit: (code, signal, captured = { errors: '', outcome: '' }) =>
        resolve({ ...captured, code, signal }),
      onUnable: () => resolve(runHere(words, onStarted)),
    });
  });
}

/** Kills a process that may have exited already. */
function killIfRunning(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch {}
}

/** For an uncaught error Node prints the file (a URL or a path) and the line number on a line of its own. */
function errorLine(errors: string, path: string): string {
  const places = [pathToFileURL(path).href, path].map(place => `${place}:`);
  const found = errors.split('\n').find(line => places.some(place => line.startsWith(place)));
  return /:(\d+)$/.exec(found ?? '')?.[1] ?? '';
}

const isTypeScript = (path: string) => /\.m?ts$/.test(path);

/** Older versions of Node do not have this property. */
export function runsTypeScript(): boolean {
  return Boolean((process.features as { typescript?: unknown }).typescript);
}

/*
 * Files that modules import by relative paths. Node loads such a file once, and resolves a link to it once: after a change a
 * reloaded module still gets the old file, while the process that tries the module gets the new one. A reload reports that.
 */

/** Imported files that are checked for one module. */
const maxImports = 100;

/** The specifier of an import or export statement, or of a dynamic import; not one that is joined with `+`. */
const relativeImport = /\b(?:from|import)\s*\(?\s*(['"])(\.{1,2}\/[^'"\n]+)\1(?!\s*\+)/g;

interface Imported {
  /** The path without its query, links not resolved. */
  readonly path: string;
  readonly real: string;
  readonly digest: string;
}

/** What each path resolved to, and the content of each file, when this process first imported it. */
const firstReal = new Map<string, string>();
const firstDigest = new Map<string, string>();

/** Records the imports of a module that was just loaded: Node keeps them as they are now. */
export async function recordImports(real: string): Promise<void> {
  for (const imported of await importsOf(real)) {
    if (!firstReal.has(imported.path)) firstReal.set(imported.path, imported.real);
    if (!firstDigest.has(imported.real)) firstDigest.set(imported.real, imported.digest);
  }
}

/** The imported files that have changed on disk since Node loaded them. */
export async function staleImports(real: string): Promise<string[]> {
  const isStale = ({ path, real: now, digest }: Imported) =>
    (firstReal.get(path) ?? now) !== now || (firstDigest.get(now) ?? digest) !== digest;
  return (await importsOf(real)).filter(isStale).map(({ path }) => path);
}

/** All files that the module imports, directly or not, without those that cannot be read. */
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

/** The path in a specifier, which is a URL. */
function pathIn(specifier: string): string {
  const path = specifier.replace(/[?#].*/, '');
  return percentDecode(path) ?? path;
}

async function textOf(real: string): Promise<string | undefined> {
  try {
    return await readFile(real, 'utf8');
  } catch {
    return undefined;
  }
}

/**
 * The modules in the folder, sorted by name: its JavaScript and TypeScript files, except those with a second dot in their
 * name (types, tests) and those that begin with `_` (for others to import) or `.`.
 * @throws UsageError if the folder cannot be read, or if two files have the same module name
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
      throw new UsageError(`${twin.shown} and ${shown} have the same module name, ${name}; rename one`);
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
  if (code === 'ENOENT') return 'no such folder';
  if (code === 'ENOTDIR') return 'it is a file, or a part of the path is';
  if (code === 'EACCES') return 'permission denied; let this user read it';
  return code === 'ELOOP' ? 'its symbolic links form a loop' : message;
}
