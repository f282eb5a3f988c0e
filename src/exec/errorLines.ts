/** Lines for the log that a program has a say in: they are bounded in length and in number. */
import type { Readable } from 'node:stream';
import { type LogFields, log } from '../log/log.ts';
import { maxErrorLine, maxErrorLines } from '../protocol/bounds.ts';

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
  refill(budget, fields);
  if (budget.left === 0) {
    budget.lost++;
    return;
  }
  budget.left--;
  log('warn', event, fields);
}

function refill(budget: LineBudget, fields: LogFields): void {
  const second = Math.floor(performance.now() / 1000);
  if (second === budget.second) return;
  budget.second = second;
  budget.left = maxErrorLines;
  tellLost(budget, fields);
}

/** Tells how many lines were left out, if any were. */
export function tellLost(budget: LineBudget, { line: _, ...whose }: LogFields): void {
  if (budget.lost > 0) log('warn', 'lines left out', { ...whose, count: budget.lost });
  budget.lost = 0;
}

/** Logs what comes from `stream`, a program's stderr, line by line. @param fields whose it is */
export function logErrorLines(stream: Readable, fields: LogFields): void {
  const budget = newLineBudget();
  /** The beginning of a line whose end is still to come; what is beyond the bound is cut off. */
  let begun = '';
  const take = (line: string) => {
    const shown = line.length > maxErrorLine ? `${line.slice(0, maxErrorLine)}…` : line;
    logWithin(budget, 'program says', { ...fields, line: shown.replace(/\r$/, '') });
  };
  stream.setEncoding('utf8').on('data', (text: string) => {
    let at = 0;
    for (let end = text.indexOf('\n'); end >= 0; end = text.indexOf('\n', at)) {
      take(begun + text.slice(at, Math.min(end, at + maxErrorLine + 1)));
      begun = '';
      at = end + 1;
    }
    if (begun.length <= maxErrorLine) begun += text.slice(at, at + maxErrorLine + 1);
  });
  stream.on('close', () => {
    if (begun !== '') take(begun);
    tellLost(budget, fields);
  });
  stream.on('error', () => {});
}
