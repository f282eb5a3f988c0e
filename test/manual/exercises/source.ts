/** Parts of the server's source, for exercises that take them away. */
import { readFileSync } from 'node:fs';
import { root } from '../../support/documents.ts';

/** The text of the file from `first` to the next `last`, both included. @throws Error if the file does not have them */
export function textBetween(path: string, first: string, last: string): string {
  const text = readFileSync(new URL(path, root), 'utf8');
  const start = text.indexOf(first);
  const end = text.indexOf(last, start);
  if (start < 0 || end < 0) throw new Error(`${path} does not have the text from "${first}" to "${last}"`);
  return text.slice(start, end + last.length);
}
