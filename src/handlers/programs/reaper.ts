/**
 * Ends the process groups of programs if the server is killed. Most programs exit when their stdin ends. For the others there
 * is the reaper: a shell that knows all process groups and waits for the end of its own stdin, which the system closes
 * however the server ends.
 *
 * `setpriv --pdeathsig` would need no process, but works on Linux only, and for the program only, not for its children.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { log } from '../../log/log.ts';

/** `$1` is the grace period in whole seconds: from the end of stdin to SIGTERM, and again to SIGKILL. */
const script = `
trap '' HUP INT QUIT TERM
groups=' '
while read -r sign group; do
  case $sign in
  +) groups="$groups$group " ;;
  -) groups="\${groups%% $group *} \${groups#* $group }" ;;
  esac
done
end() {
  left=' '
  for group in $groups; do
    kill -s "$1" -- "-$group" 2>/dev/null && left="$left$group "
  done
  groups=$left
}
grace() {
  seconds=$1
  end 0
  while [ "$groups" != ' ' ] && [ "$seconds" -gt 0 ]; do
    sleep 1
    seconds=$((seconds - 1))
    end 0
  done
}
grace "$1"
end TERM
grace "$1"
end KILL`;

/** The process groups of all running programs. */
const groups = new Set<number>();
let reaper: ChildProcess | undefined;

/** @param grace milliseconds; 0: the group is never signalled */
export function registerGroup(group: number, grace: number): void {
  if (grace === 0) return;
  groups.add(group);
  if (reaper === undefined) startReaper(grace);
  else reaper.stdin?.write(`+ ${group}\n`);
}

export function unregisterGroup(group: number): void {
  if (groups.delete(group)) reaper?.stdin?.write(`- ${group}\n`);
}

/** If the reaper is killed, the next program starts a new one. */
function startReaper(grace: number): void {
  const seconds = String(Math.ceil(grace / 1000));
  const started = spawn('/bin/sh', ['-c', script, 'pollywog-reaper', seconds], {
    detached: true,
    stdio: ['pipe', 'ignore', 'ignore'],
    env: { PATH: process.env['PATH'] },
    cwd: '/',
  });
  const onEnd = () => {
    if (reaper === started) reaper = undefined;
  };
  started.on('exit', onEnd).on('error', error => {
    onEnd();
    log('warn', 'reaper not started', {
      error: error.message,
      means: 'programs may outlive a server that is killed',
    });
  });
  if (started.pid === undefined) return;
  reaper = started;
  started.stdin?.on('error', () => {});
  for (const group of groups) started.stdin?.write(`+ ${group}\n`);
  // The reaper does not keep the server running.
  started.unref();
  (started.stdin as unknown as { unref(): void }).unref();
}

/*
 * Zombies. In a container without an init, process 1 inherits the orphans of programs and does not wait for them: neither the
 * server (Node waits for its own children only) nor `npm start` does. The orphans become zombies, and for kill(2) a process
 * group of zombies exists.
 */

/** Only the latest orphans are checked: there may be many zombies. */
const newest = 200;

/** Whether all children of process 1 in this group are zombies, and there are some. False without /proc. */
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

/** @returns the process's state, such as `S` or `Z`; `undefined` if it is not in the group */
function stateIn(pid: string, group: number): string | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
    // proc(5): state, parent and group follow the name, which may contain parentheses.
    const [state, , itsGroup] = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    return Number(itsGroup) === group ? state : undefined;
  } catch {
    return undefined;
  }
}
