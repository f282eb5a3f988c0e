/** Logs in temporary folders, and records to put into them. */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import type { Disk } from '../../../src/storage/disk.ts';
import { type LogOptions, loadLog } from '../../../src/storage/log/openLog.ts';
import type {
  LoadedLog,
  LogBounds,
  LogForget,
  LogMessage,
  LogRecord,
} from '../../../src/storage/log/records.ts';
import type { Fsync } from '../../../src/storage/sync.ts';
import { runToEnd, scratchDirectory } from '../scratch.ts';

export interface LogSettings {
  readonly directory?: string;
  readonly fsync?: Fsync;
  readonly rotateAt?: number;
  readonly keep?: number;
  readonly bounds?: Partial<LogBounds>;
  readonly disk?: Disk;
  readonly boot?: string;
}

export const wideBounds: LogBounds = { messages: 1_000_000, bytes: 1_000_000, age: 0, memory: 100_000_000 };

export function logOptions({ directory = scratchDirectory(), bounds, ...rest }: LogSettings): LogOptions {
  return {
    fsync: 'no',
    rotateAt: 0,
    keep: 0,
    boot: 'boot',
    ...rest,
    directory,
    bounds: { ...wideBounds, ...bounds },
  };
}

export interface ScratchLog extends LoadedLog {
  readonly directory: string;
}

/** Opens a log without locking its folder, in one go. The end of the test closes it, if that was not done before. */
export function openScratchLog(t: TestContext, settings: LogSettings = {}): ScratchLog {
  const options = logOptions(settings);
  const loaded = runToEnd(loadLog(options, { release() {}, fault: undefined }));
  t.after(() => {
    try {
      loaded.log.close();
    } catch {
      // The test is about a disk that fails.
    }
  });
  return { ...loaded, directory: options.directory };
}

export const time = Date.parse('2030-01-02T03:04:05.678Z');

export function said(seq: number, text: string, more: Partial<LogMessage> = {}): LogMessage {
  return { seq, time, channel: 'pond', kind: 'text', data: Buffer.from(text), ...more };
}

/** So many messages, numbered from `first`. */
export function numbered(count: number, first: number, channel = 'pond'): LogMessage[] {
  return Array.from({ length: count }, (_, index) =>
    said(first + index, `message ${first + index}`, { channel }),
  );
}

export function forget(seq: number, channel = 'pond'): LogForget {
  return { seq, time, channel, isForget: true };
}

/** The numbers of the messages; a forget as its negative number. */
export function numbersOf(records: readonly LogRecord[]): number[] {
  return records.map(record => ('isForget' in record ? -record.seq : record.seq));
}

export function upTo(last: number, first = 1): number[] {
  return Array.from({ length: last - first + 1 }, (_, index) => first + index);
}

/** The content of a file of the log; an empty one if there is none. */
export function fileContent(log: { directory: string }, name = 'messages.jsonl'): string {
  const path = join(log.directory, name);
  return existsSync(path) ? readFileSync(path, 'utf8') : '';
}

/** The lines with a channel. */
export function recordLines(log: { directory: string }, name = 'messages.jsonl'): Record<string, unknown>[] {
  const lines = fileContent(log, name)
    .split('\n')
    .filter(line => line.includes('"channel"'));
  return lines.map(line => JSON.parse(line));
}
