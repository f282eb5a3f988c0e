/** Reads a room's files without code of src/. */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

export interface WrittenMessage {
  readonly time: string;
  readonly uid: number;
  readonly nick: string;
  readonly text: string;
}

/** The text of all files, oldest first: `pond.1.jsonl`, `pond.2.jsonl` ..., `pond.jsonl`, with an unfinished last line. */
export function writtenIn(directory: string, room: string): string {
  const numbers = readdirSync(directory)
    .map(name =>
      name.startsWith(`${room}.`) ? /^\.(\d+)\.jsonl$/.exec(name.slice(room.length))?.[1] : undefined,
    )
    .filter(number => number !== undefined)
    .map(Number)
    .sort((a, b) => a - b);
  const names = [...numbers.map(number => `${room}.${number}.jsonl`), `${room}.jsonl`];
  return names
    .map(name => join(directory, name))
    .filter(path => existsSync(path))
    .map(path => readFileSync(path, 'utf8'))
    .join('');
}

/** The messages of all files. @throws Error for a line that is no message */
export function messagesIn(directory: string, room: string): WrittenMessage[] {
  const lines = writtenIn(directory, room).split('\n');
  // Without the last line if it is unfinished.
  lines.pop();
  return lines.map(line => JSON.parse(line) as WrittenMessage);
}
