/** What the system and the package say about this process: its descriptor limit, the groups of users, the version. */
import { readFileSync } from 'node:fs';
import { nearest, quoted } from '../options/error.ts';

/**
 * The soft limit on open files, sockets included. Node raises it to the hard limit (`ulimit -Hn`) when it starts. Infinity
 * on systems without /proc.
 */
export function maxDescriptors(): number {
  let limits = '';
  try {
    limits = readFileSync('/proc/self/limits', 'latin1');
  } catch {}
  const [, soft] = /^Max open files +(\d+)/m.exec(limits) ?? [];
  return soft === undefined ? Number.POSITIVE_INFINITY : Number(soft);
}

/** The id of a group. @param group a name or a number @throws Error if no group has this name */
export function groupId(group: string, file = '/etc/group'): number {
  if (/^\d{1,10}$/.test(group)) return Number(group);
  // group(5): name:password:number:members
  const numbers = new Map<string, number>();
  for (const line of readFileSync(file, 'utf8').split('\n')) {
    const [name = '', , number = ''] = line.split(':');
    if (/^\d+$/.test(number)) numbers.set(name, Number(number));
  }
  const found = numbers.get(group);
  if (found !== undefined) return found;
  const likely = nearest(group, numbers.keys());
  throw new Error(
    `no group ${quoted(group)} in ${file}; ${likely ? `did you mean ${likely}?` : 'create it, or give its number'}`,
  );
}

/** The version in package.json. */
export function version(): string {
  const file = readFileSync(new URL('../../package.json', import.meta.url), 'utf8');
  return (JSON.parse(file) as { version: string }).version;
}
