/** A program that runs: started, written to, ended with all that it has started itself. */
import type { Readable, Writable } from 'node:stream';
import { type LogFields, log } from '../../log/log.ts';
import type { ProgramEntry } from '../../options/values.ts';
import { backpressureThreshold, maxDiscardedOutput } from '../../protocol/limits.ts';
import type { Variables } from './environment.ts';
import { explainExit, explainFailure } from './executable.ts';
import { clearRecords, newRecords, type Records } from './formats.ts';
import { type PipeSet, type Spawned, spawnOn } from './pipes.ts';
import { type ErrorQueue, type ErrorReader, finishErrors, heldErrors, logErrorLines } from './programLog.ts';
import { forgetGroup, hasOnlyZombies, noteGroup } from './reaper.ts';

export interface Program {
  readonly name: string;
  readonly pid: number;
  readonly stdin: Writable;
  readonly stdout: Readable;
  readonly errors: ErrorReader;
  /** What it wrote and nobody has read. */
  readonly records: Records;
  /** Whose it is, for the log. */
  readonly fields: LogFields;
  readonly grace: number;
  readonly events: ProgramEvents;
  /** The code or signal that it ended with; `undefined` while it runs. */
  exit: number | NodeJS.Signals | undefined;
  /** Nothing more comes from its stdout. */
  isSilent: boolean;
  /** It was asked to end, or its first process has ended: the time of the rest of them runs. */
  isEnding: boolean;
  /** None of its process group is left, or could be ended. */
  isGroupGone: boolean;
  /** The rest of its stderr is being logged; then it is gone. */
  isFinishing: boolean;
  isGone: boolean;
  /** To the next step of its end. */
  timer: NodeJS.Timeout | undefined;
  /** How often the rest of its group was looked for since its first process has ended. */
  looks: number;
  /** Its first process has ended, and the others are looked for again and again. */
  watch: NodeJS.Timeout | undefined;
}

export interface ProgramEvents {
  /** There is something to be read from `stdout`, or it ended, or the program did. */
  stirs(): void;
  /** What was written to it is read. */
  drained(): void;
  /** Nothing of it is left. */
  gone(): void;
}

/**
 * Starts a program, as the leader of a process group of its own.
 * @param environment all of it
 * @param grace milliseconds from the end of stdin to SIGTERM, and from that to SIGKILL; 0: neither is sent
 * @param id the connection's, for the log
 * @param pipes taken over, whether or not it can be started
 * @returns `undefined` where it could not be started; the log has why
 */
export function startProgram(
  entry: ProgramEntry,
  environment: Variables,
  grace: number,
  id: number | undefined,
  events: ProgramEvents,
  pipes: PipeSet,
  errorQueue: ErrorQueue,
): Program | undefined {
  const { name, words } = entry;
  const notStarted = (error: Error) => {
    const why = explainFailure(words, error as NodeJS.ErrnoException);
    log('error', 'program not started', { program: name, id, error: error.message, why });
  };
  let spawned: Spawned;
  try {
    spawned = spawnOn(pipes, words, environment);
  } catch (error) {
    // Such as E2BIG, for a head too long to be an environment.
    notStarted(error as Error);
    return undefined;
  }
  const { child } = spawned;
  child.on('error', notStarted);
  if (child.pid === undefined) {
    for (const stream of [spawned.stdin, spawned.stdout, spawned.stderr])
      stream.on('error', () => {}).destroy();
    return undefined;
  }
  return newProgram(entry, spawned, child.pid, grace, id, events, errorQueue);
}

function newProgram(
  { name, words }: ProgramEntry,
  { child, stdin, stdout, stderr }: Spawned,
  pid: number,
  grace: number,
  id: number | undefined,
  events: ProgramEvents,
  errorQueue: ErrorQueue,
): Program {
  const fields = { program: name, id, pid };
  const program: Program = {
    ...{ name, pid, stdin, stdout, fields, grace, events },
    errors: logErrorLines(stderr, fields, errorQueue),
    records: newRecords(),
    exit: undefined,
    isSilent: false,
    isEnding: false,
    isGroupGone: false,
    isFinishing: false,
    looks: 0,
    isGone: false,
    timer: undefined,
    watch: undefined,
  };
  noteGroup(pid, grace);
  // It may end, or close its stdin, at any time; what is written then is lost, as in any pipe.
  stdin
    .on('error', () => {})
    .on('drain', events.drained)
    .on('close', events.drained);
  stdout.on('error', () => {}).on('readable', events.stirs);
  stdout.on('close', () => {
    program.isSilent = true;
    lookIfGone(program);
    events.stirs();
  });
  child.on('exit', (code, signal) => {
    program.exit = signal ?? code ?? 0;
    const why = explainExit(words, program.exit);
    log(program.exit === 0 ? 'debug' : 'info', 'program ended', { ...fields, with: program.exit, why });
    endProgram(program);
    lookIfGone(program);
    events.stirs();
  });
  log('debug', 'program started', fields);
  return program;
}

/** Whether it should be given nothing more before it has read what it was given. */
export function isFull({ stdin }: Program): boolean {
  return stdin.writable && stdin.writableLength > backpressureThreshold;
}

/** Writes a record, which is given away. All of one turn's leave together, when that is over. */
export function writeRecord(program: Program, record: Buffer): void {
  const { stdin } = program;
  if (!stdin.writable) return;
  if (stdin.writableCorked === 0) {
    stdin.cork();
    process.nextTick(() => stdin.uncork());
  }
  stdin.write(record);
}

/** How often we look, in milliseconds, for what the system tells nobody: that the last of a group has ended. */
const lookInterval = 50;

/** Zombies are looked for less often: that reads some files. */
const looksPerScan = 10;

/** Ends it and all of its group, in order: its stdin ends; if that is not enough, SIGTERM; if not even that, SIGKILL. */
export function endProgram(program: Program): void {
  if (program.isEnding) return;
  const { stdin, grace } = program;
  program.isEnding = true;
  stdin.end();
  if (grace === 0) return;
  program.timer = setTimeout(() => {
    signalGroup(program, 'SIGTERM');
    program.timer = setTimeout(() => {
      signalGroup(program, 'SIGKILL');
      program.isGroupGone = true;
      cutOff(program);
      lookIfGone(program);
    }, grace);
    lookIfGone(program);
  }, grace);
}

/** Whoever left the group may still have stdout open. But what was said before may wait for a client that is slow. */
function cutOff(program: Program, seen = -1): void {
  const { bytesRead, readableLength } = program.stdout as Readable & { bytesRead: number };
  if (bytesRead === seen && readableLength === 0) program.stdout.destroy();
  // A late loop runs timers before it polls the pipe: the check waits for the poll.
  else program.timer = setTimeout(() => setImmediate(cutOff, program, bytesRead), lookInterval);
}

function signalGroup(program: Program, signal: 'SIGTERM' | 'SIGKILL'): void {
  if (program.isGroupGone) return;
  if (kill(program, signal)) log('info', 'program told to end', { ...program.fields, by: signal });
  else program.isGroupGone = true;
}

/** @returns false where the group is gone */
function kill({ pid }: Program, signal: NodeJS.Signals | 0): boolean {
  try {
    process.kill(-pid, signal);
    return true;
  } catch (error) {
    // Of another user's: it is there.
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}

/** A group has the leader's pid as long as anyone is in it, so that no other process can have that. */
function lookIfGone(program: Program): void {
  if (program.exit === undefined || program.isFinishing) return;
  program.isGroupGone ||= program.grace === 0 || !kill(program, 0);
  if (
    !program.isGroupGone &&
    program.looks++ % looksPerScan === looksPerScan - 1 &&
    hasOnlyZombies(program.pid)
  ) {
    // In case one is alive that is no orphan: with the group forgotten, nothing else would end it.
    kill(program, 'SIGKILL');
    program.isGroupGone = true;
  }
  if (!program.isGroupGone) program.watch ??= setInterval(() => lookIfGone(program), lookInterval);
  if (!program.isGroupGone || !program.isSilent || program.isFinishing) return;
  clearTimeout(program.timer);
  clearInterval(program.watch);
  forgetGroup(program.pid);
  // A process that left the group may still have it, and never read it.
  program.stdin.destroy();
  program.isFinishing = true;
  finishErrors(program.errors, () => {
    program.isGone = true;
    program.events.gone();
  });
}

/** Bytes that wait for it, or were read from it and not used. */
export function heldBytes({ stdin, stdout, records, errors }: Program): number {
  return (
    (stdin.destroyed ? 0 : stdin.writableLength) +
    stdout.readableLength +
    records.bytes.length +
    heldErrors(errors)
  );
}

/** Nobody is there any more to hear what it says: it may say a little more, and then finds its stdout closed. */
export function discardOutput({ stdout, records }: Program): void {
  let unheard = 0;
  clearRecords(records);
  stdout.removeAllListeners('readable');
  stdout.on('data', (bytes: Buffer) => {
    unheard += bytes.length;
    if (unheard > maxDiscardedOutput) stdout.destroy();
  });
}
