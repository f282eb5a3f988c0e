/**
 * What the handlers of all programs share. Input that programs have not read when their clients leave is part of it: a
 * program gets all that its client sent, so this input stays in memory until the program reads it or is ended, and it counts
 * against `--max-memory`.
 */
import { scheduleTurn } from '../../core/poll.ts';
import type { Server } from '../../core/server.ts';
import { log } from '../../log/log.ts';
import type { ProgramEntry } from '../../options/values.ts';
import { programStartsPerTurn } from '../../protocol/limits.ts';
import { newPipeSupply, type PipeSet, type PipeSupply, takePipes } from './pipes.ts';
import type { Program } from './program.ts';
import { type Hearing, newHearing } from './reader.ts';

/** A connection that waits for its program. */
export interface PendingStart {
  readonly entry: ProgramEntry;
  /** The client has left. */
  isOver(): boolean;
  start(pipes: PipeSet): void;
  cancel(): void;
}

/** What the handlers of all programs have in common. */
export interface Programs {
  /** Processes of all `--exec` handlers, those included that are about to be started or ended. */
  running: number;
  /** Programs whose clients have left, with the bytes of input that each had not read by then. */
  readonly leftInput: Map<Program, number>;
  readonly hearing: Hearing;
  readonly pipes: PipeSupply;
  /** Oldest first. */
  toStart: PendingStart[];
  /** The turn in which a program was last started, and how many were started in it. */
  startTurn: number;
  starts: number;
}

export function newPrograms(server: Server): Programs {
  return {
    running: 0,
    leftInput: new Map(),
    hearing: newHearing(server),
    pipes: newPipeSupply(),
    toStart: [],
    startTurn: 0,
    starts: 0,
  };
}

/** Starts waiting programs, as many per turn as all handlers together may, in the order in which their clients came. */
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

/** The handler of this program ends: its clients do not get a program any more. */
export function cancelStarts(programs: Programs, entry: ProgramEntry): void {
  for (const pending of programs.toStart) if (pending.entry === entry) pending.cancel();
  programs.toStart = programs.toStart.filter(pending => pending.entry !== entry);
}

/** The program's client has left: from now on the server counts its input, no longer the connection. */
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
