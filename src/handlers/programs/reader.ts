/**
 * Listening to programs: in the turn, record by record, each program its share. What is not listened to stays where it
 * is, until the system's buffers are full and the program has to wait.
 */
import { scheduleTurn } from '../../core/poll.ts';
import type { Server } from '../../core/server.ts';
import { programBudget, throttledBudget } from '../../protocol/limits.ts';
import { workUnits } from '../../protocol/workUnits.ts';
import { addChunk, type Format, lastRecord, nextRecord, type Said } from './formats.ts';
import { discardOutput, endProgram, type Program } from './program.ts';
import { type ErrorQueue, logErrors, newErrorQueue } from './programLog.ts';

/** Whoever a program speaks to. */
export interface Audience {
  readonly program: Program;
  readonly format: Format;
  /** Largest message that it may send. */
  longest(): number;
  /** Whether more can be heard now; if not, it is asked again in every turn, and sees to it that one comes. */
  isReady(): boolean;
  hears(said: Said): void;
  /** It said something that its format does not have. */
  mishears(why: string): void;
  /** It has ended, and all it said was heard; or nothing can be made of what it says any more. Called once. */
  ends(): void;
  /** It waits in `audiences`. */
  isListening: boolean;
  /** `ends` was called, or is not to be. */
  isOver: boolean;
}

/** What all programs have to say, and their common share of the turn. */
export interface Hearing {
  readonly server: Server;
  /** Those whose programs may have said something. */
  readonly audiences: Audience[];
  readonly errors: ErrorQueue;
  /** The turn that was last given a share, as `counters.turns`. */
  turn: number;
}

export function newHearing(server: Server): Hearing {
  return { server, audiences: [], errors: newErrorQueue(server), turn: 0 };
}

/** Its program may have said something, or ended. */
export function listen({ server, audiences }: Hearing, audience: Audience): void {
  if (audience.isListening || audience.isOver) return;
  audience.isListening = true;
  audiences.push(audience);
  scheduleTurn(server);
}

/** Nobody wants to know any more what the program says. */
export function stopListening(audience: Audience): void {
  if (audience.isOver) return;
  audience.isOver = true;
  discardOutput(audience.program);
}

/** The stage of the turn: all that was said is heard, as far as there is time. The first handler that calls this does it for all. */
export function hearAll(hearing: Hearing): void {
  const { server } = hearing;
  if (hearing.turn === server.counters.turns) return;
  hearing.turn = server.counters.turns;
  logErrors(hearing.errors);
  const { audiences } = hearing;
  const enough = workUnits.spent + throttledBudget;
  const waiting: Audience[] = [];
  let at = 0;
  for (; at < audiences.length && workUnits.spent < enough; at++) {
    const audience = audiences[at]!;
    if (!hear(server, audience)) waiting.push(audience);
    else audience.isListening = false;
  }
  // Whoever was left out is the first in the next turn.
  if (at < audiences.length) scheduleTurn(server);
  audiences.splice(0, at);
  audiences.push(...waiting);
}

/** @returns whether all is heard that there is */
function hear(server: Server, audience: Audience): boolean {
  const { program } = audience;
  const enough = workUnits.spent + programBudget;
  while (!audience.isOver) {
    if (!audience.isReady()) return false;
    if (workUnits.spent >= enough) {
      scheduleTurn(server);
      return false;
    }
    if (findRecord(audience, nextRecord)) hearRecord(audience);
    else if (!audience.isOver && !readMore(program)) {
      if (!program.isSilent || program.exit === undefined) return true;
      if (findRecord(audience, lastRecord)) hearRecord(audience);
      over(audience);
    }
  }
  return true;
}

/** @returns whether there was more */
function readMore({ stdout, records }: Program): boolean {
  const chunk = stdout.read() as Buffer | null;
  if (chunk !== null) addChunk(records, chunk);
  return chunk !== null;
}

function findRecord(audience: Audience, find: typeof nextRecord): boolean {
  const { program, format } = audience;
  try {
    return find(program.records, format, format.longest(audience.longest()));
  } catch (error) {
    // Where the next one begins is not known: there is nothing more to be understood.
    audience.mishears((error as Error).message);
    over(audience);
    return false;
  }
}

function hearRecord(audience: Audience): void {
  const { records } = audience.program;
  const { bytes, recordStart, recordEnd } = records;
  workUnits.spent += 1 + ((recordEnd - recordStart) >>> 8);
  let said: Said | undefined;
  try {
    said = audience.format.read(bytes, recordStart, recordEnd);
  } catch (error) {
    audience.mishears((error as Error).message);
    return;
  }
  if (said !== undefined) audience.hears(said);
}

function over(audience: Audience): void {
  if (audience.isOver) return;
  stopListening(audience);
  endProgram(audience.program);
  audience.ends();
}
