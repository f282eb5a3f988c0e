/**
 * What the handlers of all programs share, and the memory for orphaned input: a program gets everything that its client sent,
 * so unread input stays in memory after the client has left, until the program reads it or ends. It counts against
 * `--max-memory`.
 */

import { scheduleTurn } from '../../core/poll.ts';
import { log } from '../../log/log.ts';
import type { ProgramEntry } from '../../options/values.ts';
import { programStartsPerTurn } from '../../protocol/limits.ts';
import type { Server } from '../../records/records.ts';
import type { Channels } from '../channels/records.ts';
import { newPipeSupply, type PipeSet, type PipeSupply, takePipes } from './pipes.ts';
import type { Program } from './program.ts';
import { newReaderQueue, type ReaderQueue } from './reader.ts';

/** A connection whose program is not started yet. */
export interface PendingStart {
  readonly entry: ProgramEntry;
  /** The client has left. */
  isOver(): boolean;
  start(pipes: PipeSet): void;
  cancel(): void;
}

export interface Programs {
  /** The channels that programs publish in. */
  readonly channels: Channels;
  /** Processes of all `--exec` handlers, including those that are starting or ending. */
  running: number;
  /** Processes of `--exec-shared` handlers. */
  shared: number;
  /** Programs whose client has left, and how many bytes of input each had not read then. */
  readonly leftInput: Map<Program, number>;
  readonly readerQueue: ReaderQueue;
  readonly pipes: PipeSupply;
  /** Oldest first. */
  toStart: PendingStart[];
  /** `counters.turns` of the last start, and the number of starts in that turn. */
  startTurn: number;
  starts: number;
}

const programsOf = new WeakMap<Server, Programs>();

export function newPrograms(channels: Channels): Programs {
  const { server } = channels;
  const programs: Programs = {
    channels,
    running: 0,
    shared: 0,
    leftInput: new Map(),
    readerQueue: newReaderQueue(server),
    pipes: newPipeSupply(),
    toStart: [],
    startTurn: 0,
    starts: 0,
  };
  programsOf.set(server, programs);
  return programs;
}

/** The number of processes of all programs. */
export function countPrograms(server: Server): number {
  const { running, shared } = programsOf.get(server) ?? { running: 0, shared: 0 };
  return running + shared;
}

/** Starts waiting programs in order of arrival: at most `programStartsPerTurn` per turn for all handlers together. */
export function startWaiting(programs: Programs, server: Server): void {
  const { toStart, pipes } = programs;
  const { turns } = server.counters;
  if (programs.startTurn !== turns) programs.starts = 0;
  programs.startTurn = turns;
  while (toStart.length > 0 && programs.starts < programStartsPerTurn) {
    const first = toStart[0]!;
    if (first.isOver()) {
      first.cancel();
    } else {
      programs.starts++;
      const taken = takePipes(pipes, server, toStart.length, () => scheduleTurn(server));
      if (taken === undefined) return;
      first.start(taken);
    }
    toStart.shift();
  }
  if (toStart.length > 0) scheduleTurn(server);
}

/** Cancels the starts of a handler that ends. */
export function cancelStarts(programs: Programs, entry: ProgramEntry): void {
  for (const pending of programs.toStart) if (pending.entry === entry) pending.cancel();
  programs.toStart = programs.toStart.filter(pending => pending.entry !== entry);
}

/** The client has left: its program's unread input now counts for the server, no longer for the connection. */
export function noteLeftInput({ leftInput }: Programs, { memory }: Server, program: Program): void {
  const { stdin } = program;
  if (stdin.destroyed || stdin.writableLength === 0 || leftInput.has(program)) return;
  leftInput.set(program, stdin.writableLength);
  memory.programs += stdin.writableLength;
}

/** The program has read all of its input, or its stdin is closed. */
export function noteInputRead({ leftInput }: Programs, { memory }: Server, program: Program): void {
  const bytes = leftInput.get(program);
  if (bytes === undefined) return;
  leftInput.delete(program);
  memory.programs -= bytes;
}

/** Closes the stdin of the programs with the most unread input, until at most `most` bytes are left. */
export function discardLeftInput(programs: Programs, server: Server, most: number): void {
  const largestFirst = [...programs.leftInput].sort(([, a], [, b]) => b - a);
  for (const [program, bytes] of largestFirst) {
    if (server.memory.programs <= most) return;
    log('warn', 'input of a program discarded to free memory', { ...program.fields, bytes });
    noteInputRead(programs, server, program);
    program.stdin.destroy();
  }
}
