/** How many files the system lets this process have open at once, sockets included. */
import { readFileSync } from 'node:fs';

/** The soft limit, which Node raises to the hard one (`ulimit -Hn`) when it starts; Infinity where nobody says. */
export function maxDescriptors(): number {
  let limits = '';
  try {
    limits = readFileSync('/proc/self/limits', 'latin1');
  } catch {}
  const [, soft] = /^Max open files +(\d+)/m.exec(limits) ?? [];
  return soft === undefined ? Number.POSITIVE_INFINITY : Number(soft);
}
