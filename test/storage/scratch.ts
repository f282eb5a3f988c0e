/** Directories that the end of the test removes, disks that fail, and captured log lines. */
import fs, { chmodSync } from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';
import type { TestContext } from 'node:test';
import { watchLog } from '../../src/log/log.ts';
import { type Disk, realDisk } from '../../src/storage/disk.ts';
import { temporaryFolder } from '../support/temporaryFolder.ts';

export function scratchDirectory(): string {
  const directory = temporaryFolder();
  // Others than root come into it, too: some tests give up their rights.
  chmodSync(directory, 0o755);
  return directory;
}

/** Runs all slices, one after the other. */
export function runToEnd<Result>(slices: Generator<void, Result>): Result {
  for (;;) {
    const { done, value } = slices.next();
    if (done) return value;
  }
}

/** A disk of which some calls are other ones. */
export function diskWith(calls: Partial<Disk>): Disk {
  return { ...realDisk, ...calls };
}

export function systemError(code: string): Error {
  return Object.assign(new Error(`${code}: as the test wants it`), { code });
}

/** What is logged from here to the end of the test. */
export function captureLog(t: TestContext): string[] {
  const lines: string[] = [];
  t.after(watchLog(line => lines.push(line) > 0, 'info'));
  return lines;
}

/** The bytes that are read from here to the end of the test. */
export function countReads(t: TestContext): { total: number; longest: number } {
  const reads = { total: 0, longest: 0 };
  const { readSync } = fs;
  t.mock.method(fs, 'readSync', (...[descriptor, bytes, offset, length, position]: number[]) => {
    const count = readSync(descriptor!, bytes as never, offset!, length!, position!);
    reads.total += count;
    reads.longest = Math.max(reads.longest, count);
    return count;
  });
  syncBuiltinESMExports();
  t.after(restoreCalls(t));
  return reads;
}

function restoreCalls(t: TestContext): () => void {
  return () => {
    t.mock.restoreAll();
    syncBuiltinESMExports();
  };
}

/** Runs `work` as a user without root's rights: file modes mean something then. */
export function withoutRoot<T>(work: () => T): T {
  if (process.geteuid?.() !== 0) return work();
  process.seteuid!(65534);
  try {
    return work();
  } finally {
    process.seteuid!(0);
  }
}
