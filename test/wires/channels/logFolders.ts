/** Folders of logs after the ends of their servers: killed, killed in a write, or after a crash of the system. */
import { copyFileSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { temporaryFolder } from '../../support/temporaryFolder.ts';

/**
 * Copies the log of a running server: its files as `kill -9` leaves them at this moment, as each append is one write.
 * @returns the new folder
 */
export function copyLog(folder: string): string {
  const copy = temporaryFolder();
  for (const name of readdirSync(folder))
    if (name.startsWith('messages')) copyFileSync(join(folder, name), join(copy, name));
  return copy;
}

const currentSegment = 'messages.jsonl';

/** Adds the beginning of a record whose write was cut off. */
export function tearLog(folder: string, record: string): void {
  writeFileSync(join(folder, currentSegment), record.slice(0, -2), { flag: 'a' });
}

/**
 * Simulates a crash of the system: removes the last records of the current file, back to the newest line that is not a record,
 * which a server writes and syncs at its start, and changes the boot id of all files.
 * @returns how many records were lost
 */
export function crashLog(folder: string, most: number): number {
  const path = join(folder, currentSegment);
  const lines = readFileSync(path, 'utf8').split('\n').slice(0, -1);
  let lost = 0;
  while (lost < most && lines.at(-1)!.startsWith('{"id":')) {
    lines.pop();
    lost++;
  }
  writeFileSync(path, `${lines.join('\n')}\n`);
  for (const name of readdirSync(folder)) {
    const text = readFileSync(join(folder, name), 'utf8');
    writeFileSync(join(folder, name), text.replace(/"boot":"[^"]*"/g, '"boot":"an earlier one"'));
  }
  return lost;
}
