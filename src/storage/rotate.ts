/** Rotation: a full file gets a number, and the oldest files are removed. */
import { existsSync, renameSync, unlinkSync } from 'node:fs';
import { join } from 'node:path';
import { log } from '../log/log.ts';
import { errorCode, storageError } from './disk.ts';
import { currentName, rotatedName } from './fileNames.ts';
import type { Store } from './records.ts';
import { noteUnsynced } from './sync.ts';

/** Renames the room's current file to the next number. @throws the system's error */
export function moveAside(store: Store, stem: string): void {
  const numbers = store.rotated.get(stem) ?? [];
  let number = (numbers.at(-1) ?? 0) + 1;
  // Do not overwrite an unknown file, such as somebody's copy.
  while (existsSync(join(store.directory, rotatedName(stem, number)))) number++;
  const path = join(store.directory, rotatedName(stem, number));
  try {
    renameSync(join(store.directory, currentName(stem)), path);
  } catch (error) {
    // The file is already gone.
    if (errorCode(error) === 'ENOENT') return;
    throw error;
  }
  numbers.push(number);
  store.rotated.set(stem, numbers);
  noteUnsynced(store, path);
  if (store.keep > 0) removeOldest(store, stem, numbers);
}

function removeOldest(store: Store, stem: string, numbers: number[]): void {
  for (const number of numbers.splice(0, Math.max(0, numbers.length - store.keep))) {
    const path = join(store.directory, rotatedName(stem, number));
    try {
      unlinkSync(path);
    } catch (error) {
      if (errorCode(error) === 'ENOENT') continue;
      log('warn', 'old messages remain', { error: storageError('remove', path, error).message });
    }
  }
}
