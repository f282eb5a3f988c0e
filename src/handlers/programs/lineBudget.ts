/** Lines for the log that a program or a client can cause: so many in a second. */
import { type LogFields, log } from '../../log/log.ts';
import { maxErrorLines } from '../../protocol/limits.ts';

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
