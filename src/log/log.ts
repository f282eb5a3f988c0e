/**
 * The log: one line an event, to where --log-file says and to whoever watches, as text for people or as JSON for
 * programs. All that happens is told here, once; what happens to a connection has its `id`.
 */
import { printableJson } from './printable.ts';
import { writeLine } from './sink.ts';

const levels = { error: 0, warn: 1, info: 2, debug: 3 } as const;
export type LogLevel = keyof typeof levels;
export type LogFormat = 'text' | 'json';

/** What happened to whom: the connection's id, its address, a code … In the order they are to be read. */
export type LogFields = Readonly<Record<string, string | number | boolean | undefined>>;

/** Someone who is told of events. The log's own sink is the first of them. */
interface Watcher {
  threshold: number;
  format: LogFormat;
  /** @returns false where it could not take the line */
  readonly hear: (line: string) => boolean;
  /** Lines that it could not take since the last that it did. */
  lost: number;
}

const ownSink: Watcher = { threshold: levels.info, format: 'text', hear: writeLine, lost: 0 };

let watchers: readonly Watcher[] = [ownSink];
/** The most that anyone wants to hear of. */
let threshold: number = levels.info;
/** A watcher is being told of an event. */
let isTelling = false;

function setThreshold(): void {
  threshold = Math.max(...watchers.map(watcher => watcher.threshold));
}

/** What the sink gets; others say what they want when they begin to watch. */
export function configureLog(level: LogLevel, format: LogFormat): void {
  ownSink.threshold = levels[level];
  ownSink.format = format;
  setThreshold();
}

/**
 * From now on `hear` is given the line of each event, its line end included, whatever the sink gets.
 * @param hear returns false where it cannot take the line; with the next that it takes it is told how many it lost
 *   (`lines lost`). It is not told of what it brings about itself while it is called.
 * @returns what stops that
 */
export function watchLog(
  hear: (line: string) => boolean,
  level: LogLevel = 'debug',
  format: LogFormat = 'text',
): () => void {
  const watcher: Watcher = { threshold: levels[level], format, hear, lost: 0 };
  watchers = [...watchers, watcher];
  setThreshold();
  return () => {
    watchers = watchers.filter(other => other !== watcher);
    setThreshold();
  };
}

/** Whether anyone hears of events of this level: ask before composing a costly one. */
export function isLogged(level: LogLevel): boolean {
  return levels[level] <= threshold;
}

/**
 * @param event a few words, always the same for the same event, so that it can be searched for
 * @param shown the fields as people read them, one printable line, where that is not `name=value`
 */
export function log(level: LogLevel, event: string, fields: LogFields = {}, shown?: string): void {
  if (!isLogged(level)) return;
  const time = new Date().toISOString();
  // Each form is composed once, however many want it.
  let text: string | undefined;
  let json: string | undefined;
  for (const watcher of isTelling ? [ownSink] : watchers) {
    if (levels[level] > watcher.threshold) continue;
    if (watcher.format === 'json') {
      json ??= jsonLine(time, level, event, fields);
      tell(watcher, json);
    } else {
      text ??= textLine(time, level, event, fields, shown);
      tell(watcher, text);
    }
  }
}

function tell(watcher: Watcher, line: string): void {
  const wasTelling = isTelling;
  isTelling = true;
  try {
    if (!watcher.hear(line)) {
      watcher.lost++;
    } else if (watcher.lost > 0 && watcher.hear(lostLine(watcher))) {
      watcher.lost = 0;
    }
  } finally {
    isTelling = wasTelling;
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

/** Quoted where it could be mistaken for something else: what peers send must not be able to forge a line. */
function textValue(value: string | number | boolean): string {
  return typeof value === 'string' && !/^[\w.:/@[\]+-]+$/.test(value) ? printableJson(value) : String(value);
}

/** Where something that was thrown came from, for the log. Anything can be thrown. */
export function stackOf(error: unknown): string {
  return error instanceof Error ? (error.stack ?? `${error.name}: ${error.message}`) : String(error);
}
