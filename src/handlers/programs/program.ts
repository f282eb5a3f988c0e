/** One process of a program: its start, its stdin, and its end, together with all processes that it has started. */
import type { Readable, Writable } from 'node:stream';
import { type LogFields, log } from '../../log/log.ts';
import type { ProgramEntry } from '../../options/values.ts';
import { backpressureThreshold, maxDiscardedOutput } from '../../protocol/limits.ts';
import type { Variables } from './environment.ts';
import { explainExit, explainStartFailure } from './executable.ts';
import { clearRecordBuffer, newRecordBuffer, type RecordBuffer } from './formats.ts';
import { type PipeSet, type PipeSupply, type Spawned, spawnElsewhere, spawnOn } from './pipes.ts';
import {
  bufferedStderr,
  finishStderr,
  newStderrReader,
  type StderrQueue,
  type StderrReader,
} from './programLog.ts';
import { hasOnlyZombies, registerGroup, unregisterGroup } from './reaper.ts';
import { prepareStarter } from './starter.ts';

export interface Program {
  readonly name: string;
  readonly pid: number;
  readonly stdin: Writable;
  readonly stdout: Readable;
  readonly errors: StderrReader;
  /** Output that is not processed yet. */
  readonly records: RecordBuffer;
  /** Identify the program in the log. */
  readonly fields: LogFields;
  readonly grace: number;
  readonly events: ProgramEvents;
  /** The exit code or signal; `undefined` while the process runs. */
  exit: number | NodeJS.Signals | undefined;
  isStdoutClosed: boolean;
  /** The grace period of the process group has begun: its stdin is closed, or its leader has exited. */
  isEnding: boolean;
  /** No process of the group is left, or none that the server may signal. */
  isGroupGone: boolean;
  /** The last lines of its stderr are being logged. */
  isFinishing: boolean;
  /** Everything about the program has ended. */
  isGone: boolean;
  /** For the next step of its end. */
  endTimer: NodeJS.Timeout | undefined;
  /** Checks for the group since its leader has exited. */
  groupChecks: number;
  groupCheckTimer: NodeJS.Timeout | undefined;
}

export interface ProgramEvents {
  /** `stdout` has data or has ended, or the process has exited. */
  onReadable(): void;
  /** The program has read all of its input, or closed its stdin. */
  onDrained(): void;
  /** The process group is gone and all output is handled. */
  onGone(): void;
}

export interface ProgramOptions {
  /** The complete environment. */
  readonly environment: Variables;
  /** Milliseconds from the end of stdin to SIGTERM, and again to SIGKILL; 0: neither is sent. */
  readonly grace: number;
  /** The connection's, for the log; `undefined` if the program is shared. */
  readonly id: number | undefined;
  readonly events: ProgramEvents;
  readonly stderrQueue: StderrQueue;
}

/**
 * Starts a program as the leader of a process group of its own.
 * @param pipes taken over, even if the start fails
 * @returns `undefined` if the start fails; the reason is logged
 */
export function startProgram(
  entry: ProgramEntry,
  pipes: PipeSet,
  options: ProgramOptions,
): Program | undefined {
  try {
    return begin(entry, spawnOn(pipes, entry.words, options.environment), options);
  } catch (error) {
    // For instance E2BIG: the header fields are too long for an environment.
    logStartFailure(entry, options, error as Error);
    return undefined;
  }
}

/** Like `startProgram`, but once the server is large, the starter starts the program, and `done` is called later. */
export function startProgramSoon(
  entry: ProgramEntry,
  pipes: PipeSet,
  supply: PipeSupply,
  options: ProgramOptions,
  done: (program: Program | undefined) => void,
): void {
  if (pipes === 'sockets' || !prepareStarter(supply.starter))
    return done(startProgram(entry, pipes, options));
  spawnElsewhere(supply, pipes, entry.words, options.environment, result => {
    if (!(result instanceof Error)) return done(begin(entry, result, options));
    logStartFailure(entry, options, result);
    done(undefined);
  });
}

function logStartFailure({ name, words }: ProgramEntry, { id }: ProgramOptions, error: Error): void {
  const why = explainStartFailure(words, error as NodeJS.ErrnoException);
  log('error', 'program not started', { program: name, id, error: error.message, why });
}

/** @returns `undefined` if the process could not be started */
function begin(entry: ProgramEntry, spawned: Spawned, options: ProgramOptions): Program | undefined {
  const { child } = spawned;
  child.on('error', error => logStartFailure(entry, options, error));
  if (child.pid !== undefined) return newProgram(entry, spawned, child.pid, options);
  for (const stream of [spawned.stdin, spawned.stdout, spawned.stderr])
    stream.on('error', () => {}).destroy();
  return undefined;
}

function newProgram(
  { name, words }: ProgramEntry,
  { child, stdin, stdout, stderr }: Spawned,
  pid: number,
  { grace, id, events, stderrQueue }: ProgramOptions,
): Program {
  const fields = { program: name, id, pid };
  const program: Program = {
    ...{ name, pid, stdin, stdout, fields, grace, events },
    errors: newStderrReader(stderr, fields, stderrQueue),
    records: newRecordBuffer(),
    exit: undefined,
    isStdoutClosed: false,
    isEnding: false,
    isGroupGone: false,
    isFinishing: false,
    groupChecks: 0,
    isGone: false,
    endTimer: undefined,
    groupCheckTimer: undefined,
  };
  registerGroup(pid, grace);
  // The program may exit or close its stdin at any time: what is written afterwards is lost, as in any pipe.
  stdin
    .on('error', () => {})
    .on('drain', events.onDrained)
    .on('close', events.onDrained);
  stdout.on('error', () => {}).on('readable', events.onReadable);
  stdout.on('close', () => {
    program.isStdoutClosed = true;
    checkGroupGone(program);
    events.onReadable();
  });
  child.on('exit', (code, signal) => {
    program.exit = signal ?? code ?? 0;
    const why = explainExit(words, program.exit);
    log(program.exit === 0 ? 'debug' : 'info', 'program ended', { ...fields, with: program.exit, why });
    endProgram(program);
    checkGroupGone(program);
    events.onReadable();
  });
  log('debug', 'program started', fields);
  return program;
}

/** Whether the program has so much unread input that its clients must be paused. */
export function isInputFull({ stdin }: Program): boolean {
  return stdin.writable && stdin.writableLength > backpressureThreshold;
}

/** Takes over `record`. All records of a turn are written together after it. */
export function writeRecord(program: Program, record: Buffer): void {
  const { stdin } = program;
  if (!stdin.writable) return;
  if (stdin.writableCorked === 0) {
    stdin.cork();
    process.nextTick(() => stdin.uncork());
  }
  stdin.write(record);
}

/** Milliseconds between checks for the group: the system does not report the end of its last process. */
const groupCheckInterval = 50;

/** Checks without a search for zombies, which reads files. */
const checksPerZombieScan = 10;

/** Ends the process group in three steps: end of stdin, after the grace period SIGTERM, after another one SIGKILL. */
export function endProgram(program: Program): void {
  if (program.isEnding) return;
  const { stdin, grace } = program;
  program.isEnding = true;
  stdin.end();
  if (grace === 0) return;
  program.endTimer = setTimeout(() => {
    signalGroup(program, 'SIGTERM');
    program.endTimer = setTimeout(() => {
      signalGroup(program, 'SIGKILL');
      program.isGroupGone = true;
      destroyStdoutWhenIdle(program);
      checkGroupGone(program);
    }, grace);
    checkGroupGone(program);
  }, grace);
}

/**
 * Closes stdout once it is idle and read: a process that has left the group may keep it open for ever, while output of the
 * killed ones may still wait for a slow client.
 */
function destroyStdoutWhenIdle(program: Program, seen = -1): void {
  const { bytesRead, readableLength } = program.stdout as Readable & { bytesRead: number };
  if (bytesRead === seen && readableLength === 0) program.stdout.destroy();
  // A late loop runs timers before it polls the pipe: check after the poll.
  else
    program.endTimer = setTimeout(
      () => setImmediate(destroyStdoutWhenIdle, program, bytesRead),
      groupCheckInterval,
    );
}

function signalGroup(program: Program, name: 'SIGTERM' | 'SIGKILL'): void {
  if (program.isGroupGone) return;
  if (signal(program, name)) log('info', 'program signalled', { ...program.fields, by: name });
  else program.isGroupGone = true;
}

/** @returns false if the group is gone */
function signal({ pid }: Program, name: NodeJS.Signals | 0): boolean {
  try {
    process.kill(-pid, name);
    return true;
  } catch (error) {
    // EPERM: the group exists, but belongs to another user.
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}

/** Safe against PID reuse: the kernel does not reuse the ID of a process group that still has a member. */
function checkGroupGone(program: Program): void {
  if (program.exit === undefined || program.isFinishing) return;
  program.isGroupGone ||= program.grace === 0 || !signal(program, 0);
  if (
    !program.isGroupGone &&
    program.groupChecks++ % checksPerZombieScan === checksPerZombieScan - 1 &&
    hasOnlyZombies(program.pid)
  ) {
    // A living process may exist that is no orphan of process 1: nothing else would end it from here on.
    signal(program, 'SIGKILL');
    program.isGroupGone = true;
  }
  if (!program.isGroupGone)
    program.groupCheckTimer ??= setInterval(() => checkGroupGone(program), groupCheckInterval);
  if (!program.isGroupGone || !program.isStdoutClosed || program.isFinishing) return;
  clearTimeout(program.endTimer);
  clearInterval(program.groupCheckTimer);
  unregisterGroup(program.pid);
  // A process that has left the group may hold stdin open and never read it.
  program.stdin.destroy();
  program.isFinishing = true;
  finishStderr(program.errors, () => {
    program.isGone = true;
    program.events.onGone();
  });
}

/** Bytes of unread input and unprocessed output. */
export function bufferedBytes({ stdin, stdout, records, errors }: Program): number {
  return (
    (stdin.destroyed ? 0 : stdin.writableLength) +
    stdout.readableLength +
    records.bytes.length +
    bufferedStderr(errors)
  );
}

/** Discards output when its client has left: a little more is allowed, then stdout is closed. */
export function discardOutput({ stdout, records }: Program): void {
  let discarded = 0;
  clearRecordBuffer(records);
  stdout.removeAllListeners('readable');
  stdout.on('data', (bytes: Buffer) => {
    discarded += bytes.length;
    if (discarded > maxDiscardedOutput) stdout.destroy();
  });
}
