/**
 * Pipes for programs. Node's own are socket pairs, and on Linux a program cannot open a socket through `/dev/stdin`,
 * `/dev/stdout` or `/dev/stderr` (ENXIO), as shell scripts do. Node has no pipe(2) either: so `mkfifo` makes FIFOs, for
 * several programs at a time, and their names are removed as soon as they are open.
 */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { closeSync, constants, lstatSync, mkdtempSync, openSync, readdirSync, rmSync } from 'node:fs';
import { Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Readable, Writable } from 'node:stream';
import { mayOpen } from '../../core/descriptors.ts';
import type { Server } from '../../core/server.ts';
import { log } from '../../log/log.ts';
import { pipesPerBatch } from '../../protocol/limits.ts';
import type { Variables } from './environment.ts';

/** stdin, stdout and stderr. */
export const pipesPerProgram = 3;

/** What a program will have for stdin, stdout and stderr: descriptors of nameless FIFOs, or socket pairs of Node's. */
export type PipeSet = readonly number[] | 'sockets';

export interface PipeSupply {
  readonly ready: PipeSet[];
  isMaking: boolean;
  isFailureLogged: boolean;
  /** Called when pipes are ready. */
  readonly waiting: Set<() => void>;
}

export function newPipeSupply(): PipeSupply {
  return { ready: [], isMaking: false, isFailureLogged: false, waiting: new Set() };
}

/** Makes what is missing of so many, at once: for the start of the server, and for programs that start seldom. */
export function stockPipes(supply: PipeSupply, server: Server, wanted: number): void {
  if (process.platform !== 'linux' || supply.ready.length >= wanted) return;
  removeStale();
  const { folder, count, names } = plan(server, wanted, 1);
  if (folder === undefined) return;
  const { status, error } = spawnSync('mkfifo', mkfifoWords(names), mkfifoOptions());
  fill(supply, server, folder, count, error ?? failureOf(status));
}

/**
 * Pipes for one program, which takes them over. `server.descriptors` has counted the program's own pipes already; those in
 * the supply are counted in addition.
 * @param waiting programs that wait for pipes, this one included
 * @returns `undefined` if none are ready: then `wake` is called when some are
 */
export function takePipes(
  supply: PipeSupply,
  server: Server,
  waiting: number,
  wake: () => void,
): PipeSet | undefined {
  // Elsewhere /dev/stdin is a duplicate of the descriptor, whatever that is.
  if (process.platform !== 'linux') return 'sockets';
  const pipes = supply.ready.shift();
  if (pipes !== undefined && pipes !== 'sockets') server.descriptors.pipes -= pipesPerProgram;
  if (pipes === undefined) supply.waiting.add(wake);
  if (supply.ready.length < waiting && !supply.isMaking)
    makePipes(supply, server, waiting - supply.ready.length);
  return pipes;
}

/** The same for a program that starts seldom: it does not wait, and nothing is made for others. */
export function takePipesNow(supply: PipeSupply, server: Server): PipeSet {
  stockPipes(supply, server, 1);
  const pipes = supply.ready.shift() ?? 'sockets';
  if (pipes !== 'sockets') server.descriptors.pipes -= pipesPerProgram;
  return pipes;
}

const folderPrefix = 'pollywog-pipes-';

/** A folder exists for milliseconds: an older one is from a server that was killed meanwhile. */
const staleAfter = 60_000;

function removeStale(): void {
  try {
    for (const name of readdirSync(tmpdir()).filter(one => one.startsWith(folderPrefix))) {
      const path = join(tmpdir(), name);
      const { mtimeMs, uid } = lstatSync(path);
      if (uid === process.getuid?.() && Date.now() - mtimeMs > staleAfter)
        rmSync(path, { recursive: true, force: true });
    }
  } catch {
    // Another server removes them, or none can be made here at all, which is logged.
  }
}

/** Fork and exec take the same time however many pipes are made; so some more are. */
function makePipes(supply: PipeSupply, server: Server, waiting: number): void {
  const many = Math.min(Math.max(waiting, pipesPerBatch), 4 * pipesPerBatch);
  const { folder, count, names } = plan(server, many, waiting);
  supply.isMaking = true;
  const done = (error: Error | undefined) => {
    if (!supply.isMaking) return;
    supply.isMaking = false;
    fill(supply, server, folder, count, error);
    const wakers = [...supply.waiting];
    supply.waiting.clear();
    for (const wake of wakers) wake();
  };
  if (folder === undefined) {
    setImmediate(done, new Error(`no folder can be made in ${tmpdir()}`));
    return;
  }
  try {
    const mkfifo = spawn('mkfifo', mkfifoWords(names), mkfifoOptions());
    mkfifo.on('error', done).on('exit', code => done(failureOf(code)));
  } catch (error) {
    setImmediate(done, error as Error);
  }
}

interface Plan {
  readonly folder: string | undefined;
  readonly count: number;
  readonly names: readonly string[];
}

/** Spare pipes take at most half of the descriptors that pipes may have. */
function plan(server: Server, wanted: number, waiting: number): Plan {
  let count = wanted;
  while (count > Math.min(waiting, wanted) && !mayOpen(server, 'pipes', 2 * count * pipesPerProgram)) count--;
  try {
    const folder = mkdtempSync(join(tmpdir(), folderPrefix));
    return { folder, count, names: Array.from({ length: count }, (_, i) => fifoNames(folder, i)).flat() };
  } catch {
    return { folder: undefined, count, names: [] };
  }
}

const mkfifoWords = (names: readonly string[]) => ['-m', '600', ...names];
const mkfifoOptions = () => ({ stdio: 'ignore' as const, env: { PATH: process.env['PATH'] } });

function failureOf(status: number | null): Error | undefined {
  return status === 0 ? undefined : new Error(`mkfifo ended with ${status}`);
}

/** The FIFOs are there, unless `error` says why not: opens them, and removes their names. */
function fill(
  supply: PipeSupply,
  server: Server,
  folder: string | undefined,
  count: number,
  error: Error | undefined,
): void {
  try {
    if (error !== undefined) throw error;
    for (let i = 0; i < count; i++) {
      supply.ready.push(openFifos(folder!, i));
      server.descriptors.pipes += pipesPerProgram;
    }
    supply.isFailureLogged = false;
  } catch (failure) {
    // Better sockets than no program.
    if (supply.ready.length === 0) supply.ready.push('sockets');
    logFailure(supply, failure as Error);
  }
  if (folder !== undefined) rmSync(folder, { recursive: true, force: true });
}

function logFailure(supply: PipeSupply, error: Error): void {
  if (supply.isFailureLogged) return;
  supply.isFailureLogged = true;
  log('warn', 'no pipes', {
    error: error.message,
    means: 'programs get sockets, and cannot open /dev/stdin, /dev/stdout and /dev/stderr',
    remedy: 'mkfifo on the PATH, and a writable TMPDIR',
  });
}

function fifoNames(folder: string, index: number): string[] {
  return Array.from({ length: pipesPerProgram }, (_, i) => join(folder, `${index}.${i}`));
}

/** Both ends in one descriptor: opening it waits for nobody. */
function openFifos(folder: string, index: number): number[] {
  return collect(add => {
    for (const name of fifoNames(folder, index)) add(openSync(name, constants.O_RDWR | constants.O_NONBLOCK));
  });
}

/** Collects descriptors. If that fails halfway, those that are open already are closed. */
function collect(fill: (add: (descriptor: number) => void) => void): number[] {
  const descriptors: number[] = [];
  try {
    fill(descriptor => descriptors.push(descriptor));
  } catch (error) {
    closeAll(descriptors);
    throw error;
  }
  return descriptors;
}

function closeAll(descriptors: readonly number[]): void {
  for (const descriptor of descriptors) closeSync(descriptor);
}

export interface Spawned {
  readonly child: ChildProcess;
  readonly stdin: Writable;
  readonly stdout: Readable;
  readonly stderr: Readable;
}

/** Spawns a program as the leader of a process group of its own. @throws Error, such as E2BIG */
export function spawnOn(pipes: PipeSet, words: readonly string[], environment: Variables): Spawned {
  const [command, ...rest] = words as [string, ...string[]];
  if (pipes === 'sockets') {
    const stdio = ['pipe', 'pipe', 'pipe'] as const;
    const child = spawn(command, rest, { stdio: [...stdio], env: environment, detached: true });
    const { stdin, stdout, stderr } = child as typeof child & Omit<Spawned, 'child'>;
    return { child, stdin, stdout, stderr };
  }
  let theirs: number[] = [];
  let ours: number[] = [];
  try {
    theirs = openEnds(pipes, true);
    ours = openEnds(pipes, false);
    const stdio = theirs as [number, number, number];
    const child = spawn(command, rest, { stdio, env: environment, detached: true });
    return { child, ...newStreams(ours) };
  } catch (error) {
    closeAll(ours);
    throw error;
  } finally {
    closeAll(theirs);
    closeAll(pipes);
  }
}

/**
 * The ends of the three pipes for one side. Each is an open file of its own, so that ours do not block while the program's
 * do, as it expects.
 */
function openEnds(pipes: readonly number[], isProgram: boolean): number[] {
  return collect(add => {
    for (const [i, descriptor] of pipes.entries()) {
      const isReadEnd = isProgram === (i === 0);
      const access = isReadEnd ? constants.O_RDONLY : constants.O_WRONLY;
      add(openSync(`/proc/self/fd/${descriptor}`, access | (isProgram ? 0 : constants.O_NONBLOCK)));
    }
  });
}

function newStreams(ours: readonly number[]): Omit<Spawned, 'child'> {
  const [input, output, errors] = ours as [number, number, number];
  return {
    stdin: new Socket({ fd: input, readable: false, writable: true }),
    stdout: new Socket({ fd: output, readable: true, writable: false }),
    stderr: new Socket({ fd: errors, readable: true, writable: false }),
  };
}
