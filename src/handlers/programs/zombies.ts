/**
 * In a container without an init, process 1 inherits the orphans of programs and does not wait for them: not the server
 * itself, as Node waits only for what it has started, and not `npm start`. They stay as zombies, and a process group that
 * consists of zombies exists, for kill(2).
 */
import { readFileSync } from 'node:fs';

/** The orphans that came last; with many zombies, looking at all would take long. */
const newest = 200;

/** Whether process 1 has zombies of this group, and no living member of it. Where the system does not say, there are none. */
export function hasOnlyZombies(group: number): boolean {
  let orphans: readonly string[];
  try {
    orphans = readFileSync('/proc/1/task/1/children', 'latin1').trim().split(' ').slice(-newest);
  } catch {
    return false;
  }
  const states = orphans.map(pid => stateIn(pid, group)).filter(state => state !== undefined);
  return states.length > 0 && states.every(state => state === 'Z');
}

/** @returns a process's state, such as `S` or `Z`, if it is in the group */
function stateIn(pid: string, group: number): string | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
    // proc(5): state, parent and group follow the name, which may have parentheses in it.
    const [state, , itsGroup] = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    return Number(itsGroup) === group ? state : undefined;
  } catch {
    return undefined;
  }
}
