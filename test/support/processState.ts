/** The state of a process, from Linux's /proc. */
import { readdirSync, readFileSync, readlinkSync } from 'node:fs';

export const MiB = 1024 * 1024;

/** Resident memory in bytes. */
export function residentMemory(pid: number): number {
  const [, kilobytes] = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'latin1')) ?? [];
  return Number(kilobytes) * 1024;
}

/** The highest resident memory since the process started, in bytes. */
export function peakMemory(pid: number): number {
  const [, kilobytes] = /^VmHWM:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'latin1')) ?? [];
  return Number(kilobytes) * 1024;
}

export interface ThreadTime {
  /** Milliseconds in which the thread ran. */
  readonly ran: number;
  /** Milliseconds in which it was ready to run, but other threads had the processors. */
  readonly waited: number;
}

/** The main thread's time since the process started. Linux only. */
export function mainThreadTime(pid: number): ThreadTime {
  const [ran, waited] = readFileSync(`/proc/${pid}/task/${pid}/schedstat`, 'latin1').split(' ', 2);
  return { ran: Number(ran) / 1e6, waited: Number(waited) / 1e6 };
}

/** The number of open descriptors. */
export function openDescriptors(pid: number): number {
  return readdirSync(`/proc/${pid}/fd`).length;
}

/** The number of open descriptors of files below `folder`. */
export function openFilesBelow(pid: number, folder: string): number {
  return readdirSync(`/proc/${pid}/fd`).filter(fd => {
    try {
      return readlinkSync(`/proc/${pid}/fd/${fd}`).startsWith(`${folder}/`);
    } catch {
      return false;
    }
  }).length;
}
