/** The system's groups of users. */
import { readFileSync } from 'node:fs';
import { nearest, quoted } from '../options/error.ts';

/**
 * The number of a group, given by name or number.
 * @throws Error, a sentence
 */
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
    `there is no group ${quoted(group)} in ${file}${likely ? `; did you mean ${likely}?` : '; give its number'}`,
  );
}
