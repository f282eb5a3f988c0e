/**
 * Reads what the bounds need from the segments, newest lines first, and finds out what may be missing. A damaged line costs
 * nothing but itself: the others are kept, but no cursor before it counts as complete.
 */
import { closeSync, fstatSync } from 'node:fs';
import { log } from '../../log/log.ts';
import { maxJsonEscape } from '../../protocol/limits.ts';
import { openRegular, storageError, toRead } from '../disk.ts';
import {
  type LineHead,
  type LogMark,
  objectEnd,
  openingBrace,
  parseLineObject,
  parseMark,
  parseRecord,
  readHead,
} from './line.ts';
import { readAt, readBackwards } from './readBackwards.ts';
import type { LogBounds, LogRecord } from './records.ts';
import { type LogFiles, segmentPath } from './segments.ts';

/** What was read. */
export interface Recovery {
  /** Oldest first. */
  readonly records: readonly LogRecord[];
  readonly lastSeq: number;
  readonly unreadSeq: number;
  readonly expired: ReadonlyMap<string, number>;
  /** How many of them were read. */
  readonly segments: number;
  /** Messages after the last line may have been lost, although they were delivered. */
  readonly isEndLost: boolean;
}

/** Bytes of a line besides the data. */
const besidesData = 16 * 1024;

/** The memory of a kept message besides its data: a Buffer, the record, and a slot in two arrays. */
export const messageMemory = 256;

/** The memory of a channel that keeps messages: its record, lists and maps. Measured: 2.0 KiB. */
export const channelMemory = 2048;

/** Channels whose newest message is read but not kept. Beyond it, reading stops. */
const maxDroppedChannels = 100_000;

/** Bytes read at most, as a multiple of the memory for messages: quiet channels have their messages far back. */
const readingFactor = 4;
const minReading = 64 * 1024 * 1024;

interface Line {
  readonly head: LineHead;
  readonly bytes: Buffer;
  readonly isTooLong: boolean;
}

interface MutableForget {
  seq: number;
  readonly time: number;
  readonly channel: string;
  readonly isForget: true;
}

/** One channel, while it is read. */
interface ChannelReading {
  messages: number;
  bytes: number;
  /** Its older messages are not kept. */
  isFull: boolean;
  /** The forget of an older version that made it full, until the number of the newest forgotten message is known. */
  forget: MutableForget | undefined;
}

interface Reading {
  readonly epoch: string;
  readonly bounds: LogBounds;
  readonly now: number;
  /** Messages from before are too old. */
  readonly oldestTime: number;
  readonly newestFirst: LogRecord[];
  readonly expired: Map<string, number>;
  readonly channels: Map<string, ChannelReading>;
  memoryLeft: number;
  bytesLeft: number;
  dropped: number;
  /** All numbers so far, descending, to recognise duplicates. */
  readonly numbers: number[];
  /** Older lines have lower numbers than this. */
  last: number;
  /** The line before the current one; its number is trusted if the next older line has a lower one. */
  candidate: Line | undefined;
  lastSeq: number | undefined;
  /** Messages up to this number may be missing, because a line or a segment is damaged. */
  lossySeq: number;
  /** Reading stopped, and this message was not kept. */
  stoppedAt: number | undefined;
  /** The last number of the next older segment, as this segment's first line says. */
  expected: number | undefined;
  newestMark: LogMark | undefined;
  isClosed: boolean;
  isTailDamaged: boolean;
  /** Lines to come in which a missing number is damage, because a line had the number of another. */
  suspects: number;
  /** The number of the line after this segment's newest one with another epoch. */
  foreignAfter: number | undefined;
  /** Lines of this segment. */
  own: number;
  damaged: number;
  duplicates: number;
  foreign: number;
}

/** The longest line with a message that can be kept. */
export function longestLine({ bytes, memory }: LogBounds): number {
  return maxJsonEscape * Math.min(bytes, memory) + besidesData;
}

/**
 * @param order the segments, oldest first; undefined stands for the current one
 * @param boot identifies this boot of the system
 * @throws Error, a sentence, if the current segment cannot be read
 */
export function* readSegments(
  files: LogFiles,
  order: readonly (number | undefined)[],
  epoch: string,
  bounds: LogBounds,
  boot: string | undefined,
  now: number,
): Generator<void, Recovery> {
  const reading: Reading = {
    epoch,
    bounds,
    now,
    oldestTime: bounds.age === 0 ? Number.NEGATIVE_INFINITY : now - bounds.age,
    newestFirst: [],
    expired: new Map(),
    channels: new Map(),
    memoryLeft: bounds.messages === 0 || bounds.bytes === 0 ? 0 : bounds.memory,
    bytesLeft: Math.max(minReading, readingFactor * bounds.memory),
    dropped: 0,
    numbers: [],
    last: Number.POSITIVE_INFINITY,
    candidate: undefined,
    lastSeq: undefined,
    lossySeq: 0,
    stoppedAt: undefined,
    expected: undefined,
    newestMark: undefined,
    isClosed: false,
    isTailDamaged: !order.includes(undefined),
    suspects: 0,
    foreignAfter: undefined,
    own: 0,
    damaged: 0,
    duplicates: 0,
    foreign: 0,
  };
  let count = 0;
  for (const number of [...order].reverse()) {
    if (isDone(reading)) break;
    yield* readSegment(files, number, reading);
    count++;
  }
  const oldest = reading.last === Number.POSITIVE_INFINITY ? 0 : reading.last - 1;
  const unreadSeq = reading.stoppedAt ?? reading.expected ?? oldest;
  const crashed = !reading.isClosed && (boot === undefined || reading.newestMark?.boot !== boot);
  return {
    records: reading.newestFirst.reverse(),
    lastSeq: reading.lastSeq ?? 0,
    unreadSeq: Math.max(unreadSeq, reading.lossySeq),
    expired: reading.expired,
    // What a crash of the system takes was not acknowledged if every turn was synced.
    segments: count,
    isEndLost: crashed ? reading.newestMark?.fsync !== 'always' : reading.isTailDamaged,
  };
}

/** Reading continues until the newest mark is known: it says whether the system has crashed. */
function isDone({ stoppedAt, newestMark, isClosed }: Reading): boolean {
  return stoppedAt !== undefined && (newestMark !== undefined || isClosed);
}

function* readSegment(files: LogFiles, number: number | undefined, reading: Reading): Generator<void, void> {
  const path = segmentPath(files, number);
  let descriptor: number | undefined;
  try {
    descriptor = openRegular(path, toRead);
    if (descriptor === undefined) return;
    const end = number === undefined ? yield* repairTail(files, reading) : fstatSync(descriptor).size;
    yield* readBackwards(descriptor, end, longestLine(reading.bounds), (line, start, isTooLong) => {
      reading.bytesLeft -= line.length;
      return readLine(reading, line, start, isTooLong) && !isDone(reading);
    });
    if (reading.candidate !== undefined) keepCandidate(reading);
  } catch (error) {
    if (number === undefined) throw storageError('read', path, error);
    log('warn', 'older messages are not read', { error: storageError('read', path, error).message });
    noteDamage(reading);
  } finally {
    if (descriptor !== undefined) closeSync(descriptor);
  }
  const { damaged, duplicates, foreign } = reading;
  if (damaged + duplicates + foreign > 0)
    log('warn', 'lines skipped', { file: path, damaged, duplicates, foreign });
  // Among our lines, one with another epoch is damaged; a segment without ours is another server's.
  if (reading.foreignAfter !== undefined && reading.own > 0) noteLost(reading, reading.foreignAfter);
  reading.foreignAfter = undefined;
  reading.own = reading.damaged = reading.duplicates = reading.foreign = 0;
}

const newline = 0x0a;

/**
 * Cuts off an incomplete last line. A complete line stays, even if its newline is missing or damaged.
 * @returns the size of the current segment
 */
function* repairTail(files: LogFiles, reading: Reading): Generator<void, number> {
  const descriptor = files.descriptor!;
  const { size } = fstatSync(descriptor);
  // Even a new segment has a first line.
  if (size === 0) reading.isTailDamaged = true;
  if (size === 0 || readAt(descriptor, size - 1, size)[0] === newline) return size;
  let end = size;
  yield* readBackwards(descriptor, size, longestLine(reading.bounds), (line, start, isTooLong) => {
    const isOurs = line[0] === openingBrace;
    // A line that only lacks its newline gets it with the next append. A long line may be another program's.
    if (isTooLong ? isOurs : parseLineObject(line) !== undefined) return false;
    const whole = isTooLong ? 0 : objectEnd(line);
    // After a power cut a file may end in NULs. An incomplete line is only the beginning of an object.
    if (!isOurs || whole > 0 || line.includes(0)) reading.isTailDamaged = true;
    end = start + whole;
    return false;
  });
  if (end < size) {
    files.disk.truncate(descriptor, end);
    log('warn', 'torn line cut off', { file: files.path, bytes: size - end });
  }
  return end;
}

/** @returns false if the rest is not needed */
function readLine(reading: Reading, bytes: Buffer, start: number, isTooLong: boolean): boolean {
  const { epoch, candidate } = reading;
  if (reading.stoppedAt !== undefined && bytes.includes('"channel"')) return true;
  const head = readHead(bytes);
  if (head === undefined) {
    const mark = isTooLong ? undefined : parseMark(bytes);
    if (mark?.epoch === epoch) readMark(reading, mark, start);
    else if (mark !== undefined || isForeign(bytes)) reading.foreign++;
    else noteDamage(reading);
    return true;
  }
  const { seq } = head;
  if (head.epoch !== epoch) {
    reading.foreign++;
    reading.foreignAfter ??= newerSeq(reading);
  } else if (seq === candidate?.head.seq || isKnown(reading, seq)) {
    reading.duplicates++;
    reading.suspects = 2;
  } else if (seq >= reading.last) noteMisplaced(reading, seq);
  else {
    if (candidate !== undefined) {
      if (seq < candidate.head.seq) keepCandidate(reading);
      // The candidate's number is damaged: this one fits between it and the line after it.
      else dropCandidate(reading);
    }
    reading.candidate = { head, bytes, isTooLong };
  }
  return true;
}

/** Whether it is another program's line, not a damaged one of the log. */
function isForeign(line: Buffer): boolean {
  const fields = parseLineObject(line);
  return fields !== undefined && fields.channel === undefined && fields.id === undefined;
}

/** Whether a line with this number was read. */
function isKnown({ numbers, last }: Reading, seq: number): boolean {
  if (seq < last) return false;
  let low = 0;
  let high = numbers.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (numbers[middle]! > seq) low = middle + 1;
    else high = middle;
  }
  return numbers[low] === seq;
}

/** A line cannot be read: messages before the last good number may be missing. */
function noteDamage(reading: Reading): void {
  reading.damaged++;
  noteLost(reading, newerSeq(reading));
}

/** A line has a higher number than the next one: its own number, or the number of a mark after it, is damaged. */
function noteMisplaced(reading: Reading, seq: number): void {
  noteDamage(reading);
  noteLost(reading, Math.min(seq, reading.lastSeq ?? seq));
}

/** The number after which a message would be lost here; infinite at the end of the log. */
function newerSeq({ last, candidate }: Reading): number {
  return last === Number.POSITIVE_INFINITY ? (candidate?.head.seq ?? last) : last - 1;
}

/** Messages up to this number may be missing. */
function noteLost(reading: Reading, seq: number): void {
  if (seq === Number.POSITIVE_INFINITY) reading.isTailDamaged = true;
  else reading.lossySeq = Math.max(reading.lossySeq, seq);
}

function readMark(reading: Reading, mark: LogMark, start: number): void {
  const { next, isClosed = false, isLossy = false } = mark;
  if (reading.candidate !== undefined) {
    if (reading.candidate.head.seq >= next) keepCandidate(reading);
    else dropCandidate(reading);
  }
  reading.own++;
  const newer = reading.last;
  if (reading.suspects > 0 && next < newer && newer !== Number.POSITIVE_INFINITY)
    noteLost(reading, newer - 1);
  checkBoundary(reading, next - 1);
  if (reading.lastSeq === undefined) {
    reading.lastSeq = next - 1;
    reading.isClosed = isClosed;
  }
  if (!isClosed) reading.newestMark ??= mark;
  if (isLossy) reading.lossySeq = Math.max(reading.lossySeq, next - 1);
  reading.last = Math.min(reading.last, next);
  if (start === 0) reading.expected = next - 1;
}

function dropCandidate(reading: Reading): void {
  reading.candidate = undefined;
  noteDamage(reading);
}

/** @param seq the last number of a segment; if the next one expects a higher one, a segment is missing or was shortened */
function checkBoundary(reading: Reading, seq: number): void {
  const { expected } = reading;
  if (expected === undefined || seq > expected) return;
  reading.expected = undefined;
  if (seq < expected) {
    reading.lossySeq = Math.max(reading.lossySeq, expected);
    log('warn', 'messages missing between segments', { after: seq, before: expected + 1 });
  }
}

function keepCandidate(reading: Reading): void {
  const line = reading.candidate!;
  reading.candidate = undefined;
  const { seq, channel: name } = line.head;
  checkBoundary(reading, seq);
  const newer = reading.last;
  if (reading.suspects > 0 && seq + 1 < newer && newer !== Number.POSITIVE_INFINITY)
    noteLost(reading, newer - 1);
  reading.suspects = Math.max(0, reading.suspects - 1);
  reading.own++;
  reading.lastSeq ??= seq;
  reading.last = seq;
  reading.numbers.push(seq);
  if (reading.stoppedAt !== undefined) return;
  if (reading.memoryLeft <= 0 || reading.bytesLeft < 0 || reading.dropped >= maxDroppedChannels) {
    reading.stoppedAt = seq;
    return;
  }
  const { channels } = reading;
  let channel = channels.get(name);
  if (channel === undefined) {
    channel = { messages: 0, bytes: 0, isFull: false, forget: undefined };
    channels.set(name, channel);
  }
  if (!channel.isFull) return keepLine(reading, channel, line, newer);
  // A line without its newline may contain the next one, whose number is missing then.
  if (seq + 1 !== newer && !line.isTooLong && parseRecord(line.bytes, line.head) === undefined)
    noteBroken(reading, newer);
  if (channel.forget !== undefined) {
    channel.forget.seq = seq;
    channel.forget = undefined;
  }
}

/** A line begins well, but is not a record. @param newer the number of the line after it */
function noteBroken(reading: Reading, newer: number): void {
  reading.damaged++;
  noteLost(reading, newer - 1);
}

/** A message whose time to live is over takes no place of one that is kept. */
function noteExpired(reading: Reading, { seq, channel }: LineHead): void {
  const { expired } = reading;
  if (expired.has(channel)) return;
  expired.set(channel, seq);
  reading.dropped++;
}

function keepLine(
  reading: Reading,
  channel: ChannelReading,
  { head, bytes, isTooLong }: Line,
  newer: number,
): void {
  const { bounds, oldestTime, newestFirst } = reading;
  const record = isTooLong ? undefined : parseRecord(bytes, head);
  if (record === undefined && !isTooLong) return noteBroken(reading, newer);
  if (record !== undefined && !('isForget' in record)) {
    const { data, time, expiresAt = Number.POSITIVE_INFINITY } = record;
    if (expiresAt <= reading.now) return noteExpired(reading, head);
    channel.messages++;
    channel.bytes += data.length;
    if (channel.messages <= bounds.messages && channel.bytes <= bounds.bytes && time >= oldestTime) {
      if (channel.messages === 1) reading.memoryLeft -= channelMemory;
      reading.memoryLeft -= data.length + messageMemory;
      if (reading.memoryLeft < 0) reading.stoppedAt = head.seq;
      else newestFirst.push(record);
      return;
    }
  }
  const { seq, channel: name } = head;
  const newest = record !== undefined && 'isForget' in record ? record.newest : seq;
  const forget: MutableForget = {
    seq: newest ?? seq,
    time: record?.time ?? 0,
    channel: name,
    isForget: true,
  };
  newestFirst.push(forget);
  channel.isFull = true;
  if (newest === undefined) channel.forget = forget;
  reading.dropped++;
}
