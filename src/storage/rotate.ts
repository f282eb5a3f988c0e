/** A room's file that is full is set aside under a number, and the oldest ones go. */
import { existsSync, renameSync, unlinkSync } from 'node:fs';
import { join } from 'node:path';
import { log } from '../log/log.ts';
import { errorCode, storageError } from './disk.ts';
import { currentName, rotatedName } from './fileNames.ts';
import type { Store } from './store.ts';
import { noteUnsynced } from './sync.ts';

/** Gives the room's current file the next number. @throws Error of the system, where it cannot be renamed */
export function moveAside(store: Store, stem: string): void {
  const numbers = store.rotated.get(stem) ?? [];
  let number = (numbers.at(-1) ?? 0) + 1;
  // Somebody's copy, say: a rename would replace it.
  while (existsSync(join(store.directory, rotatedName(stem, number)))) number++;
  const path = join(store.directory, rotatedName(stem, number));
  try {
    renameSync(join(store.directory, currentName(stem)), path);
  } catch (error) {
    // Somebody has moved it away.
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
