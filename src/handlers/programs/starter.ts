/**
 * The starter: a small process that starts programs for a large server. Node starts a process with fork(2), which copies the
 * server's page tables and makes each page fault on its next write: at 256 MB that takes 5 to 10 ms at once and up to 60 ms
 * later. The starter opens the programs' ends of the pipes through /proc, and reports each program's process ID and exit.
 * Where it cannot work (not Linux, or /proc is hidden), the server starts programs itself.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { extname } from 'node:path';
import { fileURLToPath } from 'node:url';
import { log } from '../../log/log.ts';
import { starterThreshold } from '../../protocol/limits.ts';
import type { Captured } from './capture.ts';
import type { Variables } from './environment.ts';

/** A process for the starter to start. */
export interface StartRequest {
  readonly id: number;
  readonly words: readonly string[];
  readonly environment: Variables;
  /** The server's descriptors for stdin, stdout and stderr. Without them, the process gets /dev/null and stays in the starter's group. */
  readonly pipes: readonly number[];
  /** Without pipes: the starter reads the process's descriptors 2 and 3, and reports their output with the exit. */
  readonly isCaptured?: boolean;
}

export type StartReport =
  | { readonly event: 'ready' }
  | { readonly id: number; readonly event: 'started'; readonly pid: number }
  | {
      readonly id: number;
      readonly event: 'failed';
      readonly message: string;
      readonly code: string | undefined;
    }
  /** The starter cannot open the pipes. */
  | { readonly id: number; readonly event: 'unable' }
  | {
      readonly id: number;
      readonly event: 'exited';
      readonly code: number | null;
      readonly signal: NodeJS.Signals | null;
      readonly captured?: Captured | undefined;
    };

export interface StartEvents {
  onStarted(pid: number): void;
  onFailed(error: NodeJS.ErrnoException): void;
  onExit(code: number | null, signal: NodeJS.Signals | null, captured?: Captured): void;
  /** The starter cannot start the process: the caller must. */
  onUnable(): void;
}

/** A process that was requested or is running. */
interface Started {
  readonly events: StartEvents;
  pid: number | undefined;
}

export interface Starter {
  /** `undefined` until the server is large, and after the starter has ended. */
  process: ChildProcess | undefined;
  isReady: boolean;
  /** The starter has ended by itself, or cannot open pipes. */
  isUnusable: boolean;
  readonly started: Map<number, Started>;
  lastId: number;
}

export function newStarter(): Starter {
  return { process: undefined, isReady: false, isUnusable: false, started: new Map(), lastId: 0 };
}

/** Starts the starter once the server is large. @returns whether it is ready */
export function prepareStarter(starter: Starter): boolean {
  const { process: running, isUnusable, isReady } = starter;
  const isMissing = running === undefined && !isUnusable && process.platform === 'linux';
  if (isMissing && process.memoryUsage.rss() > starterThreshold) begin(starter);
  return isReady;
}

const script = fileURLToPath(new URL(`./starterProcess${extname(import.meta.url)}`, import.meta.url));

function begin(starter: Starter): void {
  const flags = process.execArgv.filter(flag => !/^--(inspect|prof|cpu-prof|heap-prof)/.test(flag));
  const started = spawn(process.execPath, [...flags, '--max-old-space-size=64', script], {
    stdio: ['ignore', 'ignore', 'ignore', 'ipc'],
    env: {},
    // Keeps it out of the terminal's foreground group: Ctrl-C is for the server.
    detached: true,
  });
  starter.process = started;
  started.on('message', message => onReport(starter, message as StartReport));
  started.on('error', error => onEnd(starter, error.message));
  started.on('exit', (code, signal) => onEnd(starter, `it ended with ${signal ?? code}`));
  started.unref();
  started.channel?.unref();
}

function onReport(starter: Starter, report: StartReport): void {
  if (report.event === 'ready') {
    starter.isReady = true;
    return;
  }
  const one = starter.started.get(report.id);
  if (one === undefined) return;
  const { events } = one;
  if (report.event === 'started') {
    one.pid = report.pid;
    events.onStarted(report.pid);
    return;
  }
  forget(starter, report.id);
  if (report.event === 'exited') {
    events.onExit(report.code, report.signal, report.captured);
  } else if (report.event === 'failed') {
    events.onFailed(Object.assign(new Error(report.message), { code: report.code }));
  } else {
    makeUnusable(starter, 'it cannot open pipes through /proc');
    events.onUnable();
  }
}

function forget(starter: Starter, id: number): void {
  starter.started.delete(id);
  // While a program runs, the channel keeps the server's process alive, so its exit is reported.
  if (starter.started.size === 0) starter.process?.channel?.unref();
}

function makeUnusable(starter: Starter, why: string): void {
  if (!starter.isUnusable)
    log('warn', 'starter not used', { why, means: 'the server starts programs itself' });
  starter.isUnusable = true;
  starter.isReady = false;
}

/** The starter has ended. Its programs still run, but their exits cannot be observed: they count as killed. */
function onEnd(starter: Starter, why: string): void {
  if (starter.process === undefined) return;
  starter.process = undefined;
  makeUnusable(starter, why);
  const left = [...starter.started.values()];
  starter.started.clear();
  for (const { pid, events } of left) {
    if (pid === undefined) events.onUnable();
    else events.onExit(null, 'SIGKILL');
  }
}

/** Asks the starter, which must be ready, to start a process. The caller keeps the descriptors open until then. */
export function startElsewhere(
  starter: Starter,
  request: Omit<StartRequest, 'id'>,
  events: StartEvents,
): void {
  const id = ++starter.lastId;
  starter.started.set(id, { events, pid: undefined });
  starter.process?.channel?.ref();
  // If the channel is closed, `exit` follows.
  starter.process?.send({ id, ...request }, () => {});
}

/** Ends the starter after the last program. Resolves when it has exited. */
export async function stopStarter(starter: Starter): Promise<void> {
  const { process: running } = starter;
  if (running === undefined) return;
  starter.process = undefined;
  starter.isReady = false;
  await new Promise<void>(resolve => {
    running.ref();
    running.once('exit', () => resolve());
    if (running.connected) running.disconnect();
    else running.kill('SIGKILL');
  });
}
