/** The CPU time and memory of a process, from Linux's /proc. */
import { readFileSync } from 'node:fs';

/** USER_HZ: 100 on every Linux that Node runs on. */
const ticksPerSecond = 100;

/** The process's CPU time in seconds, user and system, of all its threads, in steps of 10 ms. */
export function cpuSeconds(pid: number): number {
  return parseCpuTicks(readFileSync(`/proc/${pid}/stat`, 'latin1')) / ticksPerSecond;
}

/**
 * Reads utime + stime from the text of /proc/PID/stat: fields 14 and 15 of proc(5). The second field is the command's name
 * in parentheses, which may contain spaces and parentheses, so fields are counted after the last parenthesis.
 */
export function parseCpuTicks(stat: string): number {
  const fromState = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  const ticks = Number(fromState[14 - 3]) + Number(fromState[15 - 3]);
  if (!Number.isInteger(ticks)) throw new Error(`not a line of /proc/PID/stat: ${stat}`);
  return ticks;
}

/** Resident memory of the process now, in KiB. */
export function residentKiB(pid: number): number {
  const line = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'latin1'));
  if (line === null) throw new Error(`no VmRSS in the status of process ${pid}`);
  return Number(line[1]);
}
