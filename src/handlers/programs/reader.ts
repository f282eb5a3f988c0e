/**
 * Reads programs' stdout: record by record, in a stage of the turn, each program within its share. Unread output stays in the
 * pipe, so that a program blocks when the pipe is full.
 */

import { stopTimeAfterReading } from '../../core/fairness.ts';
import { scheduleTurn } from '../../core/poll.ts';
import { exactClock } from '../../process/clock.ts';
import { programBudget, throttledBudget } from '../../protocol/limits.ts';
import { workUnits } from '../../protocol/workUnits.ts';
import type { Server } from '../../records/records.ts';
import { addChunk, type Format, lastRecord, nextRecord, type OutputRecord } from './formats.ts';
import { discardOutput, endProgram, type Program } from './program.ts';
import { logStderr, newStderrQueue, type StderrQueue } from './programLog.ts';

/** Receives the records of one program. */
export interface ProgramReader {
  readonly program: Program;
  readonly format: Format;
  /** The largest message that the program may send. */
  maxMessageSize(): number;
  /** Whether a record can be delivered now. If not, it is called again every turn, and must schedule one. */
  isReady(): boolean;
  onRecord(record: OutputRecord): void;
  /** The output does not follow the format. */
  onInvalid(why: string): void;
  /** Called once, when the program has exited and all output is delivered, or when the rest cannot be decoded. */
  onExit(): void;
  /** Is in `readers`. */
  isQueued: boolean;
  /** Reading has stopped: no more calls. */
  isOver: boolean;
}

/** The programs with output, and their common share of the turn. */
export interface ReaderQueue {
  readonly server: Server;
  /** Those whose program may have output. */
  readonly readers: ProgramReader[];
  readonly stderrQueue: StderrQueue;
  /** `counters.turns` when the queue was last served. */
  turn: number;
}

export function newReaderQueue(server: Server): ReaderQueue {
  return { server, readers: [], stderrQueue: newStderrQueue(server), turn: 0 };
}

/** Queues a reader whose program may have output, or has exited. */
export function queueReader({ server, readers }: ReaderQueue, reader: ProgramReader): void {
  if (reader.isQueued || reader.isOver) return;
  reader.isQueued = true;
  readers.push(reader);
  scheduleTurn(server);
}

/** Discards the program's output from now on. */
export function stopReading(reader: ProgramReader): void {
  if (reader.isOver) return;
  reader.isOver = true;
  discardOutput(reader.program);
}

/** The stage of the turn: serves the readers within their common share. Only the first call of a turn has an effect. */
export function readPrograms(queue: ReaderQueue): void {
  const { server, readers } = queue;
  if (queue.turn === server.counters.turns) return;
  queue.turn = server.counters.turns;
  logStderr(queue.stderrQueue);
  const enough = workUnits.spent + throttledBudget;
  const waiting: ProgramReader[] = [];
  let at = 0;
  const stopAt = readers.length > 1 ? stopTimeAfterReading(server) : 0;
  for (; at < readers.length && workUnits.spent < enough; at++) {
    if (at > 0 && exactClock() > stopAt) break;
    const reader = readers[at]!;
    if (!readRecords(server, reader)) waiting.push(reader);
    else reader.isQueued = false;
  }
  // The readers that this turn did not reach are the first in the next one.
  if (at < readers.length) scheduleTurn(server);
  readers.splice(0, at);
  readers.push(...waiting);
}

/** @returns whether all output is delivered */
function readRecords(server: Server, reader: ProgramReader): boolean {
  const { program } = reader;
  const enough = workUnits.spent + programBudget;
  while (!reader.isOver) {
    if (!reader.isReady()) return false;
    if (workUnits.spent >= enough) {
      scheduleTurn(server);
      return false;
    }
    if (findRecord(reader, nextRecord)) deliverRecord(reader);
    else if (!reader.isOver && !readMore(program)) {
      if (!program.isStdoutClosed || program.exit === undefined) return true;
      if (findRecord(reader, lastRecord)) deliverRecord(reader);
      finishReader(reader);
    }
  }
  return true;
}

/** @returns whether stdout had data */
function readMore({ stdout, records }: Program): boolean {
  const chunk = stdout.read() as Buffer | null;
  if (chunk !== null) addChunk(records, chunk);
  return chunk !== null;
}

function findRecord(reader: ProgramReader, find: typeof nextRecord): boolean {
  const { program, format } = reader;
  try {
    return find(program.records, format, format.maxRecordSize(reader.maxMessageSize()));
  } catch (error) {
    // The start of the next record is unknown: the rest cannot be decoded.
    reader.onInvalid((error as Error).message);
    finishReader(reader);
    return false;
  }
}

function deliverRecord(reader: ProgramReader): void {
  const { records } = reader.program;
  const { bytes, recordStart, recordEnd } = records;
  workUnits.spent += 1 + ((recordEnd - recordStart) >>> 8);
  let record: OutputRecord | undefined;
  try {
    record = reader.format.decode(bytes, recordStart, recordEnd);
  } catch (error) {
    reader.onInvalid((error as Error).message);
    return;
  }
  if (record !== undefined) reader.onRecord(record);
}

function finishReader(reader: ProgramReader): void {
  if (reader.isOver) return;
  stopReading(reader);
  endProgram(reader.program);
  reader.onExit();
}
