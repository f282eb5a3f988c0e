/** Support for the tests of programs: starting servers with them, and looking at processes. */
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { RawClient } from '../../support/rawClient.ts';
import type { RawFrame } from '../../support/rawFrame.ts';
import { opcode } from '../../support/rawFrame.ts';

/** Writes a program to a file. @returns its path */
export function writeProgram(folder: string, name: string, text: string): string {
  const path = join(folder, name);
  writeFileSync(path, text, { mode: 0o755 });
  return path;
}

/** Quotes words for a command. */
export function quoteWords(...words: string[]): string {
  return words.map(word => `'${word.replaceAll("'", `'\\''`)}'`).join(' ');
}

/** A frame in a form to compare: a text unchanged, bytes in hexadecimal, a close as its code and reason. */
export function shown(frame: RawFrame | undefined): string {
  if (frame === undefined) return 'end';
  const { payload } = frame;
  if (frame.opcode === opcode.text) return payload.toString();
  if (frame.opcode === opcode.binary) return `0x${payload.toString('hex')}`;
  if (frame.opcode === opcode.close) return `close ${payload.readUInt16BE(0)} ${payload.toString('utf8', 2)}`;
  return `opcode ${frame.opcode}`;
}

export async function nextShown(client: RawClient): Promise<string> {
  return shown(await client.nextFrame());
}

/** A process in /proc. */
export interface ProcessState {
  readonly pid: number;
  readonly parent: number;
  readonly group: number;
  /** `R`, `S`, `Z` … */
  readonly state: string;
}

export function processes(): ProcessState[] {
  const pids = readdirSync('/proc').filter(name => /^\d+$/.test(name));
  return pids.flatMap(pid => {
    try {
      const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
      const [state = '', parent, group] = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
      return [{ pid: Number(pid), parent: Number(parent), group: Number(group), state }];
    } catch {
      return [];
    }
  });
}

export function isAlive(pid: number): boolean {
  return processes().some(one => one.pid === pid && one.state !== 'Z');
}

/** Polls until a condition holds that causes no event. If it never holds, the test's timeout reports that. */
export async function untilSo(isSo: () => boolean): Promise<void> {
  while (!isSo()) await sleep(20);
}
