/** A file becomes a version: tried in another process first, then imported here. */
import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { constants } from 'node:fs';
import { open } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { extname } from 'node:path';
import type { Readable } from 'node:stream';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { whyUnreadable } from '../../options/file.ts';
import { maxLoadHeapMiB } from '../../protocol/limits.ts';
import { readExports } from './exports.ts';
import { noteImports } from './imports.ts';
import type { Version } from './slot.ts';
import { reasonOf } from './slot.ts';
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
