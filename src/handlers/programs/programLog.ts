/**
 * Log lines that programs cause, both limited per second: their stderr, line by line, and events about their output. Stderr
 * is read only as fast as it may be logged, so that a program that writes more blocks on its full pipe.
 */
import type { Readable } from 'node:stream';
import { scheduleTurn } from '../../core/poll.ts';
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
import type { Server } from '../../records/records.ts';

const LF = 0x0a;
const nothing = Buffer.alloc(0);

/** The most bytes of one line that are kept; a character takes up to four. */
const maxLineBytes = 4 * maxStderrLine;

/** Milliseconds that a pipe must be idle after the program is gone. */
const quietTime = 50;

export interface StderrReader {
  readonly stream: Readable & { readonly bytesRead?: number };
  /** Identify the program in the log. */
  readonly fields: LogFields;
  readonly queue: StderrQueue;
  /** Read but not logged: `bytes[at, …)`. */
  bytes: Buffer;
  at: number;
  /** The start of an incomplete line. */
  partial: Buffer;
  /** The second that the following two budgets are for. */
  second: number;
  linesLeft: number;
  bytesLeft: number;
  isQueued: boolean;
  /**
   * `paced`: reads and logs within the budget of each second. When the program is gone, the pipe is drained, and then its last
   * lines are logged.
   */
  stage: 'paced' | 'draining' | 'last lines' | 'over';
  timer: NodeJS.Timeout | undefined;
  onLogged: () => void;
}

/** The readers that have something to log. */
export interface StderrQueue {
  readonly server: Server;
  readonly readers: StderrReader[];
  /** Those that have used up their budget of this second. */
  readonly parked: Set<StderrReader>;
  timer: NodeJS.Timeout | undefined;
  /** The server's last turn is over: the queue schedules itself. */
  isLoopOver: boolean;
}

export function newStderrQueue(server: Server): StderrQueue {
  return { server, readers: [], parked: new Set(), timer: undefined, isLoopOver: false };
}

/** Continues after the server's last turn. */
export function runWithoutLoop(queue: StderrQueue): void {
  if (queue.isLoopOver) return;
  queue.isLoopOver = true;
  scheduleLogging(queue);
}

function scheduleLogging(queue: StderrQueue): void {
  if (queue.isLoopOver) setImmediate(logStderr, queue);
  else scheduleTurn(queue.server);
}

/** Logs a program's stderr. */
export function newStderrReader(stream: Readable, fields: LogFields, queue: StderrQueue): StderrReader {
  const reader: StderrReader = {
    ...{ stream, fields, queue, bytes: nothing, at: 0, partial: nothing },
    ...{ second: -1, linesLeft: 0, bytesLeft: 0, isQueued: false, stage: 'paced', timer: undefined },
    onLogged: () => {},
  };
  const onData = () => {
    if (reader.stage === 'paced') enqueue(reader);
    else if (reader.stage === 'draining') drainPipe(reader);
  };
  stream
    .on('error', () => {})
    .on('readable', onData)
    .on('end', onData)
    .on('close', onData);
  return reader;
}

function enqueue(reader: StderrReader): void {
  const { queue } = reader;
  if (reader.isQueued || queue.parked.has(reader)) return;
  reader.isQueued = true;
  queue.readers.push(reader);
  scheduleLogging(queue);
}

/** A stage of the turn: readers log one after the other, together at most `stderrBudget`. */
export function logStderr(queue: StderrQueue): void {
  const { readers } = queue;
  const enough = workUnits.spent + stderrBudget;
  for (let left = readers.length; left > 0 && workUnits.spent < enough; left--) {
    const reader = readers.shift()!;
    reader.isQueued = false;
    if (logSome(reader)) enqueue(reader);
  }
  if (readers.length > 0) scheduleLogging(queue);
}

/** @returns whether the reader can continue in the next turn */
function logSome(reader: StderrReader): boolean {
  const enough = workUnits.spent + stderrBudget / 8;
  if (reader.stage === 'draining') return false;
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
      if (isEnded(reader)) logPartial(reader);
      return false;
    }
  }
  return true;
}

function refill(reader: StderrReader): void {
  const second = Math.floor(performance.now() / 1000);
  if (second === reader.second) return;
  reader.second = second;
  reader.linesLeft = maxStderrLines;
  reader.bytesLeft = maxStderrBytes;
}

/** Parks the reader until the next second begins. */
function park(reader: StderrReader): void {
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

function isEnded({ stream }: StderrReader): boolean {
  return stream.readableEnded || stream.destroyed;
}

function readMore(reader: StderrReader): boolean {
  const chunk = reader.stream.read() as Buffer | null;
  if (chunk === null) return false;
  reader.bytes = chunk;
  reader.at = 0;
  reader.bytesLeft -= chunk.length;
  return true;
}

/** Logs the next line, or keeps its start if it is incomplete. Long lines are cut off. */
function takeLine(reader: StderrReader): void {
  const { bytes, at, partial } = reader;
  const found = bytes.indexOf(LF, at);
  const end = found < 0 ? bytes.length : found;
  const piece = bytes.subarray(at, Math.min(end, at + maxLineBytes - partial.length));
  workUnits.spent += 1 + ((end - at) >>> 8);
  reader.at = found < 0 ? end : end + 1;
  if (reader.at === bytes.length) reader.bytes = nothing;
  if (reader.bytes === nothing) reader.at = 0;
  if (found < 0) {
    // Copy: a few bytes must not keep a whole chunk in memory.
    if (piece.length > 0) reader.partial = Buffer.concat([partial, piece]);
    return;
  }
  reader.partial = nothing;
  logLine(reader, partial.length === 0 ? piece : Buffer.concat([partial, piece]));
}

function logLine(reader: StderrReader, bytes: Buffer): void {
  workUnits.spent += logLineCost;
  reader.linesLeft--;
  const line = bytes.toString();
  const shown = line.length > maxStderrLine ? `${line.slice(0, maxStderrLine)}…` : line;
  log('warn', 'program stderr', { ...reader.fields, line: shown.replace(/\r$/, '') });
}

/**
 * The program is gone: drains the pipe and logs its last lines, which are the most telling ones. A process that has left the
 * group may still write; its stderr is closed once the pipe is idle.
 * @param onLogged called when everything is logged
 */
export function finishStderr(reader: StderrReader, onLogged: () => void): void {
  if (reader.stage !== 'paced') return;
  reader.onLogged = onLogged;
  reader.stage = 'draining';
  reader.queue.parked.delete(reader);
  drainPipe(reader);
}

function drainPipe(reader: StderrReader): void {
  const { stream } = reader;
  const pieces = [reader.bytes.subarray(reader.at)];
  for (let chunk = stream.read(); chunk !== null; chunk = stream.read()) pieces.push(chunk as Buffer);
  reader.bytes = Buffer.concat(pieces);
  reader.at = 0;
  clearTimeout(reader.timer);
  if (isEnded(reader) || reader.bytes.length >= maxStderrRest) logLast(reader);
  else reader.timer = setTimeout(checkIdle, quietTime, reader, stream.bytesRead);
}

function checkIdle(reader: StderrReader, seen: number | undefined): void {
  if (reader.stage !== 'draining') return;
  if (reader.stream.bytesRead === seen && reader.stream.readableLength === 0) logLast(reader);
  else drainPipe(reader);
}

function logLast(reader: StderrReader): void {
  reader.stage = 'last lines';
  reader.stream.destroy();
  const { bytes, fields } = reader;
  let from = bytes.length;
  for (let lines = 0; lines <= maxStderrLines && from > 0; lines++) from = bytes.lastIndexOf(LF, from - 1);
  if (from > 0) {
    let count = 0;
    for (let i = 0; i <= from; i++) if (bytes[i] === LF) count++;
    log('warn', 'lines omitted', { ...fields, count });
    reader.at = from + 1;
    reader.partial = nothing;
  }
  enqueue(reader);
}

function finish(reader: StderrReader): void {
  if (reader.stage !== 'last lines') return;
  reader.stage = 'over';
  logPartial(reader);
  reader.onLogged();
}

/** Logs a last line without a line end. */
function logPartial(reader: StderrReader): void {
  if (reader.partial.length > 0) logLine(reader, reader.partial);
  reader.partial = nothing;
}

/** Bytes that were read but not logged. */
export function bufferedStderr({ bytes, partial, stream }: StderrReader): number {
  return bytes.length + partial.length + stream.readableLength;
}

/** Limits the log lines that one program or client can cause in a second. */
export interface LineBudget {
  second: number;
  left: number;
  omitted: number;
}

export function newLineBudget(): LineBudget {
  return { second: -1, left: 0, omitted: 0 };
}

/** Logs a warning, or counts it as omitted if there were too many in this second. */
export function logLimited(budget: LineBudget, event: string, fields: LogFields): void {
  refillLines(budget, fields);
  if (budget.left === 0) {
    budget.omitted++;
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
  logOmitted(budget, fields);
}

/** Logs how many lines were omitted, if any. */
export function logOmitted(budget: LineBudget, { line: _, ...whose }: LogFields): void {
  if (budget.omitted > 0) log('warn', 'lines omitted', { ...whose, count: budget.omitted });
  budget.omitted = 0;
}
