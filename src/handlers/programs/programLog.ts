/**
 * Programs' stderr, for the log: line by line, and read no faster than it may be logged. A program that writes more has to
 * wait, as its pipe is full.
 */
import type { Readable } from 'node:stream';
import { scheduleTurn } from '../../core/poll.ts';
import type { Server } from '../../core/server.ts';
import { type LogFields, log } from '../../log/log.ts';
import {
  logLineCost,
  maxStderrBytes,
  maxStderrLine,
  maxStderrLines,
  maxStderrRest,
  stderrBudget,
} from '../../protocol/limits.ts';
import { workUnits } from '../../protocol/workUnits.ts';

const LF = 0x0a;
const nothing = Buffer.alloc(0);

/** Of one line's bytes, no more are kept: a character has four at most. */
const maxLineBytes = 4 * maxStderrLine;

/** How long a pipe is watched for more output after its program is gone, milliseconds. */
const quietTime = 50;

export interface ErrorReader {
  readonly stream: Readable & { readonly bytesRead?: number };
  /** Whose it is, for the log. */
  readonly fields: LogFields;
  readonly queue: ErrorQueue;
  /** Read and not logged: `bytes[at, …)`. */
  bytes: Buffer;
  at: number;
  /** The start of a line whose end is still to come. */
  begun: Buffer;
  /** What may still be read and logged in this second. */
  second: number;
  linesLeft: number;
  bytesLeft: number;
  isQueued: boolean;
  /** `paced`: a second's share at a time. The others follow when the program is gone: the pipe is emptied, its last lines logged. */
  stage: 'paced' | 'emptying' | 'last lines' | 'over';
  timer: NodeJS.Timeout | undefined;
  whenOver: () => void;
}

/** The readers of all programs that have something to log, the next one first. */
export interface ErrorQueue {
  readonly server: Server;
  readonly readers: ErrorReader[];
  /** Those that have logged their share of this second. */
  readonly parked: Set<ErrorReader>;
  timer: NodeJS.Timeout | undefined;
  /** No turn comes any more: the queue sees to itself. */
  isLoopOver: boolean;
}

export function newErrorQueue(server: Server): ErrorQueue {
  return { server, readers: [], parked: new Set(), timer: undefined, isLoopOver: false };
}

/** The server's last turn is over. */
export function endTurns(queue: ErrorQueue): void {
  if (queue.isLoopOver) return;
  queue.isLoopOver = true;
  scheduleLogging(queue);
}

function scheduleLogging(queue: ErrorQueue): void {
  if (queue.isLoopOver) setImmediate(logErrors, queue);
  else scheduleTurn(queue.server);
}

/** Logs what a program writes to `stream`, its stderr. */
export function logErrorLines(stream: Readable, fields: LogFields, queue: ErrorQueue): ErrorReader {
  const reader: ErrorReader = {
    ...{ stream, fields, queue, bytes: nothing, at: 0, begun: nothing },
    ...{ second: -1, linesLeft: 0, bytesLeft: 0, isQueued: false, stage: 'paced', timer: undefined },
    whenOver: () => {},
  };
  const stir = () => {
    if (reader.stage === 'paced') enqueue(reader);
    else if (reader.stage === 'emptying') empty(reader);
  };
  stream
    .on('error', () => {})
    .on('readable', stir)
    .on('end', stir)
    .on('close', stir);
  return reader;
}

function enqueue(reader: ErrorReader): void {
  const { queue } = reader;
  if (reader.isQueued || queue.parked.has(reader)) return;
  reader.isQueued = true;
  queue.readers.push(reader);
  scheduleLogging(queue);
}

/** A stage of the turn: programs log in turn, all of them together no more than their share of it. */
export function logErrors(queue: ErrorQueue): void {
  const { readers } = queue;
  const enough = workUnits.spent + stderrBudget;
  for (let left = readers.length; left > 0 && workUnits.spent < enough; left--) {
    const reader = readers.shift()!;
    reader.isQueued = false;
    if (logSome(reader)) enqueue(reader);
  }
  if (readers.length > 0) scheduleLogging(queue);
}

/** @returns whether it can go on in the next turn */
function logSome(reader: ErrorReader): boolean {
  const enough = workUnits.spent + stderrBudget / 8;
  if (reader.stage === 'emptying') return false;
  if (reader.stage === 'paced') refill(reader);
  while (workUnits.spent < enough) {
    const isPaced = reader.stage === 'paced';
    if (isPaced && (reader.linesLeft === 0 || reader.bytesLeft <= 0)) {
      park(reader);
      return false;
    }
    if (reader.at < reader.bytes.length) takeLine(reader);
    else if (!isPaced) {
      finish(reader);
      return false;
    } else if (!readMore(reader)) {
      if (isEnded(reader)) logBegun(reader);
      return false;
    }
  }
  return true;
}

function refill(reader: ErrorReader): void {
  const second = Math.floor(performance.now() / 1000);
  if (second === reader.second) return;
  reader.second = second;
  reader.linesLeft = maxStderrLines;
  reader.bytesLeft = maxStderrBytes;
}

/** It goes on when the next second begins. */
function park(reader: ErrorReader): void {
  const { queue } = reader;
  queue.parked.add(reader);
  queue.timer ??= setTimeout(
    () => {
      queue.timer = undefined;
      const parked = [...queue.parked];
      queue.parked.clear();
      for (const one of parked) enqueue(one);
    },
    1000 - (performance.now() % 1000),
  );
}

function isEnded({ stream }: ErrorReader): boolean {
  return stream.readableEnded || stream.destroyed;
}

function readMore(reader: ErrorReader): boolean {
  const chunk = reader.stream.read() as Buffer | null;
  if (chunk === null) return false;
  reader.bytes = chunk;
  reader.at = 0;
  reader.bytesLeft -= chunk.length;
  return true;
}

/** Logs the next line, or keeps the start of one; what is longer than a line may be is cut off. */
function takeLine(reader: ErrorReader): void {
  const { bytes, at, begun } = reader;
  const found = bytes.indexOf(LF, at);
  const end = found < 0 ? bytes.length : found;
  const piece = bytes.subarray(at, Math.min(end, at + maxLineBytes - begun.length));
  workUnits.spent += 1 + ((end - at) >>> 8);
  reader.at = found < 0 ? end : end + 1;
  if (reader.at === bytes.length) reader.bytes = nothing;
  if (reader.bytes === nothing) reader.at = 0;
  if (found < 0) {
    // A copy, so that a few bytes do not keep a whole chunk.
    if (piece.length > 0) reader.begun = Buffer.concat([begun, piece]);
    return;
  }
  reader.begun = nothing;
  logLine(reader, begun.length === 0 ? piece : Buffer.concat([begun, piece]));
}

function logLine(reader: ErrorReader, bytes: Buffer): void {
  workUnits.spent += logLineCost;
  reader.linesLeft--;
  const line = bytes.toString();
  const shown = line.length > maxStderrLine ? `${line.slice(0, maxStderrLine)}…` : line;
  log('warn', 'program says', { ...reader.fields, line: shown.replace(/\r$/, '') });
}

/**
 * The program is gone: nobody waits for the pipe any more, and its last lines say most. A process that left the group may
 * still write; it finds stderr closed when the pipe was empty once.
 * @param whenOver called when all is logged
 */
export function finishErrors(reader: ErrorReader, whenOver: () => void): void {
  if (reader.stage !== 'paced') return;
  reader.whenOver = whenOver;
  reader.stage = 'emptying';
  reader.queue.parked.delete(reader);
  empty(reader);
}

function empty(reader: ErrorReader): void {
  const { stream } = reader;
  const pieces = [reader.bytes.subarray(reader.at)];
  for (let chunk = stream.read(); chunk !== null; chunk = stream.read()) pieces.push(chunk as Buffer);
  reader.bytes = Buffer.concat(pieces);
  reader.at = 0;
  clearTimeout(reader.timer);
  if (isEnded(reader) || reader.bytes.length >= maxStderrRest) logLast(reader);
  else reader.timer = setTimeout(lookAgain, quietTime, reader, stream.bytesRead);
}

function lookAgain(reader: ErrorReader, seen: number | undefined): void {
  if (reader.stage !== 'emptying') return;
  if (reader.stream.bytesRead === seen && reader.stream.readableLength === 0) logLast(reader);
  else empty(reader);
}

function logLast(reader: ErrorReader): void {
  reader.stage = 'last lines';
  reader.stream.destroy();
  const { bytes, fields } = reader;
  let from = bytes.length;
  for (let lines = 0; lines <= maxStderrLines && from > 0; lines++) from = bytes.lastIndexOf(LF, from - 1);
  if (from > 0) {
    let count = 0;
    for (let i = 0; i <= from; i++) if (bytes[i] === LF) count++;
    log('warn', 'lines left out', { ...fields, count });
    reader.at = from + 1;
    reader.begun = nothing;
  }
  enqueue(reader);
}

function finish(reader: ErrorReader): void {
  if (reader.stage !== 'last lines') return;
  reader.stage = 'over';
  logBegun(reader);
  reader.whenOver();
}

/** The last line may have no end. */
function logBegun(reader: ErrorReader): void {
  if (reader.begun.length > 0) logLine(reader, reader.begun);
  reader.begun = nothing;
}

/** Bytes that were read and not logged. */
export function heldErrors({ bytes, begun, stream }: ErrorReader): number {
  return bytes.length + begun.length + stream.readableLength;
}

/** Lines for the log that a program or a client can cause: so many in a second. */

/** What may still be logged in this second, and what was not. */
export interface LineBudget {
  second: number;
  left: number;
  lost: number;
}

export function newLineBudget(): LineBudget {
  return { second: -1, left: 0, lost: 0 };
}

/** Logs one line, unless there were too many in this second; how many those were is told later. */
export function logWithin(budget: LineBudget, event: string, fields: LogFields): void {
  refillLines(budget, fields);
  if (budget.left === 0) {
    budget.lost++;
    return;
  }
  budget.left--;
  log('warn', event, fields);
}

function refillLines(budget: LineBudget, fields: LogFields): void {
  const second = Math.floor(performance.now() / 1000);
  if (second === budget.second) return;
  budget.second = second;
  budget.left = maxStderrLines;
  tellLost(budget, fields);
}

/** Tells how many lines were left out, if any were. */
export function tellLost(budget: LineBudget, { line: _, ...whose }: LogFields): void {
  if (budget.lost > 0) log('warn', 'lines left out', { ...whose, count: budget.lost });
  budget.lost = 0;
}
