/** Opening the log of a folder: lock, segments, and what they contain. */
import { randomBytes } from 'node:crypto';
import { accessSync, closeSync, constants, fstatSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { log } from '../../log/log.ts';
import { type Disk, makeFolder, openRegular, realDisk, storageError, toAppend, toRead } from '../disk.ts';
import type { Fsync } from '../sync.ts';
import { clearLogNames, importRooms } from './importRooms.ts';
import { parseLineObject, parseMark, readHead } from './line.ts';
import { type Recovery, readSegments } from './load.ts';
import { type FolderLock, lockFolder } from './lock.ts';
import { beginLog, type LogState, newMessageLog } from './messageLog.ts';
import { readAt } from './readBackwards.ts';
import type { LoadedLog, LogBounds } from './records.ts';
import {
  closeCurrent,
  currentSegment,
  findSegments,
  type LogFiles,
  removeOldSegments,
  segmentPath,
} from './segments.ts';

export interface LogOptions {
  /** Created with mode 0700 if missing. */
  readonly directory: string;
  readonly fsync: Fsync;
  /** The largest size of a segment in bytes, unless one append is larger; 0: no limit. */
  readonly rotateAt: number;
  /** Full segments that are kept; 0: all. */
  readonly keep: number;
  /** What start-up reads. Segments older than its age are removed. */
  readonly bounds: LogBounds;
  /** For tests. */
  readonly disk?: Disk;
  /** For tests: identifies the boot of the system. */
  readonly boot?: string;
}

/** Numbers skipped after a crash of the system: more than can have been used since the last sync. */
const skippedNumbers = 10_000_000;

/**
 * Locks the folder and opens its log, in whatever state a killed server left it. Other work of the loop runs meanwhile.
 * @throws Error, a sentence
 */
export async function openMessageLog(options: LogOptions): Promise<LoadedLog> {
  const directory = resolve(options.directory);
  try {
    makeFolder(directory);
    accessSync(directory, constants.R_OK | constants.W_OK | constants.X_OK);
  } catch (error) {
    throw storageError('keep messages in', directory, error);
  }
  const lock = await lockFolder(directory);
  try {
    const slices = loadLog({ ...options, directory }, lock);
    for (;;) {
      const { done, value } = slices.next();
      if (done) return value;
      await new Promise(resolve => setImmediate(resolve));
    }
  } catch (error) {
    lock.release();
    throw error;
  }
}

/**
 * Opens the log of a locked folder, in slices.
 * @param lock released when the log is closed
 * @throws Error, a sentence
 */
export function* loadLog(options: LogOptions, lock: FolderLock): Generator<void, LoadedLog> {
  const { directory, bounds, boot = bootId() } = options;
  const startedAt = performance.now();
  const now = Date.now();
  let files: LogFiles | undefined;
  try {
    files = openFiles(options);
    const order = orderSegments(files);
    const found = epochOf(order);
    const epoch = found ?? newEpoch();
    let recovery = nothingRead;
    if (found !== undefined || (yield* beginFolder(files, epoch, bounds, boot))) {
      files.startedAt = order.currentStart ?? now;
      const current = files.descriptor === undefined ? [] : [undefined];
      recovery = yield* readSegments(files, [...order.full, ...current], epoch, bounds, boot, now);
    }
    const { records, expired, segments, isEndLost } = recovery;
    const lastSeq = recovery.lastSeq + (isEndLost ? skippedNumbers : 0);
    const state: LogState = {
      files,
      lock,
      epoch,
      boot,
      lastSeq,
      lastAppend: undefined,
      pendingMark: isEndLost ? { isLossy: true } : {},
      purging: Promise.resolve(),
      isClosed: false,
    };
    beginLog(state);
    removeOldSegments(files, now);
    const ms = Math.round(performance.now() - startedAt);
    log('info', 'history loaded', { folder: directory, messages: records.length, segments, ms });
    if (isEndLost)
      log('warn', 'the last messages may be lost', { folder: directory, after: recovery.lastSeq });
    return {
      log: newMessageLog(state),
      records,
      expired,
      lastSeq,
      unreadSeq: isEndLost ? lastSeq : recovery.unreadSeq,
    };
  } catch (error) {
    if (files !== undefined) closeCurrent(files);
    throw error;
  }
}

const nothingRead: Recovery = {
  records: [],
  expired: new Map(),
  lastSeq: 0,
  unreadSeq: 0,
  segments: 0,
  isEndLost: false,
};

function openFiles({ directory, fsync, rotateAt, keep, bounds, disk = realDisk }: LogOptions): LogFiles {
  let segments: number[];
  try {
    segments = findSegments(directory);
  } catch (error) {
    throw storageError('keep messages in', directory, error);
  }
  const files: LogFiles = {
    directory,
    disk,
    fsync,
    rotateAt,
    keep,
    age: bounds.age,
    path: join(directory, currentSegment),
    segments,
    descriptor: undefined,
    size: undefined,
    hasLostLines: false,
    startedAt: 0,
    tornAt: undefined,
    unsynced: new Set(),
    beingSynced: undefined,
    isSyncFailing: false,
    work: { writes: 0, bytes: 0, syncs: 0, failures: 0 },
  };
  openCurrent(files);
  return files;
}

function openCurrent(files: LogFiles): void {
  try {
    files.descriptor = openRegular(files.path, toAppend);
  } catch (error) {
    throw storageError('open', files.path, error);
  }
}

/** Takes a folder without a log. @returns whether rooms' files of an older version were imported */
function* beginFolder(
  files: LogFiles,
  epoch: string,
  bounds: LogBounds,
  boot: string | undefined,
): Generator<void, boolean> {
  closeCurrent(files);
  try {
    clearLogNames(files.directory);
  } catch (error) {
    throw storageError('keep messages in', files.directory, error);
  }
  files.segments.splice(0, files.segments.length, ...findSegments(files.directory));
  const { fsync } = files;
  const isImported = yield* importRooms(files, bounds, { epoch, next: 1, boot, fsync });
  openCurrent(files);
  return isImported;
}

/** The epochs that lines at the beginning and at the end of a segment have, with the number of such lines. */
type Epochs = Map<string, number>;

interface SegmentOrder {
  /** Oldest first: by their first numbers, as somebody may have copied or renamed files. */
  readonly full: readonly number[];
  /** Of all segments, the newest last. */
  readonly epochs: readonly Epochs[];
  /** The time of the first line of the current segment. */
  readonly currentStart: number | undefined;
}

const sampleSize = 8192;

function orderSegments(files: LogFiles): SegmentOrder {
  let next = 0;
  const found = [...files.segments, undefined].map(number => {
    const sample = sampleSegment(segmentPath(files, number));
    // Without its first line, a segment stays where it is.
    next = sample?.next ?? next;
    return { number, next, epochs: sample?.epochs ?? new Map(), startedAt: sample?.startedAt };
  });
  const full = found.filter(({ number }) => number !== undefined).sort((a, b) => a.next - b.next);
  return {
    full: full.map(({ number }) => number!),
    epochs: found.map(({ epochs }) => epochs),
    currentStart: found.at(-1)!.startedAt,
  };
}

interface Sample {
  readonly next: number | undefined;
  readonly epochs: Epochs;
  readonly startedAt: number | undefined;
}

/** @returns undefined if the segment cannot be read; the log says so when it is read completely */
function sampleSegment(path: string): Sample | undefined {
  let descriptor: number | undefined;
  try {
    descriptor = openRegular(path, toRead);
    if (descriptor === undefined) return undefined;
    const { size } = fstatSync(descriptor);
    const start = readAt(descriptor, 0, Math.min(size, sampleSize)).toString('latin1').split('\n');
    const end = readAt(descriptor, Math.max(0, size - sampleSize), size)
      .toString('latin1')
      .split('\n');
    const epochs: Epochs = new Map();
    for (const line of [...start, ...end]) {
      const bytes = Buffer.from(line, 'latin1');
      const epoch = readHead(bytes)?.epoch ?? parseMark(bytes)?.epoch;
      if (epoch !== undefined) epochs.set(epoch, (epochs.get(epoch) ?? 0) + 1);
    }
    const first = Buffer.from(start[0]!, 'latin1');
    const time = Date.parse(String(parseLineObject(first)?.time));
    return { next: parseMark(first)?.next, epochs, startedAt: Number.isNaN(time) ? undefined : time };
  } catch {
    return undefined;
  } finally {
    if (descriptor !== undefined) closeSync(descriptor);
  }
}

/** The epoch of most lines in the newest segment that has any: one damaged line does not change it. */
function epochOf({ epochs }: SegmentOrder): string | undefined {
  const newest = [...epochs].reverse().find(({ size }) => size > 0);
  return newest && [...newest].sort(([, a], [, b]) => b - a)[0]?.[0];
}

/** Sequences of different epochs are never compared: 40 random bits tell them apart. */
function newEpoch(): string {
  const bits = BigInt(`0x${randomBytes(5).toString('hex')}`);
  return bits.toString(36).padStart(8, '0');
}

/** @returns undefined if the system has none */
function bootId(): string | undefined {
  try {
    return readFileSync('/proc/sys/kernel/random/boot_id', 'latin1').trim();
  } catch {
    return undefined;
  }
}
