/**
 * Nothing is left behind, even when the server is killed and cannot see to it. Programs find their stdin ended then, and
 * most end themselves. For those that do not there is the warden: a shell that waits for the end of its own stdin, which
 * comes with the server's end, however that comes. It is told of each process group that is there, and when that is gone.
 *
 * `setpriv --pdeathsig` would do without a process, but on Linux alone, and for the program alone, not for what it has
 * started itself.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { log } from '../../log/log.ts';

/** `$1` is the time that programs have, in whole seconds, once after the end of their stdin, and again after SIGTERM. */
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
patience() {
  seconds=$1
  end 0
  while [ "$groups" != ' ' ] && [ "$seconds" -gt 0 ]; do
    sleep 1
    seconds=$((seconds - 1))
    end 0
  done
}
patience "$1"
end TERM
patience "$1"
end KILL`;

/** The groups that there are. */
const groups = new Set<number>();
let warden: ChildProcess | undefined;

/** A process group began. @param grace milliseconds; 0: it is not to be ended, whatever comes */
export function noteGroup(group: number, grace: number): void {
  if (grace === 0) return;
  groups.add(group);
  if (warden === undefined) startWarden(grace);
  else warden.stdin?.write(`+ ${group}\n`);
}

/** Nothing of it is left. */
export function forgetGroup(group: number): void {
  if (groups.delete(group)) warden?.stdin?.write(`- ${group}\n`);
}

/** Whoever ends it has the next program start another one. */
function startWarden(grace: number): void {
  const seconds = String(Math.ceil(grace / 1000));
  const started = spawn('/bin/sh', ['-c', script, 'pollywog-warden', seconds], {
    detached: true,
    stdio: ['pipe', 'ignore', 'ignore'],
    env: { PATH: process.env['PATH'] },
    cwd: '/',
  });
  const over = () => {
    if (warden === started) warden = undefined;
  };
  started.on('exit', over).on('error', error => {
    over();
    log('warn', 'no warden', { error: error.message, means: 'programs may outlive a server that is killed' });
  });
  if (started.pid === undefined) return;
  warden = started;
  started.stdin?.on('error', () => {});
  for (const group of groups) started.stdin?.write(`+ ${group}\n`);
  // It is no reason for the server to go on.
  started.unref();
  (started.stdin as unknown as { unref(): void }).unref();
}

/**
 * In a container without an init, process 1 inherits the orphans of programs and does not wait for them: not the server
 * itself, as Node waits only for what it has started, and not `npm start`. They stay as zombies, and a process group that
 * consists of zombies exists, for kill(2).
 */

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
