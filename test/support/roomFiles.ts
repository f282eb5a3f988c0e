/** Reads the messages of a channel from the log's files without code of src/. */
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';

export interface WrittenMessage {
  readonly id: string;
  readonly time: string;
  readonly channel: string;
  readonly uid: number;
  readonly from: string;
  readonly text: string;
}

/** The text of all files, oldest first: `messages.1.jsonl`, `messages.2.jsonl` ..., `messages.jsonl`, with an unfinished last line. */
export function writtenIn(directory: string): string {
  const numbers = readdirSync(directory)
    .map(name => /^messages\.(\d+)\.jsonl$/.exec(name)?.[1])
    .filter(number => number !== undefined)
    .map(Number)
    .sort((a, b) => a - b);
  const names = [...numbers.map(number => `messages.${number}.jsonl`), 'messages.jsonl'];
  const paths = names.map(name => join(directory, name)).filter(path => existsSync(path));
  const inodes = paths.map(path => statSync(path).ino);
  // A server that is killed while it rotates leaves two names of one file, until the next start.
  return paths
    .filter((_, at) => inodes.lastIndexOf(inodes[at]!) === at)
    .map(path => readFileSync(path, 'utf8'))
    .join('');
}

/** The messages of a channel in all files. @throws Error for a line that is not JSON */
export function messagesIn(directory: string, channel: string): WrittenMessage[] {
  const lines = writtenIn(directory).split('\n');
  // Without the last line if it is unfinished.
  lines.pop();
  return lines.map(line => JSON.parse(line) as WrittenMessage).filter(line => line.channel === channel);
}
