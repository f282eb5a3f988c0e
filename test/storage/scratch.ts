/** Directories that go when the test ends, messages to put into them, and what the log says meanwhile. */
import fs, { chmodSync, existsSync, readdirSync, readFileSync } from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { type Disk, realDisk } from '../../src/storage/disk.ts';
import { rotatedName } from '../../src/storage/fileNames.ts';
import type { StoredMessage } from '../../src/storage/message.ts';
import type { Remember } from '../../src/storage/recall.ts';
import type { RoomFile, Store } from '../../src/storage/records.ts';
import { closeRoom, openRoom as openFile, recallRoom } from '../../src/storage/room.ts';
import { closeStore, openStore } from '../../src/storage/store.ts';
import { temporaryFolder } from '../support/temporaryFolder.ts';

export function scratchDirectory(): string {
  const directory = temporaryFolder();
  // Others than root come into it, too: some tests give up their rights.
  chmodSync(directory, 0o755);
  return directory;
}

export interface StoreSettings {
  readonly directory?: string;
  readonly rotateAt?: number;
  readonly keep?: number;
  readonly fsync?: 'always' | 'everysec' | 'no';
  readonly disk?: Disk;
}

/** A store that is closed when the test ends. */
export function scratchStore(t: TestContext, settings: StoreSettings = {}): Store {
  const store = openStore({ directory: scratchDirectory(), fsync: 'no', ...settings });
  t.after(() => closeStore(store));
  return store;
}

/** Opens a room and reads its past in one go. */
export function openRoom(
  store: Store,
  room: string,
  remember: Remember,
): { file: RoomFile; messages: StoredMessage[] } {
  const file = openFile(store, room);
  try {
    return { file, messages: runToEnd(recallRoom(file, remember)) };
  } catch (error) {
    closeRoom(file);
    throw error;
  }
}

/** Runs all slices, one after the other. */
export function runToEnd<Result>(slices: Generator<void, Result>): Result {
  for (;;) {
    const { done, value } = slices.next();
    if (done) return value;
  }
}

export const everything = { messages: 1_000_000, bytes: 1_000_000 };

export function message(text: string, uid = 4096): StoredMessage {
  return { time: '2030-01-02T03:04:05.678Z', uid, nick: 'Zoë', text };
}

export function messages(count: number, first = 0): StoredMessage[] {
  return Array.from({ length: count }, (_, index) => message(`message ${first + index}`));
}

export function texts(stored: readonly StoredMessage[]): string[] {
  return stored.map(({ text }) => text);
}

/** The content of a file of the store; an empty one where there is none. */
export function content(store: Store, name: string): string {
  const path = join(store.directory, name);
  return existsSync(path) ? readFileSync(path, 'utf8') : '';
}

export function names(store: Store): string[] {
  return readdirSync(store.directory).sort();
}

/** All that is in a room's files, oldest first. */
export function wholeContent(store: Store, stem: string): string {
  const rotated = store.rotated.get(stem) ?? [];
  return [
    ...rotated.map(number => content(store, rotatedName(stem, number))),
    content(store, `${stem}.jsonl`),
  ].join('');
}

/** A disk of which some calls are other ones. */
export function diskWith(calls: Partial<Disk>): Disk {
  return { ...realDisk, ...calls };
}

export function systemError(code: string): Error {
  return Object.assign(new Error(`${code}: as the test wants it`), { code });
}

/** What is logged from here to the end of the test; it is not written. */
export function captureLog(t: TestContext): string[] {
  const lines: string[] = [];
  t.mock.method(process.stderr, 'write', (line: string) => lines.push(line) > 0);
  t.after(restoreCalls(t));
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
