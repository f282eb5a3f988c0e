/** A file becomes a version: tried in another process first, then imported here. */
import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { extname } from 'node:path';
import type { Readable } from 'node:stream';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { maxLoadHeap } from '../protocol/bounds.ts';
import { readExports } from './exports.ts';
import type { Version } from './slot.ts';
import { reasonOf } from './slot.ts';
import type { Outcome } from './tryOut.ts';

export interface ModuleFile {
  /** What the module is called: the file's name up to its first dot. */
  readonly name: string;
  /** Absolute. */
  readonly path: string;
  /** As it is to be called in sentences. */
  readonly shown: string;
}

/** Each import has a URL of its own, or Node would give back what it has. */
let imports = 0;

/** The file may be written while it is read: then it is read again, but not for ever. */
const mostTries = 5;

export async function digestOf({ path }: ModuleFile): Promise<string> {
  return createHash('sha256')
    .update(await readFile(path))
    .digest('hex');
}

/**
 * @param limit milliseconds it may take to load; 0: for ever
 * @throws Error, a sentence
 */
export async function loadVersion(file: ModuleFile, limit: number): Promise<Version> {
  const { name, path, shown } = file;
  if (isTypeScript(path) && !runsTypeScript()) {
    const advice = 'use Node 22.18 or newer, or compile it';
    throw new Error(
      `${shown} is TypeScript, which this Node (${process.versions.node}) does not run; ${advice}`,
    );
  }
  for (let tries = 1; ; tries++) {
    const digest = await digestOf(file);
    const { error, line } = await tryOut(path, name, limit);
    if (error !== undefined)
      throw new Error(`${shown}${line && `, line ${line},`} is not loaded: it ${error}`);
    // What was tried is what is loaded, as near as can be told.
    if ((await digestOf(file)) !== digest && tries < mostTries) continue;
    const number = ++imports;
    const exports = await importHere(`${pathToFileURL(path).href}?v=${number}`, file, limit);
    if ((await digestOf(file)) !== digest && tries < mostTries) continue;
    const rest = { before: undefined, hasOwnState: false, isTakenBack: false };
    return { number, digest, loadedAt: new Date(), ...exports, ...rest };
  }
}

async function importHere(url: string, { name, shown }: ModuleFile, limit: number) {
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
async function tryOut(path: string, name: string, limit: number): Promise<Outcome & { line: string }> {
  const words = [...flags, `--max-old-space-size=${maxLoadHeap}`, script, path, name, String(limit)];
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
    if (outcome !== '') return { ...(JSON.parse(outcome) as Outcome), line };
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
