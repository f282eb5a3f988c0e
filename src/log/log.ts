/** The log: one line an event, as text for people or as JSON for programs. */
import { writeLine } from './sink.ts';

const levels = { error: 0, warn: 1, info: 2, debug: 3 } as const;
export type LogLevel = keyof typeof levels;
export type LogFormat = 'text' | 'json';

/** What happened to whom: the connection's id, its address, a code … In the order they are to be read. */
export type LogFields = Readonly<Record<string, string | number | boolean | undefined>>;

let threshold: number = levels.info;
let format: LogFormat = 'text';

export function configureLog(level: LogLevel, lineFormat: LogFormat): void {
  threshold = levels[level];
  format = lineFormat;
}

/** Whether lines of this level are written: ask before composing a costly one. */
export function isLogged(level: LogLevel): boolean {
  return levels[level] <= threshold;
}

/** @param event a few words, always the same for the same event, so that it can be searched for */
export function log(level: LogLevel, event: string, fields: LogFields = {}): void {
  if (!isLogged(level)) return;
  const line = format === 'json' ? jsonLine(level, event, fields) : textLine(level, event, fields);
  if (!writeLine(line)) {
    linesLost++;
    return;
  }
  if (linesLost === 0) return;
  const lost = linesLost;
  linesLost = 0;
  log('warn', 'lines lost', { count: lost });
}

let linesLost = 0;

function jsonLine(level: LogLevel, event: string, fields: LogFields): string {
  return `${quote({ time: new Date().toISOString(), level, event, ...fields })}\n`;
}

function textLine(level: LogLevel, event: string, fields: LogFields): string {
  let line = `${new Date().toISOString()} ${level.padEnd(5)} ${event}`;
  for (const [name, value] of Object.entries(fields)) {
    if (value !== undefined) line += ` ${name}=${textValue(value)}`;
  }
  return `${line}\n`;
}

/** Quoted where it could be mistaken for something else: what peers send must not be able to forge a line. */
function textValue(value: string | number | boolean): string {
  return typeof value === 'string' && !/^[\w.:/@[\]+-]+$/.test(value) ? quote(value) : String(value);
}

/** JSON, with those characters escaped as well that a terminal may take for commands or line ends. */
function quote(value: unknown): string {
  const escaped = (character: string) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`;
  return JSON.stringify(value).replace(/[\x7f-\x9f\u2028\u2029]/g, escaped);
}
