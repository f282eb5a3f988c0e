/**
 * The log: one line per event, to `--log-file` and to those who watch, as text for people or JSON for programs. The events
 * of a connection carry its `id`.
 *
 * The log belongs to the process. If several servers share it (index.ts), each runs as its own source, and its watchers
 * receive only its events. Node's asynchronous context carries the source through timers, promises and sockets.
 */
import { AsyncLocalStorage } from 'node:async_hooks';
import { closeSync, constants, openSync, writeSync } from 'node:fs';
import { printableJson } from './printable.ts';

const levels = { error: 0, warn: 1, info: 2, debug: 3 } as const;
export type LogLevel = keyof typeof levels;
export type LogFormat = 'text' | 'json';

/** Details of an event, such as a connection's id, its address, a close code; in reading order. */
export type LogFields = Readonly<Record<string, string | number | boolean | undefined>>;

/** A server that shares the process with others. */
export type LogSource = object;

/** The current source; `undefined` in a process with one server. */
const sources = new AsyncLocalStorage<LogSource>();

/** Calls `act` as this source: events logged by it, and by callbacks that it starts, belong to the source. */
export function logAs<T>(source: LogSource, act: () => T): T {
  return sources.run(source, act);
}

/** An event with its fields, as in the JSON form. */
export interface LogEvent {
  /** ISO 8601. */
  readonly time: string;
  readonly level: LogLevel;
  readonly event: string;
  readonly [field: string]: string | number | boolean | undefined;
}

/** A receiver of lines. */
interface Watcher {
  threshold: number;
  format: LogFormat;
  /** Receives the events of this source; `undefined`: all events. */
  readonly source: LogSource | undefined;
  /** @returns false if the line was lost */
  readonly onLine: (line: string) => boolean;
  /** Lines lost since the last that arrived. */
  lost: number;
}

/** A receiver of events as objects. It must not log. */
interface Observer {
  readonly source: LogSource;
  readonly onEvent: (event: LogEvent) => void;
}

/** Writes the log of the process. */
const ownSink: Watcher = {
  ...{ threshold: levels.info, format: 'text', source: undefined },
  ...{ onLine: writeLine, lost: 0 },
};

/** The program adds its own sink. A process that opens servers for its tests has no log. */
let watchers: readonly Watcher[] = [];
let observers: readonly Observer[] = [];
/** The highest level that any watcher or observer receives; -1 without any. */
let threshold = -1;
/** A watcher is running. */
let isDelivering = false;

function setThreshold(): void {
  const ofObservers = observers.length > 0 ? levels.debug : -1;
  threshold = Math.max(ofObservers, ...watchers.map(watcher => watcher.threshold));
}

/** Starts the log of the process, or changes its level and format. */
export function configureLog(level: LogLevel, format: LogFormat): void {
  ownSink.threshold = levels[level];
  ownSink.format = format;
  if (!watchers.includes(ownSink)) watchers = [ownSink, ...watchers];
  setThreshold();
}

/**
 * Passes each event of this source to `onEvent`, of any level.
 * @returns a function that ends it
 */
export function observeLog(source: LogSource, onEvent: (event: LogEvent) => void): () => void {
  const observer = { source, onEvent };
  observers = [...observers, observer];
  setThreshold();
  return () => {
    observers = observers.filter(other => other !== observer);
    setThreshold();
  };
}

/**
 * Passes the line of each event to `onLine`, line end included, whatever level the log itself has. A caller that runs as
 * a source gets only its events.
 * @param onLine returns false if it lost the line; the event `lines lost` follows the next line that arrives. Events that
 *   `onLine` causes go to the log only.
 * @returns a function that ends the watch
 */
export function watchLog(
  onLine: (line: string) => boolean,
  level: LogLevel = 'debug',
  format: LogFormat = 'text',
): () => void {
  const source = sources.getStore();
  const watcher: Watcher = { threshold: levels[level], format, source, onLine, lost: 0 };
  watchers = [...watchers, watcher];
  setThreshold();
  return () => {
    watchers = watchers.filter(other => other !== watcher);
    setThreshold();
  };
}

/** Whether any watcher receives this level. Check it before composing a costly event. */
export function isLogged(level: LogLevel): boolean {
  return levels[level] <= threshold;
}

/**
 * @param event a few fixed words, so that users can search for the event
 * @param shown the fields for the text format, on one printable line, if not as `name=value`
 */
export function log(level: LogLevel, event: string, fields: LogFields = {}, shown?: string): void {
  if (!isLogged(level)) return;
  const time = new Date().toISOString();
  const source = sources.getStore();
  for (const observer of observers)
    if (observer.source === source) observer.onEvent({ time, level, event, ...fields });
  // Composed once per format, not once per watcher.
  let text: string | undefined;
  let json: string | undefined;
  for (const watcher of watchers) {
    if (levels[level] > watcher.threshold || (isDelivering && watcher !== ownSink)) continue;
    if (watcher.source !== undefined && watcher.source !== source) continue;
    if (watcher.format === 'json') {
      json ??= jsonLine(time, level, event, fields);
      deliver(watcher, json);
    } else {
      text ??= textLine(time, level, event, fields, shown);
      deliver(watcher, text);
    }
  }
}

function deliver(watcher: Watcher, line: string): void {
  const wasDelivering = isDelivering;
  isDelivering = true;
  try {
    if (!watcher.onLine(line)) {
      watcher.lost++;
    } else if (watcher.lost > 0 && watcher.onLine(lostLine(watcher))) {
      watcher.lost = 0;
    }
  } finally {
    isDelivering = wasDelivering;
  }
}

function lostLine({ format, lost }: Watcher): string {
  const compose = format === 'json' ? jsonLine : textLine;
  return compose(new Date().toISOString(), 'warn', 'lines lost', { count: lost });
}

function jsonLine(time: string, level: LogLevel, event: string, fields: LogFields): string {
  return `${printableJson({ time, level, event, ...fields })}\n`;
}

function textLine(time: string, level: LogLevel, event: string, fields: LogFields, shown?: string): string {
  let line = `${time} ${level.padEnd(5)} ${event}`;
  if (shown !== undefined) return `${line} ${shown}\n`;
  for (const [name, value] of Object.entries(fields)) {
    if (value !== undefined) line += ` ${name}=${textValue(value)}`;
  }
  return `${line}\n`;
}

/** Quoted unless it is plain, so that no peer can forge a field or a line. */
function textValue(value: string | number | boolean): string {
  return typeof value === 'string' && !/^[\w.:/@[\]+-]+$/.test(value) ? printableJson(value) : String(value);
}

/** The stack of what was thrown, which need not be an Error. */
export function stackOf(error: unknown): string {
  return error instanceof Error ? (error.stack ?? `${error.name}: ${error.message}`) : String(error);
}

/** Bytes that may wait for the reader of stderr. */
const maxPendingStderr = 16 * 1024 * 1024;

/** An open file's descriptor, or no file. */
let target: number | 'stderr' | 'none' = 'stderr';
/** The last line was written in part only. */
let isTruncated = false;

/**
 * Sends the log to `stderr`, to `none`, or to a file, which is created if missing (mode 0640) and appended to. Opening the
 * same path again follows a rotation.
 * @throws Error, and the log stays where it was
 */
export function logTo(place: string): void {
  const next = place === 'stderr' || place === 'none' ? place : openLog(place);
  if (typeof target === 'number') closeSync(target);
  target = next;
  isTruncated = false;
}

/** @throws Error if `logTo` would */
export function checkLog(place: string, option?: string): void {
  if (place !== 'stderr' && place !== 'none') closeSync(openLog(place, option));
}

/** @param option which names the file @returns a descriptor in append mode @throws Error if the file cannot be opened */
export function openLog(path: string, option = '--log-file'): number {
  // O_NONBLOCK: opening a named pipe without a reader fails instead of blocking.
  const flags = constants.O_WRONLY | constants.O_APPEND | constants.O_CREAT | constants.O_NONBLOCK;
  try {
    return openSync(path, flags, 0o640);
  } catch (error) {
    throw new Error(`cannot log to ${path}: ${whyUnwritable(error)}; choose another with ${option}`);
  }
}

/** Why a file could not be opened for writing, or written. */
export function whyUnwritable(error: unknown): string {
  const { code, message } = error as NodeJS.ErrnoException;
  if (code === 'ENOENT') return 'there is no such folder';
  if (code === 'ENOTDIR') return 'there is a file where a folder should be';
  if (code === 'ELOOP') return 'its symbolic links form a loop';
  if (code === 'EACCES' || code === 'EROFS') return 'this user may not write there';
  if (code === 'ENOSPC') return 'the disk is full';
  return code === 'EISDIR' ? 'it is a folder' : message;
}

/** @returns false if the line was lost: the reader of stderr is too slow, or the disk is full */
export function writeLine(line: string): boolean {
  if (target === 'none') return true;
  if (target === 'stderr') {
    // Writing to a pipe does not block, so a slow reader loses lines instead of stopping the server.
    if (process.stderr.writableLength > maxPendingStderr) return false;
    process.stderr.write(line);
    return true;
  }
  const bytes = Buffer.from(isTruncated ? `\n${line}` : line);
  let written = 0;
  try {
    while (written < bytes.length) written += writeSync(target, bytes, written);
    isTruncated = false;
    return true;
  } catch {
    isTruncated ||= written > 0;
    return false;
  }
}
