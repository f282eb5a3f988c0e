/**
 * Pipes for programs. Node gives a child socket pairs, which cannot be opened through `/dev/stdin`, `/dev/stdout` or
 * `/dev/stderr` on Linux (ENXIO), as shell scripts do. Node has no pipe(2) either, so `mkfifo` creates FIFOs for several
 * programs at a time. Their names are removed as soon as they are open.
 */
import { spawn, spawnSync } from 'node:child_process';
import { EventEmitter } from 'node:events';
import { constants, lstatSync, mkdtempSync, openSync, readdirSync, rmSync } from 'node:fs';
import { Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Readable, Writable } from 'node:stream';
import { mayOpenPipes } from '../../core/descriptors.ts';
import { log } from '../../log/log.ts';
import { pipesPerBatch } from '../../protocol/limits.ts';
import type { Server } from '../../records/records.ts';
import type { Variables } from './environment.ts';
import { closeAll, openAll, openEnds } from './pipeEnds.ts';
import { newStarter, prepareStarter, type Starter, startElsewhere } from './starter.ts';

/** stdin, stdout and stderr. */
export const pipesPerProgram = 3;

/** A program's stdin, stdout and stderr: descriptors of nameless FIFOs, or Node's socket pairs. */
export type PipeSet = readonly number[] | 'sockets';

export interface PipeSupply {
  /** Starts programs and `mkfifo` once the server is large. */
  readonly starter: Starter;
  readonly ready: PipeSet[];
  isMaking: boolean;
  isFailureLogged: boolean;
  /** Called when pipes are ready. */
  readonly waiting: Set<() => void>;
}

export function newPipeSupply(): PipeSupply {
  return { starter: newStarter(), ready: [], isMaking: false, isFailureLogged: false, waiting: new Set() };
}

/** Fills the supply up to `wanted` sets, and blocks for that: at the start, and for programs that seldom start. */
export function stockPipes(supply: PipeSupply, server: Server, wanted: number): void {
  if (process.platform !== 'linux' || supply.ready.length >= wanted) return;
  removeStaleFolders();
  const { folder, count, names } = planPipes(server, wanted, 1);
  if (folder === undefined) return;
  const { status, error } = spawnSync('mkfifo', mkfifoWords(names), mkfifoOptions());
  openPipes(supply, server, folder, count, error ?? failureOf(status));
}

/**
 * Takes the pipes for one program. The caller has counted them in `server.descriptors`; pipes in the supply count in addition.
 * @param waiting programs that wait for pipes, including this one
 * @returns `undefined` if none are ready; `wake` is called when some are
 */
export function takePipes(
  supply: PipeSupply,
  server: Server,
  waiting: number,
  wake: () => void,
): PipeSet | undefined {
  // Elsewhere opening /dev/stdin duplicates the descriptor, which works with sockets.
  if (process.platform !== 'linux') return 'sockets';
  const pipes = supply.ready.shift();
  if (pipes !== undefined && pipes !== 'sockets') server.descriptors.pipes -= pipesPerProgram;
  if (pipes === undefined) supply.waiting.add(wake);
  if (supply.ready.length < waiting && !supply.isMaking)
    makePipes(supply, server, waiting - supply.ready.length);
  return pipes;
}

/** The same for a program that seldom starts: blocks instead of waiting. */
export function takePipesNow(supply: PipeSupply, server: Server): PipeSet {
  stockPipes(supply, server, 1);
  const pipes = supply.ready.shift() ?? 'sockets';
  if (pipes !== 'sockets') server.descriptors.pipes -= pipesPerProgram;
  return pipes;
}

const folderPrefix = 'pollywog-pipes-';

/** Milliseconds. A folder exists for a few of them; an older one is left from a server that was killed. */
const staleAfter = 60_000;

function removeStaleFolders(): void {
  try {
    for (const name of readdirSync(tmpdir()).filter(one => one.startsWith(folderPrefix))) {
      const path = join(tmpdir(), name);
      const { mtimeMs, uid } = lstatSync(path);
      if (uid === process.getuid?.() && Date.now() - mtimeMs > staleAfter)
        rmSync(path, { recursive: true, force: true });
    }
  } catch {
    // Another server is removing them, or the folder is not accessible: `logFailure` reports that.
  }
}

/** Makes pipes in batches, because most of the cost is fork and exec. */
function makePipes(supply: PipeSupply, server: Server, waiting: number): void {
  const many = Math.min(Math.max(waiting, pipesPerBatch), 4 * pipesPerBatch);
  const { folder, count, names } = planPipes(server, many, waiting);
  supply.isMaking = true;
  const done = (error: Error | undefined) => {
    if (!supply.isMaking) return;
    supply.isMaking = false;
    openPipes(supply, server, folder, count, error);
    const wakers = [...supply.waiting];
    supply.waiting.clear();
    for (const wake of wakers) wake();
  };
  if (folder === undefined) {
    setImmediate(done, new Error(`cannot create a folder in ${tmpdir()}`));
    return;
  }
  if (!prepareStarter(supply.starter)) return runMkfifo(names, done);
  startElsewhere(
    supply.starter,
    { words: ['mkfifo', ...mkfifoWords(names)], environment: mkfifoOptions().env, pipes: [] },
    {
      onStarted() {},
      onFailed: done,
      onExit: code => done(failureOf(code)),
      onUnable: () => runMkfifo(names, done),
    },
  );
}

/** @param done called later */
function runMkfifo(names: readonly string[], done: (error: Error | undefined) => void): void {
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

/** Limits spare pipes to half of the descriptors that pipes may use. */
function planPipes(server: Server, wanted: number, waiting: number): Plan {
  let count = wanted;
  while (count > Math.min(waiting, wanted) && !mayOpenPipes(server, 2 * count * pipesPerProgram)) count--;
  try {
    const folder = mkdtempSync(join(tmpdir(), folderPrefix));
    return { folder, count, names: Array.from({ length: count }, (_, i) => fifoNames(folder, i)).flat() };
  } catch {
    return { folder: undefined, count, names: [] };
  }
}

const mkfifoWords = (names: readonly string[]) => ['-m', '600', ...names];
const mkfifoOptions = () => ({ stdio: 'ignore' as const, env: { PATH: process.env['PATH'] ?? '' } });

function failureOf(status: number | null): Error | undefined {
  return status === 0 ? undefined : new Error(`mkfifo exited with ${status}`);
}

/** Opens the FIFOs and removes their names. @param error why `mkfifo` failed, if it did */
function openPipes(
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
    // Fall back to sockets: most programs work with them.
    if (supply.ready.length === 0) supply.ready.push('sockets');
    logFailure(supply, failure as Error);
  }
  if (folder !== undefined) rmSync(folder, { recursive: true, force: true });
}

function logFailure(supply: PipeSupply, error: Error): void {
  if (supply.isFailureLogged) return;
  supply.isFailureLogged = true;
  log('warn', 'pipes unavailable', {
    error: error.message,
    means: 'programs get sockets and cannot open /dev/stdin, /dev/stdout and /dev/stderr',
    remedy: 'put mkfifo on the PATH and make TMPDIR writable',
  });
}

function fifoNames(folder: string, index: number): string[] {
  return Array.from({ length: pipesPerProgram }, (_, i) => join(folder, `${index}.${i}`));
}

/** O_RDWR has both ends in one descriptor, so opening does not wait for a peer. */
function openFifos(folder: string, index: number): number[] {
  return openAll(add => {
    for (const name of fifoNames(folder, index)) add(openSync(name, constants.O_RDWR | constants.O_NONBLOCK));
  });
}

/** A process, whether the server or the starter has started it. */
export interface Child {
  /** `undefined` if the start failed. */
  readonly pid?: number | undefined;
  on(event: 'exit', listener: (code: number | null, signal: NodeJS.Signals | null) => void): unknown;
  on(event: 'error', listener: (error: Error) => void): unknown;
}

export interface Spawned {
  readonly child: Child;
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
  let programEnds: number[] = [];
  let serverEnds: number[] = [];
  try {
    programEnds = openEnds('self', pipes, true);
    serverEnds = openEnds('self', pipes, false);
    const stdio = programEnds as [number, number, number];
    const child = spawn(command, rest, { stdio, env: environment, detached: true });
    return { child, ...newStreams(serverEnds) };
  } catch (error) {
    closeAll(serverEnds);
    throw error;
  } finally {
    closeAll(programEnds);
    closeAll(pipes);
  }
}

/**
 * Like `spawnOn`, but the starter starts the process. The starter must be ready (`prepareStarter`).
 * @param done called later, or at once if the server cannot open its ends
 */
export function spawnElsewhere(
  { starter }: PipeSupply,
  pipes: readonly number[],
  words: readonly string[],
  environment: Variables,
  done: (result: Spawned | Error) => void,
): void {
  let serverEnds: number[];
  try {
    serverEnds = openEnds('self', pipes, false);
  } catch (error) {
    closeAll(pipes);
    return done(error as Error);
  }
  const child = new EventEmitter();
  startElsewhere(
    starter,
    { words, environment, pipes },
    {
      onStarted(pid) {
        closeAll(pipes);
        done({ child: Object.assign(child, { pid }), ...newStreams(serverEnds) });
      },
      onFailed(error) {
        closeAll(pipes);
        closeAll(serverEnds);
        done(error);
      },
      onExit: (code, signal) => child.emit('exit', code, signal),
      onUnable() {
        closeAll(serverEnds);
        let result: Spawned | Error;
        try {
          result = spawnOn(pipes, words, environment);
        } catch (error) {
          result = error as Error;
        }
        done(result);
      },
    },
  );
}

function newStreams(serverEnds: readonly number[]): Omit<Spawned, 'child'> {
  const [input, output, errors] = serverEnds as [number, number, number];
  return {
    stdin: new Socket({ fd: input, readable: false, writable: true }),
    stdout: new Socket({ fd: output, readable: true, writable: false }),
    stderr: new Socket({ fd: errors, readable: true, writable: false }),
  };
}
